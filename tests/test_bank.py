"""Prompts of many tasks in one batch: scores as of each row alone, and folders that are checked."""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, DynamicCache

from hardprompt import HardPrompt, PromptBank
from hardprompt.baselines.base import Bench
from hardprompt.baselines.prefix import PrefixTuning
from hardprompt.baselines.soft_files import save_soft_prompt
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.codec import Codec
from hardprompt.models.load import load_model
from hardprompt.models.mini import FOLDER
from hardprompt.prompt import FoundOn, PromptSlot
from hardprompt.scoring.compile import Renderer, compile_rows
from hardprompt.scoring.losses import normalise
from hardprompt.session import Session, versions
from hardprompt.tasks.schema import Label
from hardprompt.template import Template
from tests.families import MASKED, save_masked
from tests.test_scoring import _Framed

CAUSAL = ["gpt2", "llama", "qwen2", "gemma", "gpt_neox", "opt"]  # llama, qwen2, gemma: grouped
TOLERANCE = 1e-5  # of log-probabilities
# Classes are told apart by sums of up to four log-probabilities of -10 and less, whose digits in
# float32 end at 1e-6 of them. Random models stay below `TOLERANCE` alone, `mini` exceeds it by 5%.
ROUNDING = 2e-6
MOOD = {"bad": "terrible", "good": "great"}
TOPIC = {"world": "world", "sports": "sports news", "business": "business and money"}
SPAM = {"no": "not bad at all", "yes": "not good"}
TEXTS = (
    "a fine film",
    "the food was cold and the waiter rude , never again",
    "it works",
    "so good that we went twice",
    "this is a longer text about nothing much in particular and it goes on for a while",
)
FIRST, LAST, SPLIT = "{prompt} {text} {label}", "{text} {prompt} {label}", (
    "{prompt:2} about {text} so it is {prompt:1} {label}"
)  # fmt: skip


def labels(words):
    return tuple(Label(name, word) for name, word in words.items())


def found_on(info):
    return FoundOn(**{f.name: getattr(info, f.name) for f in dataclasses.fields(FoundOn)})


def hard(model, texts, template, words):
    """A hard prompt as a search would leave it."""
    parsed = Template.parse(template)
    (ids,) = Renderer(model.codec, parsed).slot_ids(texts, ["It is a text"])
    return HardPrompt(
        slots=tuple(map(PromptSlot, texts, ids)),
        template=template,
        labels=labels(words),
        model=found_on(model.info),
        task={"name": "t", "version": "1", "fingerprint": "f"},
        scores={},
        versions=versions(),
    )


def about(folder, model, template, words, **more):
    folder.mkdir(parents=True)
    content = {
        "schema": "hardprompt.soft/1",
        "model": {"name": model.info.name, "fingerprint": model.info.fingerprint},
        "template": template,
        "labels": words,
        **more,
    }
    (folder / "hardprompt.json").write_text(json.dumps(content), encoding="utf8")


def points_of(model, n, seed):
    table = model.embeddings
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, table.shape[1])) * table.std()
    return (table[rng.integers(5, len(table), n)] + noise).astype(np.float32)


def soft_folder(folder, model, template, slots, words, seed=0):
    """Points in our own layout; returns them."""
    points = points_of(model, sum(slots), seed)
    about(folder, model, template, words, slots=slots, virtual_beginning=[])
    save_file({"points": points}, folder / "soft_prompt.safetensors")
    return points


