"""Label words: found where they are planted, never alike, one token each, judged on dev."""

import itertools
import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hardprompt import runs
from hardprompt.candidates import Baselines
from hardprompt.cli import main
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.evaluation import Evaluator, Memory
from hardprompt.objective import Objective
from hardprompt.scoring.compile import Renderer
from hardprompt.scoring.losses import loss_named, normalise
from hardprompt.scoring.places import steady_tokens
from hardprompt.scoring.plan import group_rows
from hardprompt.session import Session
from hardprompt.types import EMPTY, Batch
from hardprompt.verbalizers.find import Combinations, find_words, own_words
from hardprompt.verbalizers.joint import JointObjective, all_words, best_of, columns
from hardprompt.verbalizers.rank import WAYS, Evidence
from hardprompt.vocabulary import Vocabulary, stem
from tests.conftest import call, write_moods
from tests.families import save_masked

TOLERANCE = 1e-4  # float32 log-probabilities over a vocabulary of models made loud
UNSEARCHED = {"strategy": "random", "start": (), "budget": 1.0, "length": 1}


@pytest.fixture(scope="module")
def folders(tiny_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    masked = save_masked("bert", root / "bert")
    return {"moods": str(write_moods(root / "moods")), "causal": str(tiny_folder),
            "masked": str(masked)}  # fmt: skip


@cache
def known(moods, model, template):
    """A session that is only read from."""
    return prepared({"moods": moods, "known": model}, "known", template=template, length=2,
                    min_length=1)  # fmt: skip


def prepared(folders, kind, **options):
    given = {"task": folders["moods"], "model": folders[kind], "labels": None, **UNSEARCHED}
    return Session.prepare(RunConfig(**given | options))


# Lengths within a tenth of each other: these rows share a batch, and are padded.
LONG = [" ".join(["it was a good film and"] * 8 + ["so"] * i) for i in range(5)]


def groups_of(session, texts=None):
    texts = texts or session.scorers["search"].texts
    rows = session.scorers["search"].renderer.rows([session.no_prompt] * len(texts), texts)
    return group_rows(rows, range(len(rows)))


@pytest.mark.parametrize("kind", ["causal", "masked"])
class TestWhatAModelSaysOfWords:
    def test_words_are_as_likely_as_label_words_and_all_together_sure(self, folders, kind):
        session = known(folders["moods"], folders[kind], "prefix")
        model, groups = session.model, groups_of(session, LONG)
        assert any(group.spread for group in groups)
        everything = np.arange(model._model.get_output_embeddings().weight.shape[0])
        tokens = everything[7:60:5]
        for group in groups:
            found = np.concatenate([part for _, part in model.word_log_probs(group, everything)])
            np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=TOLERANCE)
            labels = tuple((int(token),) for token in tokens)
            expected = normalise(model.label_log_probs(group, labels, [])[0])
            np.testing.assert_allclose(normalise(found[:, tokens]), expected, atol=TOLERANCE)

    def test_states_times_output_embeddings_are_logits(self, folders, kind):
        session = known(folders["moods"], folders[kind], "prefix")
        model, groups = session.model, groups_of(session, LONG)
        layer = model._model.get_output_embeddings()
        everything = np.arange(layer.weight.shape[0])
        logits = model.output_states(groups[0]) @ model.output_embeddings(everything).T
        if layer.bias is not None:
            logits = logits + layer.bias.detach().numpy()
        found = np.concatenate([part for _, part in model.word_log_probs(groups[0], everything)])
        np.testing.assert_allclose(normalise(logits.astype(np.float64)), found, atol=TOLERANCE)


def test_states_are_read_without_the_logits_of_every_place(folders):
    session = known(folders["moods"], folders["causal"], "prefix")
    read = []
    layer = session.model._model.get_output_embeddings()
    handle = layer.register_forward_hook(lambda _, inputs, out: read.append(out.shape[1]))
    session.model.last_hidden(groups_of(session, LONG)[0])
    handle.remove()
    assert set(read) == {1}


def words_of(session):
    return Vocabulary.build(session.model.codec, len(session.model.embeddings))


