"""Task files and the files beside them: what odd ones are told, and what they may begin with."""

import json

import pytest

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.tasks import load_task
from hardprompt.tasks.write import write_task
from tests.conftest import call

ROWS = "".join(json.dumps({"text": f"row {i}", "label": "ab"[i % 2]}) + "\n" for i in range(8))
GOOD = """
[task]
name = "odd"
labels = ["a", "b"]
{more}
[data]
train = "train.jsonl"
dev = "dev.jsonl"
test = "{test}"
{tables}
"""


def folder_of(path, more="", tables="", test="test.jsonl", **rows):
    path.mkdir()
    for split in ("train", "dev", "test"):
        (path / f"{split}.jsonl").write_text(rows.get(split, ROWS))
    (path / "task.toml").write_text(GOOD.format(more=more, tables=tables, test=test))
    return path


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"tables": "[templates]"}, r"\[templates\] names none; give one, or leave the table out"),
        (
            {"more": "default_template = []"},
            r"'default_template' must be a text in quotes",
        ),
        ({"more": 'default_template = "pre"'}, "Did you mean 'prefix'"),
        ({"test": "te\\u0000st.jsonl"}, r"\[data\]: 'test' is no path: 'te\\x00st.jsonl'"),
        ({"test": "../../x.jsonl"}, "must lie in the folder of the task file"),
        ({"more": f"version = {'[' * 5000}{']' * 5000}"}, "task.toml is nested too deeply"),
        ({"more": f"version = {'1' * 5000}"}, "task.toml is no TOML: Exceeds the limit"),
    ],
)
def test_odd_task_files_are_told_in_one_line(tmp_path, parts, message):
    with pytest.raises(HardpromptError, match=message) as raised:
        load_task(str(folder_of(tmp_path / "odd", **parts)))
    assert "\n" not in str(raised.value)


def test_a_number_of_thousands_of_digits_is_told_with_its_line(tmp_path):
    rows = ROWS + '{"text": "x", "label": "a", "n": ' + "1" * 5000 + "}\n"
    with pytest.raises(HardpromptError, match="line 9 holds a number of thousands of digits"):
        load_task(str(folder_of(tmp_path / "odd", train=rows)))


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}.toml", "~nobody-of-this-name/task"])
def test_names_that_can_be_no_path_are_no_task(name):
    with pytest.raises(UsageError, match="no task file or folder"):
        load_task(name)


def test_files_may_begin_with_a_byte_order_mark(tmp_path):
    folder = folder_of(tmp_path / "marked")
    plain = load_task(str(folder))
    (folder / "task.toml").write_text((folder / "task.toml").read_text(), encoding="utf-8-sig")
    assert load_task(str(folder)).fingerprint() == plain.fingerprint()
    (folder / "task.toml").unlink()
    (folder / "labels.json").write_text('["b", "a"]', encoding="utf-8-sig")
    assert [label.name for label in load_task(str(folder)).labels] == ["b", "a"]


@pytest.mark.parametrize("names", ["[" * 99999, '["a", "\\ud83d"]', '["a", 1]'])
def test_odd_lists_of_labels_are_told_in_one_line(tmp_path, names):
    folder = folder_of(tmp_path / "odd")
    (folder / "task.toml").unlink()
    (folder / "labels.json").write_text(names)
    with pytest.raises(HardpromptError, match=r"labels\.json"):
        load_task(str(folder))


def test_what_a_task_says_of_itself_is_written(tmp_path):
    more = 'version = "3.1"\nlicence = "MIT"\ndescription = "Two \\"kinds\\"."'
    for number, said in enumerate((more, "")):
        task = load_task(str(folder_of(tmp_path / f"from{number}", more=said)))
        again = load_task(str(write_task(task, tmp_path / f"to{number}")))
        assert again.version == (task.version or "1")
        assert (again.licence, again.description) == (task.licence, task.description)
        text = (tmp_path / f"to{number}" / "task.toml").read_text()
        assert ("licence" in text) == bool(said)
    assert again.version == "1"


def test_texts_shared_with_train_are_counted_in_all_rows(tmp_path):
    lines = [json.dumps({"source": f"text {i}", "references": ["x", "y"]}) for i in range(80)]
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(lines))
    for split in ("dev", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(lines[:40]))
    notes = load_task(str(folder), search_rows=8, dev_rows=8).notes
    for split in ("dev", "test"):
        assert f"40 texts of {split} are also in train" in notes


def test_a_task_can_be_read_whatever_its_folder_is_called(tmp_path):
    """Its comments name the folder, and end with their line."""
    data = tmp_path / "data.csv"
    rows = [f"a day number {n},{'ab'[n % 2]}" for n in range(12)]
    data.write_text("\n".join(["text,label", *rows]), encoding="utf8")
    folder = tmp_path / "two\nlines\x01"
    assert call("new-task", data, "--output", folder).exit_code == 0
    assert [label.name for label in load_task(str(folder)).labels] == ["a", "b"]
