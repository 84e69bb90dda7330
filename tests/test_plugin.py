"""The tutorial's package, as written there: built, installed, tested and run."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hardprompt import registry
from hardprompt.errors import UsageError
from hardprompt.report.listing import strategies

WORDS = (("dull", "neg"), ("fine", "pos"))
ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "adding-a-strategy.md").read_text(encoding="utf8")


def blocks(language):
    """Contents of the tutorial's fenced blocks in that language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TUTORIAL, re.DOTALL | re.MULTILINE)
    return [content for name, content in found if name == language]


def commands(*first):
    """Commands of the tutorial that begin with these words."""
    lines = [line.split() for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if line[: len(first)] == list(first)]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder of the package, its module installed beside it."""
    pytest.importorskip("pip", reason="the tutorial installs with pip")
    folder = tmp_path_factory.mktemp("hardprompt-climb")
    files = dict(
        zip(
            ("pyproject.toml", "hardprompt_climb.py", "test_climb.py"),
            (*blocks("toml"), *blocks("python")),
            strict=True,
        )
    )
    for name, content in files.items():
        assert f"  {name}\n" in TUTORIAL  # the tree at its top
        (folder / name).write_text(content, encoding="utf8")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--target", "installed")
    run(folder, "pip", "install", "--quiet", *offline, ".")
    (folder / "hardprompt_climb.py").unlink()  # so that what is installed is what runs
    return folder


def run(folder, *words):
    """A command as a user of the installed package would give it."""
    path = os.pathsep.join([str(folder / "installed"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_tests_pass(package):
    assert commands("pytest") == [["pytest"]]
    report = run(package, "pytest", "-q", "-p", "no:cacheprovider", "test_climb.py")
    assert re.search(r"^\d+ passed", report, re.MULTILINE)


def test_it_is_listed(package):
    (listing,) = commands("hardprompt", "ls")
    assert "climb       Change one token at a time" in run(package, *listing)


def test_it_searches(package):
    (search,) = commands("hardprompt", "search")
    rows = [f"{word} film number {i},{label}" for i in range(12) for word, label in WORDS]
    (package / "reviews.csv").write_text("\n".join(["text,label", *rows]), encoding="utf8")
    # The tutorial's command, on less to judge the prompts by.
    data = ("--data", "reviews.csv", "--labels", "neg=terrible,pos=great", "--json")
    results = json.loads(run(package, *search, *data))
    assert results["strategy"] == "climb"
    assert 0 < results["measured"] <= 8


def test_a_package_that_does_not_load_is_one_line(monkeypatch):
    broken = EntryPoint("torn", "no_such_package:Torn", "hardprompt.strategies")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    with pytest.raises(UsageError, match=r"strategy 'torn' \(no_such_package:Torn\) cannot be"):
        registry.strategy_class("torn")
    listing = strategies()
    assert "torn        strategy 'torn'" in listing
    assert "beam        Keep" in listing