def plant(session, tokens):
    """Makes each of these tokens, in the rows of its class, likelier than any other word, and in
    the rows of the other class as much less likely."""
    gold, layer = session.gold("search"), session.model._model.get_output_embeddings()
    states = np.zeros((len(gold), layer.weight.shape[1]))
    for group in groups_of(session):
        states[group.examples] = session.model.output_states(group)
    likeliest = (states @ layer.weight.detach().numpy().T).max(axis=1)
    for c, token in enumerate(tokens):
        wanted = likeliest + np.where(gold == c, 4, -4)
        row, *_ = np.linalg.lstsq(states, wanted, rcond=None)  # fewer rows than dimensions
        layer.weight.data[token] = torch.tensor(row).float()


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_words_that_tell_the_classes_apart_by_construction_are_found(folders, kind):
    session = prepared(folders, kind)
    codec, vocabulary = session.model.codec, words_of(session)
    texts = " ".join(example.text for example in session.task.search)
    unread = [int(t) for t in vocabulary.tokens if codec.piece([int(t)]) not in texts]
    planted = unread[10], unread[200]
    plant(session, planted)
    for ways in (*((way,) for way in WAYS), tuple(WAYS)):
        best, *_ = find_words(session, session.no_prompt, vocabulary, ways=ways)
        assert best.labels == tuple((token,) for token in planted)
        assert best.words == tuple(codec.piece([token]).strip() for token in planted)
        assert best.loss < 0.1
        assert all(set(named) == set(ways) for named in best.ways)


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_losses_are_those_of_the_words_as_written(folders, kind):
    session = known(folders["moods"], folders[kind], "prefix")
    prompts = ("so",)
    found = find_words(session, prompts, words_of(session), n=6)
    assert len(found) == 6
    assert [words.loss for words in found] == sorted(words.loss for words in found)
    renderer, gold = session.scorers["search"].renderer, session.gold("search")
    for words in found:
        text = session.task.search[0].text
        assert renderer.label_ids(words.words, text, prompts) == words.labels
        scores = session.scorers["search"].by_text(prompts, words.labels)
        assert -scores[range(len(gold)), gold].mean() == pytest.approx(words.loss, abs=TOLERANCE)
        assert len({stem(word) for word in words.words}) == 2
        assert all(len(label) == 1 for label in words.labels)
    for c in (0, 1):
        column = [words.words[c] for words in found]
        assert max(map(column.count, column)) <= 3


def evidence(log_probs, **fields):
    n_classes, v = log_probs.shape
    gold = np.repeat(np.arange(n_classes), 4)
    return Evidence(
        gold, np.zeros((len(gold), 3)), np.zeros((v, 3)), log_probs, log_probs,
        np.bincount(gold), 0,
    ) if not fields else replace(evidence(log_probs), **fields)  # fmt: skip


