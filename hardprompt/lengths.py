"""How many tokens of a prompt are free where `--len` does not say it."""

from __future__ import annotations

from dataclasses import replace

from hardprompt.config import RunConfig
from hardprompt.presets import preset_named
from hardprompt.session import choose_template
from hardprompt.tasks import draft_of

USUAL = 5


def with_length(config: RunConfig, usual: int = USUAL) -> RunConfig:
    """A config with its length: as asked for, else as the template in use fixes it (then it stays
    None), else that of the preset, else the usual one. Raises what reading the task raises."""
    if config.length is not None:
        return config
    _, template = choose_template(draft_of(config).task, config.template)
    if template.fixed_length is not None:
        return config
    published = {} if config.preset is None else preset_named(config.preset).search
    return replace(config, length=published.get("length", usual))
