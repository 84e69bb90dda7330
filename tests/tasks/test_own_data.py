"""Data of one's own: how files are read, split and named, and what bad ones are told."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from hardprompt.config import RunConfig, TaskChoice
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.tasks import draft_of, load_choice, load_task
from hardprompt.tasks.files import read_records
from hardprompt.tasks.findings import data_findings
from hardprompt.tasks.references import is_writing
from hardprompt.tasks.words import equal_words, label_words, parse_labels
from tests.conftest import shared


def write(path, content):
    path.write_bytes(content.encode("utf8"))
    return str(path)


def reviews(n=40, start="text,label\n"):
    rows = (f"film number {i} was {'fine' if i % 2 else 'dull'},{'pos' if i % 2 else 'neg'}\n"
            for i in range(n))  # fmt: skip
    return start + "".join(rows)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_keeps_quotes_and_line_ends_inside_quotes_and_counts_lines(tmp_path, mark, end):
    lines = ["id,text,label", '1,"he said ""no"", twice",a', f'2,"two{end}lines",b', "", "3,last,a"]
    write(tmp_path / "x.csv", mark + end.join(lines))
    records = read_records(tmp_path / "x.csv")
    assert [r.fields["text"] for r in records] == ['he said "no", twice', f"two{end}lines", "last"]
    assert [r.line for r in records] == [2, 3, 6]
    assert list(records[0].fields) == ["id", "text", "label"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"])
def test_lines_end_with_a_line_feed_only(tmp_path, separator):
    row = json.dumps({"text": f"one{separator}two", "label": "a"}, ensure_ascii=False)
    write(tmp_path / "x.jsonl", f"{row}\n{row}\n")
    write(tmp_path / "x.csv", f"text,label\none{separator}two,a\n")
    write(tmp_path / "x.tsv", f"text\tlabel\none{separator}two\ta\n")
    for name, n in (("x.jsonl", 2), ("x.csv", 1), ("x.tsv", 1)):
        records = read_records(tmp_path / name)
        assert len(records) == n
        assert records[0].fields["text"] == f"one{separator}two"


def test_tsv_is_read_with_quotes_and_without(tmp_path):
    write(tmp_path / "plain.tsv", 'text\tlabel\n"so bad, he said\t0\n"all ""quoted"""\t1\n')
    texts = [r.fields["text"] for r in read_records(tmp_path / "plain.tsv")]
    assert texts == ['"so bad, he said', 'all "quoted"']
    write(tmp_path / "quoted.tsv", 'text\tlabel\n"a\ttab"\t0\n"a\nline"\t0\nb\t1\n')
    records = read_records(tmp_path / "quoted.tsv")
    assert [(r.line, r.fields["text"]) for r in records] == [
        (2, "a\ttab"),
        (3, "a\nline"),
        (5, "b"),
    ]


def test_a_file_is_split_in_half_and_quarters_of_every_label(tmp_path):
    choice = TaskChoice(data=write(tmp_path / "r.csv", reviews(200)), search_rows=None)
    task = load_choice(choice)
    assert [task.counts(part) for part in (task.search, task.dev, task.test)] == [
        [50, 50], [25, 25], [25, 25],
    ]  # fmt: skip
    texts = [example.text for part in (task.search, task.dev, task.test) for example in part]
    assert len(set(texts)) == 200
    assert load_choice(choice).fingerprint() == task.fingerprint()
    other = load_choice(TaskChoice(data=choice.data, search_rows=None, seed=1))
    assert {e.text for e in other.test} != {e.text for e in task.test}
    assert any("200 rows split with seed 0" in note for note in task.notes)


def test_equal_texts_stay_in_one_split(tmp_path):
    twice = reviews(60) + reviews(60, start="").upper().replace("POS", "pos").replace("NEG", "neg")
    draft = draft_of(TaskChoice(data=write(tmp_path / "r.csv", twice)))
    splits = [{row.text.lower() for row in part.rows} for part in draft.parts.values()]
    assert sum(map(len, splits)) == 60 == len(set.union(*splits))
    assert sum(len(part.rows) for part in draft.parts.values()) == 120


