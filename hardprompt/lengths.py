"""How many tokens of a prompt are free where `--len` does not say it."""

from __future__ import annotations

from dataclasses import replace

from hardprompt.config import RunConfig
from hardprompt.errors import UsageError
from hardprompt.presets import preset_named
from hardprompt.template import Template

USUAL = 5


def with_length(config: RunConfig, template: Template, usual: int = USUAL) -> RunConfig:
    """A config with its length: as asked for, else as the template in use fixes it (then it stays
    None), else that of the preset, else the usual one."""
    fixed, shortest = template.fixed_length, config.min_length or 0
    if fixed is not None and shortest > fixed:
        raise UsageError(
            f"--min-len is {shortest}, but the slots of {template.source!r} hold {fixed} tokens"
        )
    if config.length is not None or fixed is not None:
        return config
    published = {} if config.preset is None else preset_named(config.preset).search
    return replace(config, length=published.get("length", usual))
