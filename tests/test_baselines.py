"""Methods of a comparison: soft prompts against known answers, and what each promises."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from hardprompt.baselines import relax
from hardprompt.baselines.base import Bench, Fitted, Method, Unfit
from hardprompt.baselines.linear import STRENGTHS
from hardprompt.baselines.relax import soft_to_hard
from hardprompt.baselines.soft import start_tokens
from hardprompt.baselines.soft_files import save_soft_prompt
from hardprompt.baselines.table import expand, make_method
from hardprompt.baselines.tuning import minibatches
from hardprompt.config import RunConfig
from hardprompt.encoders import make_encoder
from hardprompt.errors import UsageError
from hardprompt.models.codec import Codec
from hardprompt.scoring.losses import normalise
from hardprompt.session import Session
from hardprompt.strategies.descent import Descent
from hardprompt.types import FloatArray
from tests.conftest import FAMILIES, NEEDS_PEFT
from tests.test_scoring import TEMPLATES, TEXTS, TOLERANCE, _Framed, build

EVERY = expand(["all"])
SOFT = ("prompt-tuning", "p-tuning-mlp", "p-tuning-lstm")
WEIGHTS = ("adapter-3", "top-2", "fine-tune")


@pytest.fixture(scope="module")
def prepare(tiny_folder, tmp_path_factory):
    """`prepare(task, **options)` -> a session on the tiny model."""

    def make(task, **options):
        given = {"model": str(tiny_folder), "length": 2, "budget": 40.0, "vocabulary_top": 200}
        return Session.prepare(RunConfig(task=str(task), **(given | options)))

    return make


@pytest.fixture
def session(prepare, task_folder):
    return prepare(task_folder)


def bench_of(session, folder, seed=0):
    budget = session.budget * len(session.task.search)
    return Bench(session, np.random.default_rng(seed), budget, folder)


@pytest.mark.parametrize("beginning", [True, False], ids=["BOS", "no BOS"])
@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_soft_prompt_at_words_scores_as_the_words(
    make_model, tokenizer, family, source, beginning
):
    codec = Codec(tokenizer if beginning else _Framed(tokenizer))
    assert bool(codec.prefix) == beginning
    _, model = make_model(family, codec=codec)
    scorer, space = build(model, source)
    ids = np.random.default_rng(1).choice(space.tokens, size=space.length)
    hard = np.empty((1, len(TEXTS), 2))
    scorer.by_ids(ids[None], scorer.within(None), hard)
    soft = scorer.by_points(model.embeddings[ids])
    np.testing.assert_allclose(soft, hard[0], atol=TOLERANCE)
    np.testing.assert_allclose(
        soft, scorer.by_text(scorer.renderer.prompt_texts(ids, space.slots)), atol=TOLERANCE
    )


@pytest.fixture(scope="module")
def folders(tiny_folder, make_model, tokenizer, tmp_path_factory):
    """The tiny model with a tokenizer that begins with BOS, and with one that does not."""
    plain = tmp_path_factory.mktemp("models") / "no-bos"
    make_model("llama")[0].save_pretrained(plain)
    _Framed(tokenizer).save_pretrained(plain)
    return {True: tiny_folder, False: plain}


@pytest.mark.parametrize("beginning", [True, False], ids=["BOS", "no BOS"])
def test_peft_reads_our_soft_prompts(folders, task_folder, prepare, tmp_path, beginning):
    peft = pytest.importorskip("peft", reason="peft, the oracle: pip install '.[compare]'")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    session = prepare(task_folder, model=str(folders[beginning]), length=3)
    codec = session.model.codec
    assert bool(codec.prefix) == beginning
    rng = np.random.default_rng(0)
    words = session.space.embeddings[start_tokens(session, "vocabulary", rng)]
    points = (words + 0.3 * words.std() * rng.normal(size=words.shape)).astype(np.float32)
    save_soft_prompt(tmp_path / "soft", session, points)
    base = AutoModelForCausalLM.from_pretrained(folders[beginning])
    tokenizer = AutoTokenizer.from_pretrained(folders[beginning])
    scorer = session.scorers["test"]
    # What follows the slot, padded to the right: peft puts its tokens before padding on the left.
    rows = [row.segments[1] for row in scorer.rows]
    for row, text in zip(rows, scorer.texts, strict=True):  # as docs/compare.md encodes it
        assert tuple(tokenizer(f" {text}", add_special_tokens=False)["input_ids"]) == row
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[tokenizer.pad_token_id] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        without = base(input_ids=ids, attention_mask=mask).logits
        model = peft.PeftModel.from_pretrained(base, tmp_path / "soft").eval()
        logits = model(input_ids=ids, attention_mask=mask).logits
    virtual = len(codec.prefix) + 3
    assert logits.shape[1] == virtual + longest  # the output holds the virtual tokens too
    assert (logits[:, virtual:] - without).abs().max() > 0.1, "the prompt must matter"
    last = torch.tensor([virtual + len(row) - 1 for row in rows])
    log_probs = logits[torch.arange(len(rows)), last].log_softmax(-1).numpy()
    labels = [label[0] for label in scorer.labels]
    assert all(len(label) == 1 for label in scorer.labels)
    np.testing.assert_allclose(
        scorer.by_points(points), normalise(log_probs[:, labels]), atol=TOLERANCE
    )


def test_a_soft_prompt_elsewhere_is_not_called_a_peft_adapter(prepare, task_folder, tmp_path):
    session = prepare(task_folder, template="suffix")
    names = save_soft_prompt(tmp_path / "soft", session, np.zeros((2, 64), np.float32))
    assert {path.name for path in (tmp_path / "soft").iterdir()} == set(names)
    assert not any("adapter" in name for name in names)


@pytest.mark.parametrize("name", EVERY)
def test_methods_keep_to_their_budget_and_repeat(session, tmp_path, name):
    if name in NEEDS_PEFT:
        pytest.importorskip("peft", reason="peft makes it: pip install '.[compare]'")
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    found = []
    for part in ("a", "b"):
        bench = bench_of(session, tmp_path / part)
        fitted = make_method(name).fit(bench)
        assert bench.spent <= bench.budget
        found.append(fitted)
        for split in ("dev", "test"):
            log_probs = fitted.predict(split)
            assert log_probs.shape == (12, 2)
            np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found[0].predict("test"), found[1].predict("test"))
    assert json.dumps(found[0].details) == json.dumps(found[1].details)
    assert name.startswith(make_method(name).name)  # a size may follow
    assert (before[0] == np.random.get_state()[1]).all()
    assert torch.equal(before[1], torch.get_rng_state())


@pytest.mark.parametrize("template", ["suffix", "{prompt:1} so {text} and {prompt:1} {label}"])
@pytest.mark.parametrize(
    "name", ["search", "relax", "bbt", "shots", "p-tuning-lstm", "adapter-3", "probe"]
)
def test_methods_work_in_any_slot(prepare, task_folder, tmp_path, name, template):
    length = None if "{" in template else 2
    session = prepare(task_folder, template=template, length=length)
    fitted = make_method(name).fit(bench_of(session, tmp_path))
    assert np.isfinite(fitted.predict("test")).all()


def test_manual_prompts_need_a_template_of_one_slot(prepare, task_folder, tmp_path):
    session = prepare(task_folder, template="{prompt:1} so {text} {prompt:1} {label}", length=None)
    with pytest.raises(Unfit, match="no manual prompts"):
        make_method("manual").fit(bench_of(session, tmp_path))


@pytest.mark.parametrize("name", ["manual", "shots", "search", "relax", "bbt", *SOFT, *WEIGHTS])
def test_a_budget_that_is_too_small_is_said_and_not_overdrawn(prepare, task_folder, tmp_path, name):
    bench = bench_of(prepare(task_folder, budget=0.4), tmp_path)
    with pytest.raises(Unfit, match=r"^\d+ rows are too few"):
        make_method(name).fit(bench)
    assert bench.spent == 0


def test_points_that_run_off_are_worse_than_any(session, tmp_path):
    bench = bench_of(session, tmp_path)
    assert bench.quality(np.full((12, 2), np.nan)) < bench.quality(np.log(np.full((12, 2), 0.5)))


def test_likelihood_decides_between_equals_only(prepare, task_folder, tmp_path, monkeypatch):
    bench = bench_of(prepare(task_folder, metric="macro-f1"), tmp_path)
    gold = np.arange(12) % 2
    monkeypatch.setattr(type(bench.session), "gold", lambda self, split: gold)
    right = np.where(np.arange(2) == gold[:, None], np.log(0.9), np.log(0.1))
    unsure, wrong = np.where(right > -1, np.log(0.51), np.log(0.49)), right.copy()
    wrong[0] = wrong[0][::-1]
    monkeypatch.setattr(
        type(bench.session.figures("dev")),
        "value",
        lambda self, called: (called == gold).mean() / 1e4,
    )
    assert bench.quality(right) > bench.quality(unsure) > bench.quality(wrong)


@pytest.mark.parametrize("name", SOFT)
def test_training_begins_at_words_and_lowers_the_loss(prepare, task_folder, tmp_path, name):
    session = prepare(task_folder, budget=160.0)
    method = make_method(name)
    start = torch.from_numpy(session.space.embeddings[session.space.tokens[:2]])
    begun = make_encoder(method.encoder, start, 64, np.random.default_rng(0))
    torch.testing.assert_close(begun.points().detach(), start)
    fitted = method.fit(bench_of(session, tmp_path))
    gold = session.gold("search")
    rows = np.arange(len(gold))
    trained = -fitted.predict("search")[rows, gold].mean()
    empty = -session.scorers["search"].by_text(("",))[rows, gold].mean()
    assert trained < empty
    assert fitted.stored == 2 * 64
    assert fitted.n_bytes == 4 * fitted.stored
    assert (fitted.trained > fitted.stored) == (name != "prompt-tuning")
    assert len({trial["rate"] for trial in fitted.details["trials"]}) > 1


def test_soft_prompts_are_trained_in_the_precision_of_the_table(prepare, task_folder, tmp_path):
    session = replace(prepare(task_folder), screened=True)
    assert session.objective.scorer.model is session.screen
    bench = bench_of(session, tmp_path)
    assert bench.exact.scorer.model is bench.exact.slopes.model is session.model


def test_soft_prompts_start_at_label_words_or_sampled_ones(prepare, task_folder):
    session = prepare(task_folder, length=4)
    rng = np.random.default_rng(0)
    words = [token for label in session.scorers["search"].labels for token in label]
    assert start_tokens(session, "labels", rng)[: len(words)].tolist() == words
    assert np.isin(start_tokens(session, "vocabulary", rng), session.space.tokens).all()


def test_minibatches_show_every_row_before_any_comes_again():
    steps = minibatches(96, np.random.default_rng(0))
    seen = np.concatenate([next(steps) for _ in range(3)])
    assert sorted(seen.tolist()) == list(range(96))


def test_a_pass_leaves_out_the_rows_of_its_last_smaller_batch():
    steps = minibatches(100, np.random.default_rng(0))
    passes = [np.concatenate([next(steps) for _ in range(3)]) for _ in range(2)]
    assert [len(set(seen.tolist())) for seen in passes] == [96, 96]
    assert set(passes[0]) != set(passes[1])


def test_the_gap_ends_at_the_loss_of_the_projected_words(session):
    rng = np.random.default_rng(0)
    tokens = rng.choice(session.space.tokens, size=2)
    points = session.space.embeddings[tokens] + rng.normal(size=(2, 64)).astype(np.float32) * 0.1
    gap = soft_to_hard(session, Descent(points, tokens, tokens))
    out = np.empty((1, 24, 2))
    scorer = session.scorers["search"]
    scorer.by_ids(tokens[None], scorer.within(None), out)
    hard = -out[0][np.arange(24), session.gold("search")].mean()
    # Figures are rounded to six digits.
    assert gap["hard"] == pytest.approx(hard, abs=TOLERANCE)
    assert gap["places"][-1]["so_far"] == gap["hard"]
    assert gap["places"][0]["alone"] == gap["places"][0]["so_far"]
    assert gap["soft"] != gap["hard"]


def test_what_projection_costs_is_worked_out_when_the_clock_has_stopped(
    prepare, task_folder, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(relax, "soft_to_hard", lambda session, descent: asked.append(descent))
    fitted = make_method("relax").fit(bench_of(prepare(task_folder, budget=80.0), tmp_path))
    assert not asked
    assert fitted.late() == {"gap": None}
    assert len(asked) == 1


def test_examples_stand_before_the_text_in_the_order_of_the_template(session, tmp_path):
    fitted = make_method("shots").fit(bench_of(session, tmp_path))
    shown = fitted.text.split("\n\n")
    known = {f"{row.text} {session.task.labels[row.label].word}" for row in session.task.search}
    assert set(shown) <= known
    assert len(shown) == fitted.details["examples"]
    scorer = session.scorers["test"]
    codec = session.model.codec
    ids = codec.encode(f"{fitted.text}\n\n{scorer.texts[0]}")
    assert sum(token == codec.prefix[0] for token in ids) == 1
    expected = scorer.after([f"{fitted.text}\n\n"] * len(scorer.texts))
    np.testing.assert_array_equal(fitted.predict("test"), expected)


def test_examples_that_do_not_fit_the_context_are_left_out(prepare, task_folder, tmp_path):
    row = {"text": "many words of no weight " * 48, "label": "good"}
    with (task_folder / "test.jsonl").open("a", encoding="utf8") as file:
        file.write(json.dumps(row) + "\n")
    session = prepare(task_folder)
    fitted = make_method("shots").fit(bench_of(session, tmp_path))
    assert fitted.late()["test_texts_with_fewer"] == 1
    assert np.isfinite(fitted.predict("test")).all()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_probe_reads_the_state_before_the_label(make_model, family):
    plain, model = make_model(family)
    scorer, _ = build(model, TEMPLATES[1])
    states = scorer.hidden(("so",))
    for text, state in zip(TEXTS, states, strict=True):
        ids = torch.tensor([model.codec.encode(f"{text} so")])
        with torch.no_grad():
            expected = plain(ids, output_hidden_states=True).hidden_states[-1][0, -1]
        np.testing.assert_allclose(state, expected.numpy(), atol=TOLERANCE, rtol=TOLERANCE)


def write_moods_of(folder, train):
    """A folder task of three labels: so many rows of each in train, two in dev and in test."""
    folder.mkdir()
    texts = {"bad": "cold wet night", "meh": "grey dull noon", "ok": "lovely warm day"}
    for split, counts in {"train": train, "dev": [2] * 3, "test": [2] * 3}.items():
        rows = [
            json.dumps({"text": f"{text} number {i} of {split}", "label": label})
            for (label, text), n in zip(texts.items(), counts, strict=True)
            for i in range(n)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf8")
    return folder


@pytest.mark.parametrize("name", ["tf-idf", "probe"])
def test_a_label_without_a_search_row_is_never_predicted(prepare, tmp_path, name):
    task = write_moods_of(tmp_path / "task", [20, 1, 20])  # the sample of 12 has none of the rare
    session = prepare(task, search_rows=12)
    assert set(session.gold("search")) == {0, 2}
    fitted = make_method(name).fit(bench_of(session, tmp_path))
    found = fitted.predict("test")
    assert found.shape == (6, 3)
    assert np.isneginf(found[:, 1]).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    known = session.gold("test") != 1
    assert (found.argmax(axis=1) == session.gold("test"))[known].all()
    assert fitted.details["C"] in STRENGTHS
    assert fitted.n_bytes == 4 * fitted.stored + (name == "tf-idf") * words_of(session)


def test_examples_need_a_search_row_of_every_label(prepare, tmp_path):
    session = prepare(write_moods_of(tmp_path / "task", [20, 1, 20]), search_rows=12)
    with pytest.raises(Unfit, match="label 'meh' has no search row to show"):
        make_method("shots").fit(bench_of(session, tmp_path))


def words_of(session):
    """Bytes of the words and pairs of words of the search rows, one a line."""
    found = set()
    for text in session.scorers["search"].texts:
        words = text.lower().split()
        found |= {*words, *map(" ".join, pairwise(words))}
    return len("\n".join(found).encode())


@pytest.mark.parametrize("name", ["tf-idf", "probe"])
def test_search_rows_of_one_label_teach_a_classifier_nothing(prepare, tmp_path, name):
    task = write_moods_of(tmp_path / "task", [40, 1, 1])
    session = prepare(task, search_rows=12)
    with pytest.raises(Unfit, match="the search rows all have one label"):
        make_method(name).fit(bench_of(session, tmp_path))


def test_method_names_expand_in_the_order_of_the_table():
    assert expand(["linear", "none"]) == ("none", "tf-idf", "probe")
    assert expand(["fine-tune", "adapter"]) == ("adapter-3", "adapter-0.1", "fine-tune")
    assert expand(["adapter"], ["1%", "2.50"]) == ("adapter-2.5", "adapter-1")
    assert expand(["adapter"], ["0.00001%", "2e-3"]) == ("adapter-0.002", "adapter-0.00001")
    assert expand(["adapter-1e-5"]) == ("adapter-0.00001",)
    assert make_method("adapter-0.00001").share == pytest.approx(1e-7)
    assert set(expand(["all"], ["1"])) ^ set(EVERY) == {"adapter-3", "adapter-0.1", "adapter-1"}
    with pytest.raises(UsageError, match="Did you mean 'search'"):
        expand(["serch"])
    with pytest.raises(UsageError, match="--methods is empty"):
        expand([])
    with pytest.raises(UsageError, match="--share sets sizes of 'adapter', but --methods has none"):
        expand(["fine-tune"], ["1"])
    with pytest.raises(UsageError, match="'much' is no share of the weights"):
        expand(["adapter-much"])
    for share in ("0", "-1", "101", "nan"):
        with pytest.raises(UsageError, match=f"above 0 and up to 100; got '{share}%'"):
            expand(["adapter"], [share])


def test_the_method_of_the_documents_works(session, tmp_path):
    page = Path(__file__).parents[1] / "docs" / "compare.md"
    code = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf8"), re.DOTALL)[-1]
    names = {
        "np": np, "Bench": Bench, "Fitted": Fitted, "FloatArray": FloatArray, "Method": Method,
        "__name__": "example",
    }  # fmt: skip
    exec(compile(code, "compare.md", "exec"), names)
    fitted = names["Majority"]().fit(bench_of(session, tmp_path))
    assert len(set(fitted.predict("test").argmax(axis=1))) == 1
