"""Options that take several values with commas between them."""

from __future__ import annotations

import click


def words(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def numbers(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    found = words(context, option, value)
    if not all(word.isdecimal() for word in found):
        raise click.BadParameter(f"numbers with commas between them, got '{value}'")
    return [int(word) for word in found]


SEEDS = click.option(
    "--seeds",
    default="0",
    show_default=True,
    callback=numbers,
    help="Seeds, with commas; figures are means over them.",
)
SHARES = click.option(
    "--share",
    "shares",
    default="",
    callback=words,
    metavar="3%,0.1%",
    help="Sizes of adapters in the method 'adapter', in per cent of the model's parameters.",
)
