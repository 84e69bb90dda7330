"""The scripts behind the figures can at least begin."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", [script.stem for script in SCRIPTS])
def test_all_that_a_benchmark_imports_is_there(name):
    if name == "compare_peft":
        pytest.importorskip("peft")
    importlib.import_module(f"benchmarks.{name}")
