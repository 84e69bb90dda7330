"""What the outside world does to a command: pipes that close, full disks, other encodings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardprompt.errors import UsageError
from hardprompt.template import Template
from tests.conftest import call

FULL = Path("/dev/full")  # a disk without space


def run(*args, **options):
    command = [sys.executable, "-m", "hardprompt", *map(str, args)]
    return subprocess.run(command, stderr=subprocess.PIPE, timeout=120, check=False, **options)


@pytest.mark.parametrize("command", [["ls", "presets"], ["predict"]])
def test_the_reader_of_a_pipe_may_leave(found_run, tmp_path, command):
    if command == ["predict"]:
        (tmp_path / "in.txt").write_text("a lovely day\n" * 3, encoding="utf8")
        command = ["predict", found_run, "--input", tmp_path / "in.txt"]
    read, write = os.pipe()
    os.close(read)
    done = run(*command, stdout=write)
    os.close(write)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"rror" not in done.stderr


@pytest.mark.parametrize("to", ["python", "transformers"])
def test_the_reader_of_an_exported_script_may_leave(found_run, tmp_path, to):
    script = tmp_path / "classify.py"
    call("export", found_run, "--to", to, "--output", script)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, script], input=b"a lovely day\n", stdout=write, stderr=subprocess.PIPE,
        timeout=240, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Broken pipe" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(found_run):
    with FULL.open("w") as full:
        done = run("ls", "presets", stdout=full)
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")
    done = run("export", found_run, "--to", "json", "--output", FULL)
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


def test_names_that_are_too_long_for_a_path_are_one_line(found_run, tmp_path):
    name = "a" * 300
    for command in (["inspect", name], ["try", name, "a text"]):
        with pytest.raises(UsageError, match="File name too long"):
            call(*command)
    (tmp_path / "in.txt").write_text("a day\n", encoding="utf8")
    output = tmp_path / f"{name}.csv"
    done = run("predict", found_run, "--input", tmp_path / "in.txt", "--output", output)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: File name too long: '")
    assert done.stderr.count(b"\n") == 1


def test_json_and_exports_are_utf8_and_tables_are_readable_in_any_encoding(found_run):
    latin = os.environ | {"PYTHONIOENCODING": "latin-1"}
    text = "caf\xe9 \u2615 \U0001f600"
    done = run("try", found_run, text, "--json", env=latin, stdout=subprocess.PIPE)
    assert json.loads(done.stdout)["texts"][0]["text"] == text
    done = run("try", found_run, text, env=latin, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "caf\xe9 \\u2615 \\U0001f600" in done.stdout.decode("latin-1")


def test_names_in_files_steer_no_terminal(tmp_path, tiny_folder):
    """Of labels, fields and tasks: such files are from elsewhere."""
    red, turn = "red\x1b[31m", "turned\u202e"
    lines = [f"a day number {n},{(red, turn)[n % 2]}" for n in range(24)]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(["text,label", *lines]), encoding="utf8")
    options = ["--data", data, "--labels", f"{red}=bad,{turn}=good", "--model", tiny_folder]
    quick = ["--len", 1, "--budget", 3, "--search-rows", 8, "--output-dir", tmp_path / "runs"]
    texts = tmp_path / "in.txt"
    texts.write_text("a day\n", encoding="utf8")
    found = call("search", *options, *quick)
    shown = found.output + call("inspect", "--output-dir", tmp_path / "runs").output
    used = call("predict", "--output-dir", tmp_path / "runs", "--input", texts).stderr
    for output in (shown, used):
        assert "\x1b" not in output
        assert "\u202e" not in output
    assert "red\\x1b[31m = bad, turned\\u202e = good" in shown


def test_an_error_is_one_line_whatever_a_file_names(tmp_path):
    data = tmp_path / "data.csv"
    data.write_text('"te\nxt","la\x1b[2Jbel"\na,b\n', encoding="utf8")
    done = run("check", "--data", data)
    assert done.returncode == 2
    assert done.stderr.endswith(b"Did you mean 'te\\nxt'?\n")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["search", "--search-rows", "\u00b2"], "a number of rows, 1 or more"),
        (["search", "--batch-size", "9" * 5000], "a number of rows, 1 or more"),
        (["sweep", "--len", "1," + "9" * 5000], "numbers with commas"),
        (["inspect", "--top", "-3"], "--top"),
        (["search", "--top", "0"], "--top"),
    ],
)
def test_numbers_that_are_none_are_misuse(args, message):
    result = call(*args)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_settings_that_python_reads_as_no_json_are_misuse(value):
    with pytest.raises(UsageError, match="width"):
        call("search", "--strategy", "beam", "--set", f"width={value}", "--dry-run")
    with pytest.raises(UsageError, match="tokens is too wide"):
        Template.parse("{prompt:" + "9" * 5000 + "} {text}")