def test_each_way_names_the_word_it_should():
    # Word 0 is likely everywhere, 1 and 2 each in one class, 3 nowhere.
    log_probs = np.log([[0.5, 0.30, 0.02, 0.001], [0.5, 0.01, 0.25, 0.001]])
    assert WAYS["likely"](evidence(log_probs)).argmax(axis=1).tolist() == [0, 0]
    assert WAYS["ratio"](evidence(log_probs)).argmax(axis=1).tolist() == [1, 2]
    rng = np.random.default_rng(0)
    states = np.repeat([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 4, axis=0)
    states += 0.01 * rng.normal(size=states.shape)
    table = np.array([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    found = WAYS["probe"](evidence(log_probs, states=states, embeddings=table))
    assert found.argmax(axis=1).tolist() == [1, 2]
    np.testing.assert_allclose(found[0], -found[1], atol=1e-9)


def test_only_words_that_are_likely_at_all_may_be_named():
    rare = np.full((2, 1200), -3.0)
    rare[:, 1100:] = [[-60.0], [-90.0]]
    found = evidence(rare)
    assert WAYS["ratio"](found)[0].argmax() >= 1100
    assert not found.common()[1100:].any()
    assert found.common().sum() == 400


class TestCombinations:
    def make(self, n_classes, n_words, seed=0):
        rng = np.random.default_rng(seed)
        gold = np.arange(40) % n_classes
        scores = rng.normal(size=(40, n_classes * n_words))
        lists = [np.arange(c, n_classes * n_words, n_classes) for c in range(n_classes)]
        stems = np.arange(n_classes * n_words)
        return scores, gold, lists, stems

    def test_the_best_of_all_pairs_comes_first_and_words_alike_never_together(self):
        scores, gold, lists, stems = self.make(2, 12)
        lists[1] = np.concatenate([lists[1], lists[0][:3]])  # words that both classes would have
        stems[lists[1][4]] = stems[lists[0][0]]
        loss = loss_named("nll")
        ranked = Combinations(scores, gold, loss, lists, stems).best()
        expected = {
            (int(a), int(b)): float(loss.total(normalise(scores[:, [a, b]])[None], gold, 40)[0])
            for a, b in itertools.product(*lists)
            if stems[a] != stems[b]
        }
        assert dict(ranked) == pytest.approx(expected)
        assert [row for row, _ in ranked] == sorted(expected, key=lambda r: (expected[r], r))

    def test_many_classes_end_where_no_exchange_helps(self):
        scores, gold, lists, stems = self.make(8, 10)
        planted = [int(row[7]) for row in lists]  # beyond what can all be tried
        for c, word in enumerate(planted):
            scores[gold == c, word] += 6
        best, loss = Combinations(scores, gold, loss_named("nll"), lists, stems).best()[0]
        assert list(best) == planted
        assert loss < 0.2

    def test_classes_with_the_same_words_get_different_ones(self):
        scores, gold, _, stems = self.make(16, 2)
        lists = [np.arange(32)] * 16  # more classes than any two words a class can be tried for
        row, _ = Combinations(scores, gold, loss_named("nll"), lists, stems).best()[0]
        assert len(set(row)) == 16


def test_words_of_several_tokens_or_none_of_their_own_are_no_candidates(folders):
    session = known(folders["moods"], folders["causal"], "prefix")
    renderer, tokens = session.scorers["search"].renderer, session.vocabulary.tokens
    words = ["good", "antidisestablishment", "not good", "bad"]
    found = steady_tokens(renderer, words, "cold wet night", session.space.slots, tokens)
    assert found[1] is found[2] is None
    for word, token in zip(words[::3], found[::3], strict=True):
        assert session.model.codec.piece([token]) == f" {word}"


def test_words_are_tried_behind_a_short_text(folders, tmp_path, monkeypatch):
    """However long the first text is: it is no more than a place to look at them in."""
    task = Path(shutil.copytree(folders["moods"], tmp_path / "moods"))
    lines = (task / "train.jsonl").read_text().splitlines()
    long = json.loads(lines[0])
    long["text"] += " and so on" * 500
    (task / "train.jsonl").write_text("\n".join([json.dumps(long), *lines[1:]]))
    behind, word_ids = set(), Renderer.word_ids

    def seen(renderer, words, text, prompts):
        behind.add(text)
        return word_ids(renderer, words, text, prompts)

    monkeypatch.setattr(Renderer, "word_ids", seen)
    sets = (("bad", "good"), ("cold", "warm"))
    session = prepared(folders | {"moods": str(task)}, "causal", label_sets=sets, budget=20.0)
    assert find_words(session, session.no_prompt, words_of(session), n=2)
    checked = call("check", task, "--model", folders["causal"])
    assert checked.exit_code == 0
    assert max(map(len, behind)) < 100


def test_a_template_without_a_space_before_the_label_says_so(folders):
    session = prepared(folders, "causal", template="{prompt} {text} so:{label}")
    with pytest.raises(UsageError, match="no word of --vocab words is read as one token"):
        find_words(session, session.no_prompt, words_of(session))


def some_sets(session, n=8):
    """Sets of words that no class has a claim to, and one with a word of two tokens."""
    codec, rng = session.model.codec, np.random.default_rng(3)
    pairs = [rng.choice(words_of(session).tokens, 2, replace=False) for _ in range(n)]
    sets = [tuple(codec.piece([int(token)]).strip() for token in pair) for pair in pairs]
    return [*sets, ("good", "not good")]


def test_the_best_of_sets_is_bounded_by_its_parts():
    rng = np.random.default_rng(5)
    log_probs, gold = normalise(rng.normal(size=(6, 30, 5))), rng.integers(2, size=30)
    sets = [((7,), (8,)), ((8,), (9,)), ((4, 5), (1,)), ((1,), (7,))]
    assert len(all_words(sets)) == 5
    for name in ("nll", "accuracy", "margin"):
        single = loss_named(name)
        best = best_of(single, sets)
        each = [single.total(normalise(log_probs[..., at]), gold, 30) for at in columns(sets)]
        whole = best.total(log_probs, gold, 30)
        np.testing.assert_allclose(whole, np.min(each, axis=0), atol=1e-12)
        assert best.bounded == single.bounded
        if best.bounded:
            for n in (1, 7, 20):
                assert (best.total(log_probs[:, :n], gold[:n], 30) <= whole + 1e-12).all()


def joint_of(session):
    text, renderer = session.task.search[0].text, session.scorers["search"].renderer
    ids = [renderer.label_ids(words, text, session.no_prompt) for words in some_sets(session)]
    loss, gold = loss_named("nll"), session.gold("search")
    scorer = session.scorers["search"]
    joint = JointObjective(scorer, gold, session.space, loss, ids)
    return joint, [Objective(scorer.labelled(one), gold, session.space, loss) for one in ids]


@pytest.mark.parametrize("template", ["prefix", "suffix"])
@pytest.mark.parametrize("kind", ["causal", "masked"])
class TestJointObjective:
    def test_a_loss_is_the_lowest_of_all_sets_also_where_rows_are_dropped(
        self, folders, kind, template
    ):
        session = known(folders["moods"], folders[kind], template)
        ids = session.space.random(np.random.default_rng(1), 12)
        ids[0] = EMPTY
        joint, plain = joint_of(session)
        each = np.stack([one.measure(Batch(ids=ids)).loss for one in plain])
        found = joint.measure(Batch(ids=ids))
        np.testing.assert_allclose(found.loss, each.min(axis=0), atol=TOLERANCE)
        assert len(set(each.argmin(axis=0).tolist())) > 1, "prompts must differ in their words"
        kept = joint.measure(Batch(ids=ids, keep=3))
        best = np.sort(found.loss)[:3]
        np.testing.assert_allclose(np.sort(kept.loss[kept.exact])[:3], best, atol=TOLERANCE)

    def test_points_and_proposals_are_told_as_of_one_set(self, folders, kind, template):
        session = known(folders["moods"], folders[kind], template)
        ids = session.space.random(np.random.default_rng(3), 4)
        joint, plain = joint_of(session)
        points = Batch(embeds=session.space.embeddings[ids].astype(np.float32))
        each = np.stack([one.measure(points).loss for one in plain])
        np.testing.assert_allclose(joint.measure(points).loss, each.min(axis=0), atol=TOLERANCE)
        asked = Batch(ids=ids, wants_gradient=True, wants_proposals=3)
        found = joint.measure(asked).proposals
        np.testing.assert_array_equal(found.ids, plain[0].measure(asked).proposals.ids)

    def test_a_gradient_is_that_of_the_best_set(self, folders, kind, template):
        session = known(folders["moods"], folders[kind], template)
        ids = session.space.random(np.random.default_rng(2), 5)
        joint, plain = joint_of(session)
        asked = [
            Batch(ids=ids, wants_gradient=True),
            Batch(ids=ids, wants_gradient=True, examples=np.array([5, 1, 8])),
            Batch(embeds=session.space.embeddings[ids].astype(np.float32), wants_gradient=True),
        ]
        for batch in asked:
            found = joint.measure(batch)
            each = [one.measure(batch) for one in plain]
            best = np.stack([one.loss for one in each]).argmin(axis=0)
            assert kind == "masked" or len(set(best.tolist())) > 1
            expected = np.stack([each[b].gradient[i] for i, b in enumerate(best)])
            np.testing.assert_allclose(found.gradient, expected, rtol=1e-3, atol=TOLERANCE)
            np.testing.assert_allclose(
                found.loss, [each[b].loss[i] for i, b in enumerate(best)], atol=TOLERANCE
            )


@pytest.fixture
def options(folders):
    return ["--task", folders["moods"], "--model", folders["causal"]]


class TestTheCommand:
    def test_it_prints_one_json_object_and_the_same_again(self, options):
        results, again = (
            json.loads(call("labels", *options, "--top", 4, "--json").stdout) for _ in range(2)
        )
        assert results == again
        assert results["schema"] == "hardprompt.labels/1"
        found, own = results["found"], results["own"]
        assert len(found) == results["judged"] == 4
        assert {entry["prompt"] == "" for entry in own} == {True, False}
        assert all(entry["words"] == {"bad": "bad", "good": "good"} for entry in own)
        order = [(-entry["dev"], entry["search"]) for entry in found]
        assert order == sorted(order)
        assert all(low <= entry["dev"] <= high for entry in [*found, *own]
                   for low, high in [entry["dev_interval"]])  # fmt: skip
        opened = [entry for entry in [*found, *own] if entry["test"] is not None]
        assert [entry["prompt"] for entry in opened] == [found[0]["prompt"]] * 2
        assert found[0]["test_gain"] == pytest.approx(
            opened[0]["test"] - opened[1]["test"], abs=2e-6
        )  # of rounded figures
        assert all(len(ids) == 1 for ids in found[0]["tokens"].values())

    def test_all_sets_that_dev_judged_are_counted(self, options):
        args = [*options, "--way", "ratio", "--top", 1]
        results = json.loads(call("labels", *args, "--json").stdout)
        assert (len(results["found"]), results["judged"]) == (1, 2)  # one a prompt in place
        assert "rows, chose among 2 sets," in call("labels", *args).stdout

    def test_found_words_become_a_task_that_a_search_takes(self, options, tmp_path):
        folder = tmp_path / "words"
        result = call("labels", *options, "--prompt", "so", "--way", "ratio", "--save", folder,
                      "--template", "{text} it is {prompt} {label}")  # fmt: skip
        assert f"hardprompt search --task {folder}" in result.stdout
        assert "too few rows for a test figure" in result.stdout
        args = ["--len", 1, "--budget", 5, "--output-dir", tmp_path, "--json"]
        searched = call("search", "--task", folder, "--model", options[-1], *args)
        results = json.loads(searched.stdout)
        first = result.stdout.split("\n")[2]
        assert first.startswith(" | ".join(results["task"]["labels"].values()))
        assert results["template"] == "{text} it is {prompt} {label}"
        with pytest.raises(UsageError, match="nothing is overwritten"):
            call("labels", *options, "--save", folder)

    def test_what_was_found_is_told_even_where_it_cannot_be_written(
        self, options, tmp_path, monkeypatch
    ):
        def fails(task, folder):
            raise HardpromptError(f"cannot write '{folder}': the disk is full")

        monkeypatch.setattr("hardprompt.tasks.write.write_task", fails)
        args = ["labels", *options, "--prompt", "so", "--way", "ratio", "--save", tmp_path / "new"]
        result = CliRunner().invoke(main, list(map(str, args)))
        assert "the disk is full" in str(result.exception)
        assert "Use the first: --save DIR" in result.stdout

    def test_where_the_best_words_are_the_tasks_own_the_next_are_found(self, options, tmp_path):
        folder = tmp_path / "words"
        args = ["--model", options[-1], "--top", 1, "--prompt", "so", "--json"]
        first = json.loads(call("labels", *options[:2], *args, "--save", folder).stdout)
        again = json.loads(call("labels", "--task", folder, *args).stdout)
        (best,), (own,), (other,) = first["found"], again["own"], again["found"]
        assert own["words"] == best["words"] != other["words"]
        assert own["search"] <= other["search"]

    def test_where_nothing_is_found_but_the_tasks_own_words_it_is_said(self, options, monkeypatch):
        def only_own(session, prompts, *args, **more):
            return [own_words(session, prompts)]

        monkeypatch.setattr("hardprompt.verbalizers.assess.find_words", only_own)
        with pytest.raises(HardpromptError, match="found but the task's own, bad, good; allow"):
            call("labels", *options)

    def test_words_for_own_data_are_an_option_to_paste(self, options, tmp_path):
        files = [Path(options[1]) / f"{split}.jsonl" for split in ("train", "dev", "test")]
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        data = tmp_path / "all.csv"
        data.write_text("text,label\n" + "".join(f"{x['text']},{x['label']}\n" for x in lines))
        result = call("labels", "--data", data, *options[2:], "--way", "ratio", "--prompt", "")
        pasted = result.stdout.strip().split("--labels ")[-1].strip("'\"")
        args = ["--labels", pasted, *options[2:], "--prompt", "so", "--json"]
        task = json.loads(call("eval", "--data", data, *args).stdout)["task"]
        assert ",".join(f"{name}={word}" for name, word in task["labels"].items()) == pasted

    def test_a_masked_model_fills_its_mask(self, folders):
        args = [
            "--task",
            folders["moods"],
            "--model",
            folders["masked"],
            "--json",
            "--way",
            "likely",
        ]
        template = "{text} {prompt} {label} ."
        results = json.loads(call("labels", *args, "--template", template).stdout)
        assert results["found"][0]["test"] is not None

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--labels", "auto"], "--labels auto belongs to hardprompt search"),
            (["--vocab", "none.txt"], "no word file"),
            (["--template", "{prompt:1} {text} {prompt:1} {label}", "--prompt", "a"], "2 slots"),
            (["--search-rows", "1"], "every label needs a search row"),
        ],
    )
    def test_misuse_is_one_line(self, options, args, message):
        with pytest.raises(HardpromptError, match=message) as caught:
            call("labels", *options, *args)
        assert "\n" not in str(caught.value)

    def test_a_file_is_no_folder_to_save_in(self, options):
        result = call("labels", *options, "--save", "words.toml")
        assert result.exit_code == 2
        assert "names a new folder" in result.stderr

    def test_too_small_a_vocabulary_is_said(self, options, tmp_path):
        words = tmp_path / "words.txt"
        words.write_text("good\n")
        with pytest.raises(UsageError, match="too few words for 2 labels"):
            call("labels", *options, "--vocab", words)


@pytest.fixture(scope="class")
def joint_run(folders, tmp_path_factory):
    root = tmp_path_factory.mktemp("joint")
    args = ["--task", folders["moods"], "--model", folders["causal"], "--len", 2, "--budget", 60,
            "--strategy", "swap", "--output-dir", root]  # fmt: skip
    result = call("search", *args, "--labels", "auto")
    (folder,) = root.iterdir()
    return result, folder


class TestLabelsAuto:
    def test_each_prompt_says_its_words_and_is_worth_what_the_record_says(self, joint_run):
        result, folder = joint_run
        results = json.loads((folder / "results.json").read_text())
        sets = [tuple(words.values()) for words in results["label_sets"]]
        assert sets[0] == tuple(results["task"]["labels"].values())
        assert 2 < len(sets) == len(set(sets)) <= 16
        config = RunConfig.from_json(json.loads((folder / "run.json").read_text())["config"])
        assert config.label_sets == tuple(sets)
        session = Session.prepare(config)
        evaluator, gold = Evaluator(session, Memory()), session.gold("search")
        for entry in [*results["best"], results["baselines"]["words"]]:
            words = tuple(entry["words"].values())
            prompts = (entry["text"],)
            each = [evaluator.loss(prompts, words=i) for i in range(len(sets))]
            assert each.index(min(each)) == sets.index(words)
            scorer = session.scorers["search"]
            labels = scorer.renderer.label_ids(words, scorer.texts[0], prompts)
            scores = scorer.by_text(prompts, labels)
            loss = -scores[range(len(gold)), gold].mean()
            assert entry["search"] == pytest.approx(loss, abs=1e-5)
        assert results["measured"] <= results["budget"] == 60
        assert " -> " in result.stdout
        assert "sets of label words" in result.stderr
        searched = {word for words in sets for word in words}
        text = " ".join(entry["text"] for entry in results["best"]).split()
        assert not searched & set(text), "label words stay out of prompts"

    def test_the_file_of_a_prompt_has_its_words(self, joint_run):
        _, folder = joint_run
        best = json.loads((folder / "results.json").read_text())["best"][0]
        prompt = json.loads((folder / "prompt.json").read_text())
        assert {label["name"]: label["word"] for label in prompt["labels"]} == best["words"]
        tried = call("try", folder, "cold wet night", "--json").stdout
        assert json.loads(tried)["labels"] == best["words"]
        assert "worth" in call("inspect", folder, "--probe").stdout

    def test_what_label_words_gain_alone_is_no_gain_of_a_prompt(self, joint_run, tmp_path):
        _, folder = joint_run
        results = json.loads((folder / "results.json").read_text())
        none = results["baselines"]["words"]["search"]
        assert none < min(entry["search"] for entry in results["best"])
        copy = shutil.copytree(folder, tmp_path / folder.name)
        with pytest.raises(HardpromptError, match=f"no gain to keep.* no prompt {none:.4f}"):
            call("readable", copy)

    @pytest.mark.parametrize("keep", [0, 1])
    def test_the_readable_prompt_goes_with_its_words_too(
        self, joint_run, tmp_path, monkeypatch, keep
    ):
        _, folder = joint_run
        monkeypatch.setattr(Baselines, "none", property(lambda baselines: baselines.empty))
        best = json.loads((folder / "results.json").read_text())["best"][0]
        copy = shutil.copytree(folder, tmp_path / folder.name)
        found = json.loads(call("readable", copy, "--keep", keep, "--json").stdout)
        same = ("text", "words", "search", "dev", "test", "test_interval")
        assert {key: found["best"][key] for key in same} == {key: best[key] for key in same}
        pick = found["readable"]
        for split in ("search", "dev", "test"):
            assert found["price"][split] == pytest.approx(pick[split] - best[split], abs=2e-6)
        session = Session.prepare(runs.read_config(folder))
        evaluator = Evaluator(session, Memory())
        number = evaluator.suiting((pick["text"],))
        assert tuple(pick["words"].values()) == session.config.label_sets[number]
        assert evaluator.loss((pick["text"],), words=number) == pytest.approx(
            pick["search"], abs=1e-5
        )
        saved = json.loads((copy / "readable.json").read_text())
        assert {label["name"]: label["word"] for label in saved["labels"]} == pick["words"]

    def test_a_run_that_goes_on_has_the_same_words_and_results(self, joint_run, tmp_path):
        _, folder = joint_run
        results = json.loads((folder / "results.json").read_text())
        copy = shutil.copytree(folder, tmp_path / folder.name)
        (copy / "results.json").unlink()
        again = json.loads(call("search", "--resume", copy, "--json").stdout)
        assert again["timing"].pop("pieces_replayed") > 0
        for one in (again, results):
            one.pop("timing")
            one.pop("run")
        assert again == results

    @pytest.mark.parametrize(
        ("command", "more", "message"),
        [
            ("search", ["--race"], "--race and --labels auto exclude"),
            ("search", ["--budget", 5], "--budget must be above 11 with --labels auto"),
            ("compare", [], "--labels auto belongs to hardprompt search"),
            ("check", [], "--labels auto belongs to hardprompt search"),
        ],
    )
    def test_misuse_is_one_line(self, folders, tmp_path, command, more, message):
        args = [folders["moods"]] if command == "check" else ["--task", folders["moods"]]
        args += ["--model", folders["causal"], "--labels", "auto", *more]
        if command != "check":
            args += ["--output-dir", tmp_path]
        with pytest.raises(UsageError, match=message):
            call(command, *args)
