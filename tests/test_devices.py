"""Everything a model is asked works away from the CPU too, and says the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch.utils.backend_registration as backends

from tests.conftest import call, write_moods
from tests.families import save_masked

pytestmark = pytest.mark.skipif(
    not hasattr(backends, "_setup_privateuseone_for_python_backend"),
    reason="this torch knows no devices written in Python",
)
FULL = ("--len", 2, "--vocab-top", 200, "--budget", 20, "--dtype", "float32", "--json")
TWO_SLOTS = "{prompt:1} {text} {prompt:1} {label}"
CASES = {
    "prefix": ("search", "llama", *FULL, "--template", "{prompt} {text} {label}"),
    "suffix": ("search", "llama", *FULL, "--template", "{text} {prompt} {label}"),
    "two slots": ("search", "llama", *FULL, "--template", TWO_SLOTS),
    "masked": ("search", "bert", *FULL),
    "relax": ("search", "llama", *FULL, "--strategy", "relax"),
    "label words": ("search", "llama", *FULL, "--labels", "auto"),
    "methods": ("compare", "llama", *FULL, "--methods",
                "search,shots,prompt-tuning,p-tuning,prefix,adapter-3,top-2,linear"),
    "header": ("search", "llama", "--dry-run"),
}  # fmt: skip


@pytest.fixture(scope="module")
def lines(tiny_folder, tmp_path_factory):
    """The command lines, but for the device."""
    root = tmp_path_factory.mktemp("devices")
    models = {"llama": tiny_folder, "bert": save_masked("bert", root / "bert")}
    moods = write_moods(root / "moods")
    return {
        name: [command, "--model", str(models[model]), "--task", str(moods), *map(str, options),
               "--output-dir", str(root / "runs")]
        for name, (command, model, *options) in CASES.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def elsewhere(lines):
    """What each of them prints on another device."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.other_device"], input=json.dumps(list(lines.values())),
        cwd=Path(__file__).parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    return dict(zip(lines, json.loads(ended.stdout), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_another_device_finds_the_same(name, lines, elsewhere):
    here, there = call(*lines[name], "--device", "cpu"), elsewhere[name]
    if name == "header":
        assert way(there["stderr"]) == way(here.stderr) != ""
    else:
        found, expected = figures(json.loads(there["stdout"])), figures(json.loads(here.stdout))
        assert found == pytest.approx(expected, abs=1e-5)


def way(header):
    """How rows are scored: a fault of the fastest way would make it another one, silently."""
    return "".join(line for line in header.splitlines() if line.startswith("scoring"))


def figures(results):
    """Search losses of the best prompts, or what every method has on test."""
    if "best" in results:
        return {entry["text"]: entry["search"] for entry in results["best"]}
    assert not any(row["skipped"] for row in results["methods"])
    return {row["method"]: row["test"] for row in results["methods"]}
