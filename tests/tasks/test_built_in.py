"""The tasks with labels inside the package keep what their cards promise."""

import re
from collections import Counter
from importlib.resources import files
from itertools import chain

import pytest
from click.testing import CliRunner

from hardprompt.cli import main
from hardprompt.models.codec import Codec
from hardprompt.tasks import load_task, task_names

# Those whose answer is a text are looked over in test_written_data.py.
LENGTHS = {"sentiment": (5, 40), "topic": (8, 45)}  # fewest and most words of a row


@pytest.fixture(scope="module", params=LENGTHS)
def task(request):
    return load_task(request.param, search_rows=None, dev_rows=None)


def splits(task):
    return {"search": task.search, "dev": task.dev, "test": task.test}


def texts(task):
    return [example.text for example in chain(*splits(task).values())]


def test_every_split_is_large_and_balanced(task):
    for part in splits(task).values():
        assert len(part) >= 128
        assert len(set(task.counts(part))) == 1
    assert len(task.test) >= 384
    assert len(texts(task)) >= 600


def test_rows_are_as_long_as_the_card_says(task):
    fewest, most = LENGTHS[task.name]
    assert not [text for text in texts(task) if not fewest <= len(text.split()) <= most]


def test_no_two_rows_share_five_consecutive_words(task):
    seen = Counter()
    for text in texts(task):
        words = re.findall(r"[a-z0-9']+", text.lower())
        seen.update({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    assert not [" ".join(sequence) for sequence, count in seen.items() if count > 1]


def test_label_words_are_single_tokens_of_the_embedded_model(task, tokenizer):
    codec = Codec(tokenizer)
    tokens = [codec.encode(word)[len(codec.prefix) :] for word in task.words]
    assert [len(ids) for ids in tokens] == [1] * len(task.words)
    assert len({ids[0] for ids in tokens}) == len(task.words)


def test_manual_prompts_stand_beside_every_template(task):
    assert set(task.manual) == set(task.templates)
    assert all(len(set(prompts)) >= 4 for prompts in task.manual.values())


def test_the_card_gives_version_sizes_and_licence(task):
    card = files("hardprompt.tasks").joinpath("data", f"{task.name}.md").read_text("utf8")
    assert card.startswith(f"# {task.name} {task.version}\n")
    assert f"Licence: {task.licence}" in card
    for split, part in splits(task).items():
        sizes = " | ".join(map(str, [len(part), *task.counts(part)]))
        assert f"| {split} | {sizes} |" in card


def test_ls_tasks_names_them():
    shown = CliRunner().invoke(main, ["ls", "tasks"]).output
    assert re.search(r"^topic +world = world, .+128 dev, 384 test +MIT$", shown, re.MULTILINE)
    assert all(re.search(rf"^{name} ", shown, re.MULTILINE) for name in task_names())