def test_three_rows_of_a_label_stand_in_three_splits(tmp_path):
    rows = "text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(6))
    task = load_choice(TaskChoice(data=write(tmp_path / "r.csv", rows)))
    assert [task.counts(part) for part in (task.search, task.dev, task.test)] == [[1, 1]] * 3


def test_dev_and_test_files_are_taken_as_they_are(tmp_path):
    options = {
        name: write(tmp_path / f"{name}.csv", reviews(n).replace("film", name))
        for name, n in (("data", 20), ("dev", 8), ("test", 6))
    }
    task = load_choice(TaskChoice(**options))
    assert [len(part) for part in (task.search, task.dev, task.test)] == [20, 8, 6]
    assert all("test" in example.text for example in task.test)


def test_rows_that_are_in_dev_and_test_are_said(tmp_path):
    train, dev = write(tmp_path / "r.csv", reviews(20)), tmp_path / "d.csv"
    write(dev, reviews(8).replace("film", "dev"))
    test = write(tmp_path / "t.csv", dev.read_text() + "another one,pos\n")
    notes = load_choice(TaskChoice(data=train, dev=str(dev), test=test)).notes
    assert [note for note in notes if "also in" in note] == ["8 texts of test are also in dev"]


def test_labels_give_order_and_words(tmp_path):
    path = write(tmp_path / "r.csv", reviews())
    task = load_choice(TaskChoice(data=path, labels="pos = great , neg"))
    assert [(label.name, label.word) for label in task.labels] == [
        ("pos", "great"), ("neg", "negative"),
    ]  # fmt: skip
    assert load_choice(TaskChoice(data=path)).words == ("negative", "positive")


def test_numbers_and_truths_of_jsonl_are_labels_too(tmp_path):
    for values in ((0, 1), (True, False), (1.5, 2.5), ("0", 1)):
        rows = [json.dumps({"text": f"row {i}", "label": values[i % 2]}) for i in range(12)]
        task = load_choice(TaskChoice(data=write(tmp_path / "r.jsonl", "\n".join(rows))))
        assert len(task.labels) == 2
        assert task.counts(task.search) == [3, 3]


def numbered(path, labels):
    rows = ({"text": f"row {n}", "label": label} for n, label in enumerate(labels))
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("found", "labels"),
    [([0, 1, 2, 3], "1=world,2=sports,3=business"), ([0, 1.0, 2.0, 3.0], "1.0=world,2.0=sports")],
)
def test_where_labels_are_numbers_a_number_is_no_place(tmp_path, found, labels):
    choice = TaskChoice(data=numbered(tmp_path / "r.jsonl", found * 12), labels=labels)
    with pytest.raises(HardpromptError, match=r"line \d+: unknown label [03]"):
        load_choice(choice)
    wrong = next(f for f in data_findings(draft_of(choice)) if f.kind == "label")
    assert "(0" in wrong.message


def test_where_labels_are_words_a_number_is_a_place(tmp_path):
    names = TaskChoice(data=numbered(tmp_path / "names.jsonl", ["no", "yes"] * 24))
    places = TaskChoice(data=numbered(tmp_path / "places.jsonl", ["no", "yes"] * 23 + [0, 1]),
                        labels="no,yes", dev=names.data, test=names.data)  # fmt: skip
    whole = load_choice(places)
    assert whole.counts(whole.search) == [24, 24]


def test_a_file_with_places_alone_is_split_by_what_they_mean(tmp_path):
    path = numbered(tmp_path / "r.jsonl", [0, 1] * 6)
    task = load_choice(TaskChoice(data=path, labels="negative=terrible,positive=great"))
    assert task.counts(task.search) == [3, 3]
    mixed = numbered(tmp_path / "m.jsonl", [0, 1] * 4 + ["negative", "positive"] * 2)
    task = load_choice(TaskChoice(data=mixed, labels="negative,positive"))
    assert task.counts(task.search) == [3, 3]
    with pytest.raises(UsageError, match=r"no label in .* named 'other'"):
        load_choice(TaskChoice(data=path, labels="negative,positive,other"))


def test_a_field_of_as_many_labels_as_rows_is_told_soon(tmp_path):
    """What is found by name takes no time that grows with the names."""
    path = numbered(tmp_path / "r.jsonl", map(str, range(20000)))
    began = time.process_time()
    with pytest.raises(HardpromptError, match="to be split in three it needs 3 or more"):
        load_choice(TaskChoice(data=path))
    assert time.process_time() - began < 5


