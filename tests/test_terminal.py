"""What the outside world does to a command: pipes that close, full disks, other encodings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardprompt.errors import UsageError
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
