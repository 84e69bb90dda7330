"""`--preset`: published settings, what the user gives beside them, and the list of them."""

from dataclasses import fields, replace

import numpy as np
import pytest

from hardprompt import presets, runs
from hardprompt.budget import FEWEST, check_affordable
from hardprompt.config import FLUENCY, RunConfig
from hardprompt.errors import UsageError
from hardprompt.presets import PRESETS, Preset
from hardprompt.registry import make_strategy
from hardprompt.testing import PlantedObjective, converse, planted_space
from hardprompt.types import EMPTY
from tests.conftest import call

KNOWN = {
    "plain": Preset("swap", {"width": 8}, "Somebody else, 2021"),
    "genetic": Preset(
        "evolution",
        {"population": 8, "children": 4},
        "Somebody et al., 2020, table 1",
        {"length": 3, "objective": "accuracy", "fluency": 0.25, "start": ("random",)},
    ),
}


@pytest.fixture
def search(monkeypatch, tiny_folder, task_folder, tmp_path):
    """`search(*args)` -> the configuration that a search was begun with."""
    monkeypatch.setattr(presets, "PRESETS", KNOWN)

    def run(*args):
        folder = tmp_path / "runs"
        common = ["--task", task_folder, "--model", tiny_folder, "--vocab-top", 100]
        call("search", *common, "--budget", 9, "--output-dir", folder, "-q", *args)
        return runs.read_config(runs.find(None, folder))

    return run


@pytest.mark.parametrize(
    ("given", "weight"),
    [
        ((), FLUENCY),
        (("--fluency", 0), 0.0),
        (("--preset", "plain"), 0.0),
        (("--preset", "plain", "--fluency", 0.5), 0.5),
        (("--preset", "genetic"), 0.25),
        (("--pareto",), 0.0),
    ],
)
def test_the_fluency_is_weighed_where_nothing_else_is_published_or_asked(search, given, weight):
    assert search("--len", 2, *given).fluency == weight


def test_published_values_count_where_the_user_gave_none(search):
    config = search("--preset", "genetic", "--objective", "nll", "--set", "children=5")
    assert (config.strategy, config.preset) == ("evolution", "genetic")
    assert dict(config.settings) == {"population": 8, "children": 5}
    assert (config.length, config.objective, config.fluency) == (3, "nll", 0.25)
    assert config.start == ("random",)
    # Given is given, the default included; and a template may say the length itself.
    config = search("--preset", "genetic", "--fluency", 0, "--len", 2, "--start", "manual")
    assert (config.length, config.fluency, config.start) == (2, 0.0, ("manual",))
    config = search("--preset", "genetic", "--template", "{prompt:1} so {prompt:1} {text} {label}")
    assert config.length is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--preset", "genetic", "--strategy", "auto"], "--preset and --strategy exclude"),
        (["--preset", "genetc"], "no preset named 'genetc'. Did you mean 'genetic'?"),
        (["--preset", "genetic", "--set", "widht=3"], "no setting of strategy 'evolution'"),
    ],
)
def test_misuse_is_one_line(search, args, message):
    with pytest.raises(UsageError) as caught:
        search(*args)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_list_names_settings_options_and_sources(monkeypatch):
    from hardprompt.report import listing

    monkeypatch.setattr(listing, "PRESETS", KNOWN)
    shown = call("ls", "presets").stdout
    for part in ("genetic", "evolution population=8 children=4", "fluency 0.25", "table 1"):
        assert part in shown


def test_every_preset_can_be_made_and_sets_options_that_there_are():
    names = {field.name for field in fields(RunConfig)} - {"strategy", "settings", "preset"}
    for name, preset in PRESETS.items():
        assert make_strategy(preset.strategy, dict(preset.settings)).name, name
        assert set(preset.search) <= names, name
        RunConfig(**preset.search)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_writes_out_all_that_it_could_be_changed_by(name):
    preset = PRESETS[name]
    made = make_strategy(preset.strategy, dict(preset.settings))
    for field in fields(made):
        if field.init and field.name not in preset.settings:
            other = another(getattr(made, field.name))
            with pytest.raises(UsageError):  # it would do nothing
                make_strategy(preset.strategy, {**preset.settings, field.name: other})


def another(value):
    if isinstance(value, bool):
        return not value
    return 3 if value is None else value + 1


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_finds_a_prompt_of_the_smallest_default_budget_or_is_refused(name):
    preset = PRESETS[name]
    strategy = make_strategy(preset.strategy, dict(preset.settings))
    space = replace(planted_space(300, preset.search.get("length", 5)), budget=FEWEST)
    if strategy.least_budget(space) >= space.budget:
        assert name == "beast"
        with pytest.raises(UsageError, match="beam with these settings measures 8,565 beginnings"):
            check_affordable(strategy, space)
        return
    check_affordable(strategy, space)
    told = [(batch, told) for batch, told in converse(strategy, PlantedObjective(space), FEWEST)]
    whole = [
        np.isfinite(found.loss[space.lengths_allowed(space.canonical(batch.ids))]).any()
        for batch, found in told
        if batch.ids is not None
    ]
    assert any(whole)


def test_algorithms_that_search_all_tokens_are_not_kept_to_words():
    for name in ("arca", "autoprompt", "beast", "fluentprompt", "gbda", "pez", "rlprompt"):
        assert PRESETS[name].search["vocabulary"] == "all", name


def test_algorithms_that_begin_with_nothing_take_no_manual_prompts():
    for name in ("arca", "autoprompt", "bdpl", "beast", "fluentprompt", "pez", "rlprompt"):
        assert PRESETS[name].search["start"] == ("random",), name


def test_an_instruction_gets_shorter_where_its_phrases_are_deleted():
    preset = PRESETS["grips"]
    shortest, length = preset.search["min_length"], preset.search["length"]
    space = planted_space(40, length, min_length=shortest)
    row = space.join([space.tokens[:8]])
    strategy = make_strategy(preset.strategy, dict(preset.settings))
    talk = converse(strategy, PlantedObjective(replace(space, seeds=row[None])), 60)
    asked = [batch.ids for batch, _ in talk if not batch.wants_proposals]
    assert min((rows != EMPTY).sum(axis=1).min() for rows in asked) < 8
