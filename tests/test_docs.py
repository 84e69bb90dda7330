"""What the documents say is what happens."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hardprompt.cli import main
from hardprompt.registry import STRATEGIES, hyperparameters, strategy_class

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf8")):
        assert (page.parent / target).exists(), target


def test_the_readme_names_every_strategy_and_only_options_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf8")
    assert all(f"`{name}`" in text for name in STRATEGIES)
    runner = CliRunner()
    known = runner.invoke(main, ["--help"]).output
    for command in main.commands:
        known += runner.invoke(main, [command, "--help"]).output
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)):
        assert option in known or option == "--save-pretrained", option


def test_every_setting_of_every_strategy_is_explained_with_its_default():
    text = (ROOT / "docs" / "strategies.md").read_text(encoding="utf8")
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    explained = {}
    for part in parts:
        name, _, rest = part.partition("\n")
        explained[name] = re.findall(r"^\| `(\w+)` \| (.+?) \|", rest, flags=re.MULTILINE)
    assert explained == {
        name: [(key, str(value)) for key, value in hyperparameters(strategy_class(name)).items()]
        for name in STRATEGIES
    }
