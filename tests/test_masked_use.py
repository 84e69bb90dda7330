"""A masked model beside everything that is done with a found prompt."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hardprompt import HardPrompt, runs
from hardprompt.baselines.shots import BETWEEN
from hardprompt.baselines.table import expand
from hardprompt.errors import UsageError
from hardprompt.scoring.compile import Renderer
from hardprompt.tasks.load import load_task
from hardprompt.template import Template
from tests.conftest import HAS_PEFT, call, write_moods
from tests.test_masked import TEMPLATES, folders, loaded, plain, some_ids  # noqa: F401
from tests.test_scoring import TEXTS, TOLERANCE, WORDS, build

WORD = WORDS["one token"]
KINDS = ("bert", "roberta")
# Words before the label and behind it; prompts with their own tokens in every place.
TEMPLATE = "{prompt:1} {text} It was {label} , {prompt:1} !"


@pytest.fixture(scope="module", params=KINDS)
def found(request, folders, tmp_path_factory):  # noqa: F811
    """The folder of a finished search of a second on a masked model."""
    root = tmp_path_factory.mktemp("found")
    args = ["--model", folders[request.param], "--template", TEMPLATE, "--budget", 20,
            "--vocab-top", 100, "--strategy", "random", "--output-dir", root / "runs"]  # fmt: skip
    result = call("search", "--task", write_moods(root / "moods"), *args, "--json")
    return Path(json.loads(result.stdout)["run"])


@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_each_slot_are_found_before_and_behind_the_label(loaded, kind, source):  # noqa: F811
    scorer, space = build(loaded[kind], source)
    renderer = Renderer(loaded[kind].codec, Template.parse(source))
    for row in some_ids(space, 3):
        prompts = renderer.prompt_texts(row, space.slots)
        ends = np.cumsum(space.slots)[:-1]
        wanted = tuple(tuple(part.tolist()) for part in np.split(row, ends))
        assert renderer.slot_ids(prompts, scorer.texts) == [wanted] * len(scorer.texts)


def test_the_figures_of_a_found_prompt_return(found):
    prompt = HardPrompt.load(found / "prompt.json")
    model = prompt.load_model()
    assert prompt.model.kind == "masked"
    assert prompt.check(model) == []
    assert all(entry["certified"] for entry in runs.read_results(found)["best"])
    task = load_task(str(found.parents[1] / "moods"))
    names = [label.name for label in task.labels]
    predicted = prompt.predict([row.text for row in task.test], model)
    share = np.mean([p == names[row.label] for p, row in zip(predicted, task.test, strict=True)])
    # results.json holds six digits.
    assert share == pytest.approx(prompt.scores["test"], abs=1e-6)


def test_try_predict_and_eval_agree(found, tmp_path):
    prompt = HardPrompt.load(found / "prompt.json")
    expected = np.exp(prompt.log_probs(TEXTS))
    shown = json.loads(call("try", found, *TEXTS, "--json").stdout)["texts"]
    (tmp_path / "in.txt").write_text("\n".join(TEXTS), encoding="utf8")
    output = call("predict", found, "--input", tmp_path / "in.txt").stdout
    rows = [json.loads(line) for line in output.splitlines()]
    for text, one, row, shares in zip(TEXTS, shown, rows, expected, strict=True):
        assert text in one["with"]["reads"]
        assert len(re.findall(r"\[MASK\]|<mask>", one["with"]["reads"])) == 1
        for given in (one["with"], row):  # printed with six digits, in batches of another order
            assert list(given["probabilities"].values()) == pytest.approx(shares, abs=1e-5)
    told = json.loads(
        call("eval", "--task", found.parents[1] / "moods", "--prompts-file",
             found / "prompt.json", "--json").stdout
    )  # fmt: skip
    assert told["prompts"][0]["test"] == pytest.approx(prompt.scores["test"], abs=1e-6)


def test_exports_are_whole_or_refused_in_one_line(found):
    prompt = HardPrompt.load(found / "prompt.json")
    first, second = prompt.texts
    text = call("export", found, "--to", "text").stdout
    assert text == f"{first} {{text}} It was {{label}} , {second} !\n"
    assert json.loads(call("export", found, "--to", "json").stdout) == prompt.to_json()
    assert "PROMPT: dict[str, Any] = {'schema'" in call("export", found, "--to", "python").stdout
    with pytest.raises(UsageError, match="is a masked one; take --to python") as caught:
        call("export", found, "--to", "transformers")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_soft_prompt_at_words_scores_as_the_words(loaded, kind, source):  # noqa: F811
    scorer, space = build(loaded[kind], source)
    (ids,) = some_ids(space, 1)
    np.testing.assert_allclose(
        scorer.by_points(loaded[kind].embeddings[ids]),
        scorer.by_text(scorer.renderer.prompt_texts(ids, space.slots)),
        atol=TOLERANCE,
    )


@pytest.mark.parametrize("source", TEMPLATES[:3])  # where the label words are one token each
@pytest.mark.parametrize("kind", KINDS)
def test_examples_stand_before_the_text(loaded, plain, kind, source):  # noqa: F811
    scorer, _ = build(loaded[kind], source)
    model, tokenizer = plain[kind]
    # The second one holds the mask's own name, which is not the label's.
    before = [f"so {WORD[0]}{BETWEEN}", f"the {tokenizer.mask_token} {WORD[1]}{BETWEEN}"]
    template, empty = scorer.renderer.template, ("",) * len(scorer.slots)
    whole = [template.render(empty, text, template.before_label + "{label}") for text in TEXTS]
    for start in before:
        scores = scorer.after([start] * len(TEXTS))
        for row, got in zip(whole, scores, strict=True):
            place = row.index("{label}")
            mask = tokenizer.mask_token
            ids = tokenizer(start + row[:place] + mask + row[place + len("{label}") :])["input_ids"]
            masks = [i for i, token in enumerate(ids) if token == tokenizer.mask_token_id]
            at = masks[start.count(mask)]
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0, at].double()
            label = [word[0] for word in scorer.labels]
            np.testing.assert_allclose(got, logits[label].log_softmax(-1), atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["bert", "roberta", "albert", "electra", "distilbert"])
def test_the_probe_reads_the_state_at_the_mask(loaded, plain, kind):  # noqa: F811
    scorer, _ = build(loaded[kind], TEMPLATES[1])
    model, tokenizer = plain[kind]
    for text, state in zip(TEXTS, scorer.hidden(("so",)), strict=True):
        ids = tokenizer(scorer.renderer.write(("so",), text))["input_ids"]
        at = ids.index(tokenizer.mask_token_id)
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
        np.testing.assert_allclose(state, hidden[0, at], atol=TOLERANCE, rtol=TOLERANCE)


def test_every_method_can_be_compared(folders, task_folder, tmp_path):  # noqa: F811
    result = call(
        "compare", "--task", task_folder, "--model", folders["bert"], "--budget", 60,
        "--template", "{prompt:2} {text} It was {label} .", "--vocab-top", 100,
        "--methods", "all", "--output-dir", tmp_path / "runs", "--json",
    )  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    records = {
        name: json.loads((folder / f"{name}__seed0.json").read_text()) for name in expand(["all"])
    }
    assert json.loads(result.stdout)
    skipped = {name for name, record in records.items() if record["skipped"]}
    # They need what only a causal model has, or an extra.
    assert skipped == {"prefix", "llama-adapter"} | (set() if HAS_PEFT else {"lora"})
    about = folder / "prompt-tuning__seed0" / "soft"
    assert (about / "soft_prompt.safetensors").is_file(), "peft has no prompts for masked models"


def test_check_reads_label_words_at_the_mask(folders, task_folder):  # noqa: F811
    args = ["--model", folders["bert"], "--template", "{text} It was {label} , {prompt}"]
    told = json.loads(call("check", task_folder, *args, "--json").stdout)
    assert told["ok"]
    assert all(label["tokens"] for label in told["labels"])