def prefix_folder(folder, model, n, words, template=FIRST, seed=0):
    """A prefix as plain `peft` has it; returns its numbers."""
    shape = model.prefix_shape
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, int(np.prod(shape)))).astype(np.float32)
    about(folder, model, template, words)
    layers, _, heads, dim = shape
    config = {
        "peft_type": "PREFIX_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": n,
        "num_layers": layers, "num_attention_heads": heads, "token_dim": heads * dim,
        "num_transformer_submodules": 1, "prefix_projection": False, "encoder_hidden_size": dim,
        "inference_mode": True, "base_model_name_or_path": None,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf8")
    save_file({"prompt_embeddings": numbers}, folder / "adapter_model.safetensors")
    return numbers


def filled_bank(model, folder, prefixes=True):
    """Seven tasks of all kinds, templates and numbers of tokens; with what an oracle needs."""
    bank, known = PromptBank(model), {}
    for name, texts, template, words in (
        ("mood", (" tell me",), FIRST, MOOD),
        ("topic", ("the subject of it is",), LAST, TOPIC),
        ("split", ("a note", "very"), SPLIT, SPAM),
    ):
        bank.add(name, hard(model, texts, template, words))
    for seed, (name, template, slots, words) in enumerate((
        ("soft mood", FIRST, [5], MOOD), ("soft split", SPLIT, [2, 1], TOPIC)
    )):  # fmt: skip
        known[name] = soft_folder(folder / name, model, template, slots, words, seed)
        bank.add_soft(name, folder / name)
    for n, (name, words) in zip((3, 9), (("spam", SPAM), ("kind", MOOD)), strict=True):
        if prefixes:
            known[name] = prefix_folder(folder / name, model, n, words, seed=n)
            bank.add_prefix(name, folder / name)
    return bank, known


def mixed(bank):
    """Every task on every text, in an order that mixes both."""
    rows = [(name, text) for name in bank.names for text in TEXTS]
    return [rows[number] for number in np.random.default_rng(3).permutation(len(rows))]


def alone(plain, model, bank, known, name, text):
    """`(classes,)` of one row and one label word at a time, by transformers itself in float64."""
    plain = plain.double()
    task = bank._tasks[name]
    template, words = Template.parse(task.held.template), [lab.word for lab in bank.labels(name)]
    renderer, before = Renderer(model.codec, template), DynamicCache()
    embed = plain.get_input_embeddings()
    if name.startswith("soft"):
        the, very = (model.codec.encode(f"a {word}")[-1] for word in ("the", "very"))
        slots = np.split(known[name], np.cumsum(task.held.slots)[:-1])
        (row,) = compile_rows(renderer, [text], (True,) * len(slots), (the, very))
        parts = [embed(torch.tensor([row.segments[0]], dtype=torch.int64))]
        for slot, segment in zip(slots, row.segments[1:], strict=True):
            ids = torch.tensor([segment], dtype=torch.int64)
            parts += [torch.from_numpy(slot)[None].double(), embed(ids)]
        points, filler = torch.cat(parts, 1), ["the " * n for n in task.held.slots]
        words_ids = renderer.label_ids(words, text, [part.strip() for part in filler])
    else:
        prompts = task.held.prompt.texts if name not in known else ("",) * template.n_slots
        points = embed(torch.tensor(renderer.encode(prompts, [text])))
        words_ids = renderer.label_ids(words, text, prompts)
    if name in known and not name.startswith("soft"):
        whole = torch.from_numpy(known[name].reshape(-1, *model.prefix_shape)).double()
        for number, (keys, values) in enumerate(whole.permute(1, 2, 3, 0, 4)):
            before.update(keys[None], values[None], number)
    scores = []
    for ids in words_ids:
        row = torch.cat([points, embed(torch.tensor([ids]))], 1)
        cache = DynamicCache()
        for number, layer in enumerate(before.layers):
            cache.update(layer.keys, layer.values, number)
        with torch.no_grad():
            logits = plain(inputs_embeds=row, past_key_values=cache, use_cache=True).logits
        told = logits[0, points.shape[1] - 1 :].log_softmax(-1)
        scores.append(sum(float(told[i, token]) for i, token in enumerate(ids)))
    return normalise(np.array(scores))


def check(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE, rtol=ROUNDING)


@pytest.fixture
def twins(make_model):
    """`twins(family)` -> the model of transformers, and ours with the same weights."""

    def make(family):
        if family != "mini":
            return make_model(family)
        plain = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
        return plain, load_model("mini")

    return make


@pytest.mark.parametrize("family", [*CAUSAL, "mini"])
def test_a_mixed_batch_scores_as_each_row_alone(twins, tmp_path, family):
    plain, model = twins(family)
    bank, known = filled_bank(model, tmp_path)
    rows = mixed(bank)
    expected = [alone(plain, model, bank, known, *row) for row in rows]
    assert max(np.abs(a - b).max() for a, b in pairwise(expected) if a.shape == b.shape) > 0.1
    check(bank.log_probs(rows), expected)
    for tokens in (1, 100, 333):  # a row at a time, few, and some
        model.batch_tokens = tokens
        check(bank.log_probs(rows[::-1]), expected[::-1])


@pytest.mark.parametrize("family", ["gemma2", "llama"])
def test_rows_read_whole_score_as_each_row_alone(make_model, tmp_path, family):
    """The way of models whose attention has more to it."""
    plain, model = make_model(family, plain=True)
    bank, known = filled_bank(model, tmp_path, prefixes=family == "llama")
    rows = mixed(bank)
    check(bank.log_probs(rows), [alone(plain, model, bank, known, *row) for row in rows])


def test_without_a_beginning_token(make_model, tokenizer, tmp_path):
    plain, model = make_model("llama", codec=Codec(_Framed(tokenizer)))
    bank, known = filled_bank(model, tmp_path)
    rows = mixed(bank)
    check(bank.log_probs(rows), [alone(plain, model, bank, known, *row) for row in rows])


def test_hard_prompts_predict_in_a_bank_as_by_themselves(tmp_path):
    model = load_model("mini")
    bank, _ = filled_bank(model, tmp_path)
    rows = [row for row in mixed(bank) if row[0] in ("mood", "topic", "split")]
    prompts = [bank._tasks[name].held.prompt for name, _ in rows]
    expected = [
        prompt.predict([text], model)[0] for prompt, (_, text) in zip(prompts, rows, strict=True)
    ]
    assert bank.predict(rows) == expected


def test_a_mixed_batch_is_one_forward_pass(make_model, tmp_path):
    _, model = make_model("llama", tokens=10**6)
    bank, _ = filled_bank(model, tmp_path)
    passes = []
    model._model.base_model.register_forward_hook(lambda *_: passes.append(1))
    bank.log_probs(mixed(bank))
    assert len(passes) == 1


def test_what_does_not_fit_in_memory_is_halved(make_model, tmp_path, monkeypatch):
    _, model = make_model("gpt2", tokens=10**6)
    bank, _ = filled_bank(model, tmp_path)
    rows, whole = mixed(bank), model._mixed
    expected = bank.log_probs(rows)

    def small(batch):
        if len(batch) > 4:
            raise RuntimeError("CUDA out of memory")
        return whole(batch)

    monkeypatch.setattr(model, "_mixed", small)
    check(bank.log_probs(rows), expected)


@pytest.mark.parametrize("way", ["shared", "rows read whole"])
def test_a_row_may_fill_the_table_of_positions(make_model, tmp_path, way):
    """Behind a prefix, the padding of the shorter rows lies beyond it."""
    _, model = make_model("gpt2", tokens=10**6, plain=way != "shared")
    bank, _ = filled_bank(model, tmp_path)
    prefix_folder(tmp_path / "long", model, 60, MOOD)
    bank.add_prefix("long", tmp_path / "long")
    rows = [("mood", "many words " * 200), ("long", "a fine film"), ("long", "so " * 300)]
    expected = [bank.log_probs([row])[0] for row in rows]
    assert bank.cut == 2
    check(bank.log_probs(rows), expected)


def test_peft_reads_a_prefix_alike(tiny_folder, tmp_path):
    peft = pytest.importorskip("peft", reason="peft, the oracle: pip install '.[compare]'")
    model = load_model(str(tiny_folder))
    prefix_folder(tmp_path / "p", model, 4, MOOD)
    bank = PromptBank(model)
    bank.add_prefix("mood", tmp_path / "p")
    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    adapted = peft.PeftModel.from_pretrained(base, tmp_path / "p").eval()
    words = [model.codec.encode(f"a {word}")[-1] for word in MOOD.values()]
    for text in TEXTS:
        ids = torch.tensor([model.codec.encode(text)])
        with torch.no_grad():
            told = adapted(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        expected = normalise(told.log_softmax(-1)[words].numpy())
        np.testing.assert_allclose(bank.log_probs([("mood", text)])[0], expected, atol=TOLERANCE)


@pytest.mark.parametrize("template", ["prefix", "suffix"])
def test_a_soft_prompt_of_a_comparison_scores_as_it_did(
    tiny_folder, task_folder, tmp_path, template
):
    config = RunConfig(task=str(task_folder), model=str(tiny_folder), length=3, template=template)
    session = Session.prepare(config)
    points = points_of(session.model, 3, 0)
    save_soft_prompt(tmp_path / "soft", session, points)
    scorer = session.scorers["test"]
    bank = PromptBank(session.model)
    bank.add_soft("moods", tmp_path / "soft")
    check(bank.log_probs([("moods", text) for text in scorer.texts]), scorer.by_points(points))


def test_a_prefix_of_a_comparison_scores_as_it_did(tiny_folder, task_folder, tmp_path):
    config = RunConfig(task=str(task_folder), model=str(tiny_folder), length=3, budget=60.0)
    session = Session.prepare(config)
    bench = Bench(session, np.random.default_rng(0), 1000.0, tmp_path)
    fitted = PrefixTuning().fit(bench)
    bank = PromptBank(session.model)
    bank.add_prefix("moods", tmp_path / "weights")
    rows = [("moods", text) for text in session.scorers["test"].texts]
    check(bank.log_probs(rows), fitted.predict("test"))


@pytest.mark.parametrize("kind", MASKED)
def test_masked_models_mix_hard_and_soft_prompts(tmp_path, kind):
    model = load_model(str(save_masked(kind, tmp_path / "m")))
    bank = PromptBank(model)
    one, two = {"bad": "terrible", "good": "great"}, {"bad": "not good", "good": "so great"}
    bank.add("a", hard(model, ("it was",), "{text} {prompt} {label} .", two))
    bank.add("b", hard(model, ("very",), "{label} {prompt} {text}", one))
    for name, template in (
        ("soft a", "{text} {prompt} {label} ."),
        ("soft b", "{label} {prompt} {text}"),
    ):
        soft_folder(tmp_path / name, model, template, [3], two)
        bank.add_soft(name, tmp_path / name)
    rows = mixed(bank)
    expected = [bank.log_probs([row])[0] for row in rows]
    check(bank.log_probs(rows), expected)
    for (name, text), found in zip(rows, expected, strict=True):
        if name in "ab":
            alike = bank._tasks[name].held.prompt.log_probs([text], model)[0]
            np.testing.assert_allclose(found, alike, atol=TOLERANCE)
    for name in ("soft a", "soft b"):
        task = bank._tasks[name]
        rows_of = compile_rows(task.renderer, TEXTS, (True,), task.probes)
        for row, text in zip(rows_of, TEXTS, strict=True):
            group = model.groups([row], [0])[0]
            alike = model.label_log_probs(group, task.label_ids, [task.slots[0][None]])[0, 0]
            np.testing.assert_allclose(
                bank.log_probs([(name, text)])[0], normalise(alike), atol=TOLERANCE
            )


def test_a_prefix_is_refused_where_none_can_stand(make_model, tmp_path):
    masked = load_model(str(save_masked("bert", tmp_path / "m")))
    _, windowed = make_model("gemma2")
    _, fits = make_model("llama")
    for number, (model, reason) in enumerate(
        ((masked, "is a masked model"), (windowed, "with plain keys and values at every layer"))
    ):
        folder = tmp_path / str(number)
        prefix_folder(folder, fits, 2, MOOD)
        content = json.loads((folder / "hardprompt.json").read_text(encoding="utf8"))
        content["model"]["fingerprint"] = model.info.fingerprint
        (folder / "hardprompt.json").write_text(json.dumps(content), encoding="utf8")
        with pytest.raises(HardpromptError, match=reason):
            PromptBank(model).add_prefix("a", folder)


@pytest.fixture
def bank(tiny_folder, tmp_path):
    return filled_bank(load_model(str(tiny_folder)), tmp_path / "made")[0]


def numbers_of(folder):
    (path,) = folder.glob("bank*.safetensors")
    return path


def test_a_saved_bank_scores_as_before(bank, tmp_path):
    rows = mixed(bank)
    bank.save(tmp_path / "bank")
    bank.save(tmp_path / "bank")  # over itself
    digest = hashlib.sha256(numbers_of(tmp_path / "bank").read_bytes()).hexdigest()
    assert {path.name for path in (tmp_path / "bank").iterdir()} == {
        "bank.json", f"bank-{digest[:16]}.safetensors"
    }  # fmt: skip
    again = PromptBank.load(tmp_path / "bank")
    assert again.names == bank.names
    assert [again.labels(name) for name in again.names] == [bank.labels(n) for n in bank.names]
    for mine, theirs in zip(again.log_probs(rows), bank.log_probs(rows), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def same_scores(bank, other):
    assert bank.names == other.names
    for mine, theirs in zip(
        bank.log_probs(mixed(bank)), other.log_probs(mixed(other)), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize(
    ("step", "kept"),
    [
        ("hardprompt.bank.files.save_file", 0),
        ("pathlib.Path.replace", 0),
        ("hardprompt.runs.write_json", 0),
        ("pathlib.Path.unlink", 1),
    ],
)
def test_a_save_that_fails_leaves_the_old_bank_or_the_new_one(
    bank, tmp_path, monkeypatch, step, kept, failure
):
    folder = tmp_path / "bank"
    old = PromptBank(bank.model)
    old.add_soft("soft mood", tmp_path / "made" / "soft mood")
    old.save(folder)

    def fail(*args, **options):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with suppress(KeyboardInterrupt, OSError, HardpromptError):
            bank.save(folder)
    same_scores(PromptBank.load(folder, bank.model), (old, bank)[kept])
    bank.save(folder)
    assert len(list(folder.iterdir())) == 2
    same_scores(PromptBank.load(folder, bank.model), bank)


def test_a_bank_that_was_saved_before_names_of_tensors_loads(bank, tmp_path):
    folder = tmp_path / "bank"
    bank.save(folder)
    content, path = json.loads((folder / "bank.json").read_text("utf8")), numbers_of(folder)
    tensors = load_file(path)
    path.unlink()
    named = {
        task["name"]: tensors[task.pop("tensor")] for task in content["tasks"] if "tensor" in task
    }
    save_file(named, folder / "bank.safetensors")
    digest = hashlib.sha256((folder / "bank.safetensors").read_bytes()).hexdigest()
    content |= {"schema": "hardprompt.bank/1", "numbers": digest}
    (folder / "bank.json").write_text(json.dumps(content), encoding="utf8")
    again = PromptBank.load(folder, bank.model)
    same_scores(again, bank)
    again.save(folder)
    assert numbers_of(folder).name == path.name


def test_a_task_may_be_called_as_it_likes(bank, tmp_path):
    for name in ("__metadata__", "a/b", "köln \U0001f600"):
        bank.add_soft(name, tmp_path / "made" / "soft mood")
    bank.save(tmp_path / "bank")
    same_scores(PromptBank.load(tmp_path / "bank", bank.model), bank)


def test_a_bank_of_hard_prompts_alone_has_no_numbers(bank, tmp_path):
    words = PromptBank(bank.model)
    words.add("mood", bank._tasks["mood"].held.prompt)
    words.save(tmp_path / "bank")
    assert [path.name for path in (tmp_path / "bank").iterdir()] == ["bank.json"]
    again = PromptBank.load(tmp_path / "bank", bank.model)
    assert again.predict([("mood", TEXTS[0])]) == words.predict([("mood", TEXTS[0])])


def change(key, value, task=None):
    """A change of `bank.json`: of the whole, or of one task."""

    def make(folder):
        path = folder / "bank.json"
        content = json.loads(path.read_text(encoding="utf8"))
        part = content if task is None else content["tasks"][task]
        if value is None:
            del part[key]
        else:
            part[key] = value
        path.write_text(json.dumps(content), encoding="utf8")

    return make


def renumber(name, numbers):
    """A change of the numbers: a tensor replaced, or dropped."""

    def make(folder):
        path = numbers_of(folder)
        kept = load_file(path)
        kept.pop(name)
        save_file(kept if numbers is None else {**kept, name: numbers}, path)

    return make


def text(name, content):
    return lambda folder: (folder / name).write_text(content, encoding="utf8")


# Tasks 0 to 2 are hard, 3 and 4 soft, 5 and 6 prefixes.
DAMAGE = [
    (text("bank.json", "{"), "is no JSON"),
    (text("bank.json", "[]"), "is no bank: it must be an object, got a list"),
    (lambda folder: (folder / "bank.json").unlink(), "cannot read"),
    (change("schema", "hardprompt.bank/9"), "is of schema 'hardprompt.bank/9'"),
    (change("tasks", None), "'tasks' is missing"),
    (change("model", {"name": "tiny"}), "'model.revision' is missing"),
    (change("name", "topic", task=0), "it names 'topic' twice"),
    (change("kind", "code", task=0), "is of kind 'code'"),
    (change("prompt", {"schema": 1}, task=0), "task 1' is no prompt"),
    (change("labels", {"a": 1, "b": "c"}, task=3), "task 4' needs two labels or more"),
    (change("template", "{prompt} {label}", task=3), "it needs {text} exactly once"),
    (change("slots", None, task=3), "task 4' is no soft prompt: 'slots' is missing"),
    (change("slots", [3], task=3), "task 'soft mood': slots of 3 points"),
    (change("slots", [2, 3], task=3), "has 1 slots, but its points are 2 + 3"),
    (change("tensor", None, task=5), "task 6' is no prefix prompt: 'tensor' is missing"),
    (change("numbers", "../0"), "'numbers' must be a sha256"),
    (change("numbers", "0" * 64), "cannot read"),
    (lambda folder: numbers_of(folder).unlink(), "cannot read"),
    (lambda folder: numbers_of(folder).write_text("no tensors"), "cannot read"),
    (renumber("task5", None), "lacks the tensor 'task5'"),
    (renumber("task5", np.zeros(4, np.float32)), "must be a table, its shape is (4,)"),
    (renumber("task5", np.zeros((3, 7), np.float32)), "was changed after"),
    (renumber("task5", np.full((3, 256), np.nan, np.float32)), "holds what is no number"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[message for _, message in DAMAGE])
def test_a_folder_changed_by_hand_is_refused_with_one_line(bank, tmp_path, damage, message):
    bank.save(tmp_path / "bank")
    damage(tmp_path / "bank")
    with pytest.raises(HardpromptError) as caught:
        PromptBank.load(tmp_path / "bank", bank.model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_belongs_to_another_model_is_refused(bank, make_model, tmp_path):
    _, other = make_model("gpt2")
    strange = PromptBank(other)
    with pytest.raises(HardpromptError, match=r"the bank is on 'gpt2': the weights are others"):
        strange.add("mood", bank._tasks["mood"].held.prompt)
    with pytest.raises(HardpromptError, match="whose weights or tokenizer are not those of 'gpt2'"):
        strange.add_soft("a", tmp_path / "made" / "soft mood")
    with pytest.raises(HardpromptError, match="whose weights or tokenizer are not those of 'gpt2'"):
        strange.add_prefix("a", tmp_path / "made" / "spam")
    bank.save(tmp_path / "bank")
    with pytest.raises(HardpromptError, match="the weights are others"):
        PromptBank.load(tmp_path / "bank", other)
    with pytest.raises(HardpromptError, match="it was in float32, this one is in bfloat16"):
        PromptBank.load(tmp_path / "bank", dtype="bfloat16")


def test_mistakes_are_one_line(bank, tmp_path):
    for rows, message in (
        ([("mod", "a text")], "no task in the bank named 'mod'. Did you mean 'mood'?"),
        ([("mood", "a text"), ("mood", " ")], "text 2 is empty"),
        ([("mood", "a text"), ("mood", "half \ud83d")], "text 2 holds half a character"),
    ):
        with pytest.raises(UsageError) as caught:
            bank.log_probs(rows)
        assert message in str(caught.value)
    with pytest.raises(UsageError, match="has a task named 'mood' already"):
        bank.add("mood", bank._tasks["mood"].held.prompt)
    with pytest.raises(UsageError, match="needs a name"):
        bank.add(" ", bank._tasks["mood"].held.prompt)
    with pytest.raises(UsageError, match="the name of a task holds half a character") as caught:
        bank.add("mood \ud83d", bank._tasks["mood"].held.prompt)
    assert "\n" not in str(caught.value)
    assert str(caught.value).encode()
    with pytest.raises(UsageError, match="the bank is empty"):
        PromptBank(bank.model).predict([("mood", "a text")])
    path = tmp_path / "made" / "spam" / "adapter_config.json"
    path.write_text('{"peft_type": "LORA"}', encoding="utf8")
    with pytest.raises(HardpromptError, match="must have peft_type PREFIX_TUNING"):
        bank.add_prefix("more", path.parent)
    assert bank.log_probs([]) == []


def test_a_prefix_of_another_width_is_refused(bank, tmp_path):
    numbers = np.zeros((2, 10), np.float32)
    path = tmp_path / "made" / "spam" / "adapter_model.safetensors"
    save_file({"prompt_embeddings": numbers}, path)
    with pytest.raises(HardpromptError, match=r"task 'b': a place of a prefix .* this one has 10"):
        bank.add_prefix("b", path.parent)


@pytest.mark.parametrize("n", [240, 256, 300])  # with the label word and what is kept free
def test_a_prefix_that_leaves_no_room_is_refused_when_it_is_added(make_model, tmp_path, n):
    _, model = make_model("llama")
    prefix_folder(tmp_path / "prefix", model, n, MOOD)
    with pytest.raises(UsageError, match=f"prefix of {n} places leaves no room .* 256 tokens"):
        PromptBank(model).add_prefix("mood", tmp_path / "prefix")


@pytest.mark.parametrize("n", [238, 250])
def test_a_soft_prompt_that_leaves_no_room_is_refused_when_it_is_added(make_model, tmp_path, n):
    _, model = make_model("llama")
    soft_folder(tmp_path / "soft", model, FIRST, [n], MOOD)
    with pytest.raises(UsageError, match=r"prompt and template take 2\d\d tokens, .* no room for"):
        PromptBank(model).add_soft("mood", tmp_path / "soft")


def test_a_bank_that_cannot_be_written_is_one_line(make_model, tmp_path):
    _, model = make_model("llama")
    bank = PromptBank(model)
    prefix_folder(tmp_path / "prefix", model, 2, MOOD)
    bank.add_prefix("mood", tmp_path / "prefix")
    (tmp_path / "bank" / ".bank.safetensors.part").mkdir(parents=True)
    with pytest.raises(HardpromptError, match="cannot write the bank") as caught:
        bank.save(tmp_path / "bank")
    assert "\n" not in str(caught.value)


def test_the_document_runs_as_it_is_written(tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "prompt-bank.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf8"), re.DOTALL)
    model = load_model("mini")
    hard(model, (" tell me",), FIRST, MOOD).save(tmp_path / "mood.json")
    soft_folder(tmp_path / "topic-soft", model, FIRST, [4], TOPIC)
    prefix_folder(tmp_path / "topic-prefix", model, 4, TOPIC)
    monkeypatch.chdir(tmp_path)
    told = {}
    exec(code, told)
    assert [len(row) for row in told["log_probs"]] == [2, 3, 3, 3, 2]


def test_a_bank_is_imported_when_it_is_asked_for():
    code = (
        "import sys, hardprompt; assert 'torch' not in sys.modules; "
        "from hardprompt import PromptBank; assert PromptBank.__name__ in hardprompt.__all__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