def test_texts_of_a_table_may_be_as_long_as_a_line_of_jsonl(tmp_path):
    rows = reviews() + f'"{"word " * 40000}",pos\n'
    for name, content in (("r.csv", rows), ("r.tsv", rows.replace(",", "\t") + '"a\tb"\tneg\n')):
        records = read_records(Path(write(tmp_path / name, content)))
        assert len(records[40].fields["text"]) == 200_000
    with pytest.raises(HardpromptError, match="line 42 holds a text of more than 1 MB; cut it"):
        read_records(Path(write(tmp_path / "r.csv", reviews() + f'"{"x" * 1024**2}x",pos\n')))


def test_a_file_is_known_by_its_first_row(tmp_path):
    path = write(tmp_path / "r.jsonl", '{"source": "a", "references": ["b"]}\n{broken\n')
    assert is_writing(path)
    both = {"text": "a", "label": "b", "source": "a", "references": ["b"]}
    assert not is_writing(write(tmp_path / "both.jsonl", json.dumps(both)))
    with pytest.raises(HardpromptError, match="line 2 is no JSON"):
        read_records(Path(path))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["World", "Sports", "Sci/Tech"], ["world", "sports", "technology"]),
        (["verynegative", "negative", "verypositive"], ["terrible", "negative", "great"]),
        (["very_negative", "verygood"], ["terrible", "very good"]),
        (["not_entailment", "WrittenWork", "rec.sport.hockey"],
         ["not entailment", "written work", "rec sport hockey"]),
        (["Sci/Tech", "technology"], ["sci tech", "technology"]),
        (["A_B", "a-b", "A/B"], ["A_B", "a-b", "A/B"]),
        (["neg", "negative"], ["neg", "negative"]),
        (["Tech", "Sci-Tech"], ["tech", "sci tech"]),
        (["!", "?", "2"], ["!", "?", "2"]),
    ],
)  # fmt: skip
def test_names_become_plain_words_and_never_the_same(names, words):
    labels = label_words(names)
    assert [label.word for label in labels] == words
    assert equal_words(labels) is None


def test_given_words_are_kept_and_others_avoid_them():
    labels = label_words(["Sci/Tech", "gadgets"], {"gadgets": "technology"})
    assert [label.word for label in labels] == ["sci tech", "technology"]


@pytest.mark.parametrize("written", ["", "a", "a=,b", "=x,b", "a,a", "a=x,b,", "a=\ud83d,b"])
def test_labels_written_wrongly_are_misuse(written):
    with pytest.raises(UsageError, match="--labels"):
        parse_labels(written)


WRITTEN = "".join(f'{{"source": "{text}", "references": ["x"]}}\n' for text in "cde")
BAD_FILES = [
    ("x.csv", "", {}, "is empty"),
    ("x.csv", "text,label\n", {}, "is empty"),
    ("x.jsonl", "\n\n", {}, "is empty"),
    ("x.xlsx", "PK", {}, "ends with one of .jsonl, .csv, .tsv"),
    ("x.csv", reviews(), {"text_field": "txt"}, "Did you mean 'text'"),
    ("x.csv", reviews(), {"label_field": "lable"}, "Did you mean 'label'"),
    ("x.csv", reviews(), {"labels": "negg,pos"}, "Did you mean 'neg'"),
    ("x.csv", reviews() + "odd,meh\n", {}, "1 text labelled 'meh' (line 42)"),
    ("x.csv", reviews() + "odd,meh\n", {"labels": "neg,pos"}, "line 42: unknown label 'meh'"),
    ("x.csv", reviews() + ",pos\n", {}, "line 42: 'text' must be a non-empty text"),
    ("x.csv", reviews() + "a,b,pos\n", {}, "line 42 has 3 columns"),
    ("x.csv", reviews() + '"never closed,pos\n', {}, "line 42 is broken"),
    ("x.csv", reviews() + 'x,"a" b\n', {}, "line 42 is broken"),
    ("x.csv", "text,text\na,b\n", {}, "names the column 'text' twice"),
    ("x.csv", "text,label\n" + "same,pos\n" * 9, {}, "two or more labels"),
    ("x.csv", reviews(), {"labels": "neg=bad,pos=bad"}, "have the same word 'bad'"),
    ("x.jsonl", '{"text": "a", "label": "x"}\n{broken\n', {}, "line 2 is no JSON"),
    ("x.jsonl", '{"text": "a", "label": "x"}\n[1]\n', {}, "line 2 is no JSON object"),
    ("x.jsonl", '{"text": "a", "label": "x"}\n' + "[" * 9999 + "\n", {}, "line 2"),
    ("x.jsonl", '{"text": 5, "label": "x"}\n{"text": "b", "label": "y"}\n', {}, "got 5"),
    ("x.jsonl", '{"text": "\\ud800", "label": "x"}\n{"text": "b", "label": "y"}\n', {}, "half a"),
    ("x.jsonl", '{"text": "a", "text2": "b", "label": "x"}\n', {}, "holds text pairs"),
    ("x.jsonl", WRITTEN + '{"source": "a", "references": []}\n', {}, "must hold a text or more"),
    ("x.jsonl", WRITTEN + '{"source": "a", "references": [""]}\n', {}, "non-empty text, got ''"),
    ("x.jsonl", WRITTEN + '{"source": "a", "references": ["b", 1]}\n', {}, "non-empty text, got 1"),
    ("x.jsonl", WRITTEN + '{"source": 1, "references": ["b"]}\n', {}, "'source' must be"),
]


