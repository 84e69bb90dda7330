"""What the documents say is what happens."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hardprompt.cli import main
from hardprompt.registry import STRATEGIES

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
