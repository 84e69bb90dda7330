"""Files are there whole or not at all; what the cells of tables are read and written as."""

import csv

import pytest

from hardprompt.errors import HardpromptError
from hardprompt.files import written_whole
from hardprompt.standings import cell
from hardprompt.tables import MOST_CELL, quoted_rows, safe


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def fail():
        with written_whole(path) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_text() == "old"
    with written_whole(path) as file:
        file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    import os

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written_whole(pipe) as file:
        file.write("through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]
    assert pipe.is_fifo()


def test_where_nothing_can_be_written_one_line_says_so(tmp_path):
    for path, why in ((tmp_path, "it is a folder"), (tmp_path / "no" / "a", "No such file")):
        with pytest.raises(HardpromptError, match=why), written_whole(path):
            raise AssertionError("opened")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0"])
def test_no_table_holds_a_cell_that_a_spreadsheet_runs(start):
    assert safe(f"{start}1") == cell(f"{start}1") == f"'{start}1"
    assert safe(f"1{start}") == cell(f"1{start}") == f"1{start}"
    assert cell(-1) == -1


def test_the_limit_of_a_cell_is_only_raised():
    before = csv.field_size_limit(10 * MOST_CELL)
    try:
        rows = list(quoted_rows(['a,"b\n', 'c"\n', "\n", "d,e\n"], "x.csv"))
        assert rows == [(1, ["a", "b\nc"]), (3, []), (4, ["d", "e"])]
        assert csv.field_size_limit() == 10 * MOST_CELL
    finally:
        csv.field_size_limit(before)
