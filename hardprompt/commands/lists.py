"""Options that take several values with commas between them."""

from __future__ import annotations

import click


def words(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def whole(word: str) -> int | None:
    """A number in digits; None: it is none, or one of thousands of digits."""
    try:
        return int(word) if word.isdecimal() else None
    except ValueError:
        return None


def numbers(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    found = [whole(word) for word in words(context, option, value)]
    known = [number for number in found if number is not None]
    if len(known) < len(found):
        raise click.BadParameter(f"numbers with commas between them, got '{value}'")
    return known


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
