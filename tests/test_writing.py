"""Tasks whose answer is a text: searched by likelihood, judged by what is written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hardprompt import runs
from hardprompt.baselines.base import Bench
from hardprompt.baselines.discrete import best_found
from hardprompt.baselines.manual import Manual
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.evaluation import Evaluator, Memory
from hardprompt.models.writer import Decoding
from hardprompt.objective import Batch
from hardprompt.prompt import HardPrompt
from hardprompt.registry import make_strategy
from hardprompt.scoring.compile import Renderer
from hardprompt.scoring.scorer import Scorer
from hardprompt.session import Session
from hardprompt.tasks import load_task
from hardprompt.template import Template
from tests.conftest import call

PLACES = ["harbour", "market", "library", "station", "bridge", "garden", "museum", "river"]
WRITE = ("none", "manual", "search", "prompt-tuning", "bbt", "prefix", "adapter-3", "top-2",
         "fine-tune")  # fmt: skip
SPLITS = {"train": range(0, 5), "dev": range(3, 6), "test": range(4, 8)}


def row(place):
    return {"source": f"The old {place} opens again on Monday after a long winter of repairs.",
            "references": [f"{place} opens again", f"old {place} is back"]}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("writing") / "heads"
    made.mkdir()
    for split, numbers in SPLITS.items():
        lines = (json.dumps(row(PLACES[i])) for i in numbers)
        (made / f"{split}.jsonl").write_text("\n".join(lines))
    return made


@pytest.fixture(scope="module")
def session(folder):
    return Session.prepare(RunConfig(task=str(folder), length=3, budget=12, search_rows=None))


def test_search_rows_are_pairs_and_others_keep_all_references(folder):
    task = load_task(str(folder), search_rows=None)
    assert task.writes
    assert [len(example.references) for example in task.search] == [1] * 10
    assert {len(example.references) for example in (*task.dev, *task.test)} == {2}
    assert len(load_task(str(folder), search_rows=4).search) == 4


def test_the_loss_is_the_mean_over_references_of_a_tokens_surprise(session):
    ids = np.tile(session.space.tokens[:3], (1, 1))
    told = session.objective.measure(Batch(ids=ids))
    prompts = tuple(session.scorers["search"].renderer.prompt_texts(ids[0], session.space.slots))
    model, codec = session.model._model, session.model.codec
    surprises = []
    for example in session.task.search:
        head = codec.encode(f"{prompts[0]} {example.text} Summary:")
        end = [*codec.encode(f"a {example.references[0]}")[len(codec.encode("a")) :], codec.end_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([head + end])).logits[0]
        log_probs = logits.log_softmax(-1)[len(head) - 1 : -1]
        surprises.append(-log_probs[torch.arange(len(end)), torch.tensor(end)].mean().item())
    # The search may run in half precision.
    tolerance = 1e-5 if session.screen is None else 0.05
    assert told.loss[0] == pytest.approx(np.mean(surprises), abs=tolerance)
    evaluator = Evaluator(session, Memory())
    assert evaluator.loss(prompts) == pytest.approx(np.mean(surprises), abs=1e-5)


@pytest.mark.parametrize("end", [" {label}", "\n{label}", " Headline:\n{label}"])
def test_what_is_to_be_written_is_read_as_it_stands_in_its_row(session, end):
    codec = session.model.codec
    renderer = Renderer(codec, Template.parse("{prompt} {source}" + end))
    texts = ["harbour opens again", "Foo is back", "7 bridges"]
    found = renderer.target_ids(texts)
    for text, ids in zip(texts, found, strict=True):
        whole = codec.encode("Say it The market opens." + end.replace("{label}", text))
        assert whole[-(len(ids) - 1) :] == list(ids[:-1])
        assert ids[-1] == codec.end_id


def test_a_text_that_melts_into_the_template_is_refused(session):
    renderer = Renderer(session.model.codec, Template.parse("{prompt} {source} anti{label}"))
    with pytest.raises(HardpromptError, match="melts into 'anti' before it"):
        renderer.target_ids(["septic harbour", "gravity", "cipate"])


def test_greedy_writing_takes_the_likeliest_token_each_time(session):
    scorer, model = session.scorers["test"], session.model
    written = scorer.written(("Say it",), Decoding(6))
    ends = {model.codec.end_id, *model.codec.following(["\n"])[0]}
    for ids, text in zip(scorer.renderer.encode(("Say it",), scorer.texts), written, strict=True):
        new = []
        for _ in range(6):
            with torch.no_grad():
                logits = model._model(input_ids=torch.tensor([ids + new])).logits[0, -1]
            new.append(int(logits.argmax()))
            if new[-1] in ends:
                new.pop()
                break
        assert text == model.codec.piece(new).strip()


def test_points_of_a_hard_prompt_write_as_its_words(session):
    scorer = session.scorers["dev"]
    ids = session.space.tokens[5:8]
    prompts = scorer.renderer.prompt_texts(ids, session.space.slots)
    by_points = scorer.written_by_points(session.model.embeddings[ids], Decoding(5))
    assert by_points == scorer.written(prompts, Decoding(5))


def test_scores_of_points_are_those_of_the_words(session):
    scorer = session.scorers["dev"]
    ids = session.space.tokens[5:8]
    prompts = scorer.renderer.prompt_texts(ids, session.space.slots)
    by_points = scorer.by_points(session.model.embeddings[ids])
    assert by_points.shape == (3, 1)
    np.testing.assert_allclose(by_points, scorer.by_text(prompts), atol=1e-5)


def test_a_search_ends_in_a_prompt_that_writes(folder, tmp_path):
    result = call("search", "--task", folder, "--len", 3, "--budget", 12, "--output-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "ROUGE-L" in result.stdout
    (run,) = runs.listed(tmp_path)
    results = runs.read_results(run)
    assert results["metric"] == "rouge-l"
    assert results["task"]["kind"] == "generation"
    assert len(results["written"]["samples"]) == 4
    seen = call("inspect", run.name, "--output-dir", tmp_path)
    assert "Written on test" in seen.stdout
    again = call("search", "--resume", run, "--json", "--output-dir", tmp_path)
    assert json.loads(again.stdout)["best"] == results["best"]
    prompt = HardPrompt.load(run / runs.PROMPT)
    best = [sample["best"] for sample in results["written"]["samples"]]
    assert prompt.write([sample["source"] for sample in results["written"]["samples"]]) == best
    with pytest.raises(UsageError, match="texts to be written"):
        prompt.predict(["The old mill opens."])


@pytest.mark.parametrize("strategy", ["random", "beam", "evolution", "relax", "anneal", "optuna"])
@pytest.mark.parametrize("template", ["{prompt} {source} Summary:", "{source} {prompt}"])
def test_every_family_of_strategies_can_search(folder, tmp_path, strategy, template):
    result = call(
        "search", "--task", folder, "--len", 2, "--budget", 8, "--strategy", strategy,
        "--template", template, "--quiet", "--output-dir", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output


def test_methods_are_compared_on_what_they_write(folder, tmp_path):
    result = call(
        "compare", "--task", folder, "--len", 2, "--budget", 12, "--json",
        "--methods", ",".join((*WRITE, "linear", "shots")), "--output-dir", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = {row["method"]: row for row in json.loads(result.stdout)["methods"]}
    assert "labels" in table["tf-idf"]["skipped"]
    for name in WRITE:
        assert 0 <= table[name]["test"] <= 100
        low, high = table[name]["test_interval"]
        assert low <= high


@pytest.fixture
def bench(session, tmp_path):
    return Bench(session, np.random.default_rng(0), 200.0, tmp_path)


def favouring(monkeypatch, session, favourite):
    """Makes the model write the references after one prompt, nothing of them after others; returns
    the prompts that it is asked with."""
    asked = []

    def written(scorer, prompts, decoding):
        asked.append(prompts)
        rows = session.task.dev
        return [row.references[0] if prompts == favourite else "nothing" for row in rows]

    monkeypatch.setattr(Scorer, "written", written)
    return asked


def test_the_manual_prompt_of_a_comparison_is_chosen_by_what_it_writes(session, bench, monkeypatch):
    for prompt in session.manual:
        asked = favouring(monkeypatch, session, (prompt,))
        bench.spent = 0.0
        assert Manual().fit(bench).text == session.template.show((prompt,))
        assert asked == [(text,) for text in session.manual]
        assert bench.spent == len(asked) * len(session.task.dev)


def test_the_found_prompt_of_a_comparison_is_chosen_by_what_it_writes(session, bench, monkeypatch):
    def best(favourite):
        asked = favouring(monkeypatch, session, favourite)
        return best_found(bench, make_strategy("random", {}), "search", 100.0), asked

    first, listed = best(None)
    assert len(listed) > 1
    assert first.prompts == listed[0]  # of equals the one with the lowest search loss
    assert best(listed[-1])[0].prompts == listed[-1]


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_that_is_written_costs_a_row_for_each_beam(session, bench, beams):
    bench.session = replace(session, config=replace(session.config, beams=beams))
    bench.judged(session.no_prompt)
    assert bench.spent == bench.forward == beams * len(session.task.dev)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "accuracy"}, "--objective accuracy, which needs labels"),
        (
            {"objective": "accuracy", "preset": "autoprompt"},
            "--preset autoprompt has objective accuracy, which needs labels",
        ),
        ({"metric": "ter"}, "better the lower"),
        ({"metric": "macro-f1"}, "no metric of text named 'macro-f1'"),
    ],
)
def test_what_makes_no_sense_for_texts_is_said(folder, options, message):
    with pytest.raises(UsageError, match=message):
        Session.prepare(RunConfig(task=str(folder), length=2, **options))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_references_that_rouge_cannot_read_are_said_before_the_search(tmp_path, split):
    task = tmp_path / "task"
    task.mkdir()
    for name in ("train", "dev", "test"):
        texts = ["кошка дома", "снова кошка"] if name == split else ["the cat", "a cat again"]
        rows = [{"source": f"{text} and more", "references": [text]} for text in texts]
        (task / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(HardpromptError, match="no reference has any; take --metric chrf"):
        Session.prepare(RunConfig(task=str(task), length=2))
    assert Session.prepare(RunConfig(task=str(task), length=2, metric="chrf")).metric.name == "chrf"
    checked = call("check", task, "--json")
    assert checked.exit_code == 1
    (finding,) = (f for f in json.loads(checked.stdout)["findings"] if f["kind"] == "metric")
    assert finding["level"] == "error"
    assert f"references of {split}: rouge reads" in finding["message"]
    assert call("check", task, "--metric", "chrf").exit_code == 0


def test_a_masked_model_is_refused(folder, tmp_path):
    from tests.families import save_masked

    with pytest.raises(HardpromptError, match="take a causal model"):
        Session.prepare(
            RunConfig(task=str(folder), length=2, model=str(save_masked("bert", tmp_path)))
        )


def test_a_file_of_ones_own_is_split_with_equal_sources_together(tmp_path):
    path = tmp_path / "rows.csv"
    lines = [f"text {i // 2},summary {i}" for i in range(24)]
    path.write_text("\n".join(["article,summary", *lines]))
    config = RunConfig(data=str(path), text_field="article", target_field="summary", length=2)
    from hardprompt.tasks import load_choice

    task = load_choice(config)
    texts = [{example.text for example in split} for split in (task.search, task.dev, task.test)]
    assert not texts[0] & texts[1]
    assert not (texts[0] | texts[1]) & texts[2]
    assert sum(map(len, texts)) == 12