@pytest.mark.parametrize(("name", "content", "options", "message"), BAD_FILES)
def test_bad_files_are_told_in_one_line(tmp_path, name, content, options, message):
    path = write(tmp_path / name, content)
    with pytest.raises(HardpromptError) as caught:
        load_choice(TaskChoice(data=path, **options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "wide.csv").write_text("text,label\na,b\n", encoding="utf16")
    (tmp_path / "folder.csv").mkdir()
    for name, why in (("none.csv", "no data file"), ("wide.csv", "UTF-8"), ("folder.csv", "read")):
        with pytest.raises(HardpromptError, match=why):
            load_choice(TaskChoice(data=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sentiment", "data": "x.csv"}, "exclude each other"),
        ({"data": "x.csv", "dev": "y.csv"}, "belong together"),
        ({"labels": "a,b"}, "--labels belongs to --data"),
        ({"task": "sentiment", "text_field": "body"}, "--text-field belongs to --data"),
        ({"dev": "y.csv", "test": "z.csv"}, "--dev belongs to --data"),
        ({"seed": -1}, "--seed must be 0 or more, got -1"),
    ],
)
def test_options_that_do_not_go_together_are_misuse(options, message):
    for kind in (TaskChoice, RunConfig):
        with pytest.raises(UsageError, match=message):
            kind(**options)


def test_a_config_comes_back_from_its_json_and_names_its_run(tmp_path):
    config = RunConfig(data="/x/reviews.csv", labels="a=b,c", text_field="body", seed=3)
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.name == "reviews"
    assert RunConfig().name == "sentiment"
    assert RunConfig(task="/x/tickets/task.toml").name == "tickets"


@pytest.mark.parametrize(
    "name",
    [
        "sst2", "sst2/16shot-13", "imdb", "yelp-sent", "amazon-multidomain", "bbc",
        "agnews", "agnews/16shot-100",
    ],
)  # fmt: skip
def test_shared_classification_folders_load_as_they_are(name):
    task = load_task(str(shared(f"data/tasks/{name}")))
    assert min(task.counts(task.search)) > 0
    assert all(word.replace(" ", "").isalpha() for word in task.words)
    assert max(Counter(task.words).values()) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rte", "text pairs (text, text2)"), ("boolq", "text pairs"),
        ("boolq/fewglue32", "text pairs"), ("capitals", "facts (relation, subject, object)"),
        ("country-facts", "facts"),
    ],
)  # fmt: skip
def test_shared_folders_of_other_kinds_are_named(name, kind):
    with pytest.raises(HardpromptError) as caught:
        load_task(str(shared(f"data/tasks/{name}")))
    assert kind in str(caught.value)
    assert "not supported yet" in str(caught.value)
    assert len(str(caught.value)) < 250
