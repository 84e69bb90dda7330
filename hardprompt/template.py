"""Where prompt, text and label stand: `"{prompt} {text} {label}"` as parts, and back to text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hardprompt.errors import UsageError

WIDEST = 9  # digits of a slot's width: Python reads no number of thousands
PLACEHOLDER = re.compile(r"\{([A-Za-z]+)(?::(\d+))?\}")


@dataclass(frozen=True)
class Slot:
    """A free part of the prompt; `width` is its number of tokens, None: all of `--len`."""

    width: int | None


Part = str | Slot | None  # literal text, a slot, or the example's text


@dataclass(frozen=True)
class Template:
    """Parsed; anchor words may stand between slots: `"{prompt:2} tone {prompt:3} {text}"`.

    `parts` are literal strings, `Slot`s and None (the text), in order, up to the label;
    `before_label` is what separates the label word from the rest (it is scored with the label,
    because tokenizers join a space to the word that follows it). `tail` is what follows the
    label, for models that read in both directions. Where a text is to be written, `{source}`
    says the same as `{text}`, and what is written stands in the place of the label.
    """

    source: str
    parts: tuple[Part, ...]
    before_label: str
    tail: tuple[Part, ...] = ()

    @classmethod
    def parse(cls, source: str) -> Template:
        """Raises `UsageError` when a placeholder is unknown, missing or misplaced."""
        body, separator, rest = source.partition("{label}")
        if "{label}" in rest:
            raise _bad(source, "it takes {label} once")
        if not separator:
            body = source + " "
        stripped = body.rstrip(" ")
        tail = _parts(source, rest.rstrip())
        template = cls(source, _parts(source, stripped), body[len(stripped) :], tail)
        template._check()
        return template

    def _check(self) -> None:
        if (self.parts + self.tail).count(None) != 1:
            raise _bad(self.source, "it needs {text} exactly once")
        widths = [slot.width for slot in self._slots()]
        if not widths:
            raise _bad(self.source, "it needs {prompt} at least once")
        if len(widths) > 1 and None in widths:
            raise _bad(self.source, "several slots need their widths, as in {prompt:2}")
        if 0 in widths:
            raise _bad(self.source, "a slot holds 1 token or more")

    def _slots(self) -> list[Slot]:
        return [part for part in self.parts + self.tail if isinstance(part, Slot)]

    @property
    def n_slots(self) -> int:
        return len(self._slots())

    def slots(self, length: int | None) -> tuple[int, ...]:
        """Tokens of each slot when `length` tokens are free in all (None: as the template says)."""
        widths = [slot.width for slot in self._slots()]
        if widths == [None]:
            if length is None:
                raise UsageError(f"how long? The template {self.source!r} needs --len")
            return (length,)
        fixed = tuple(width for width in widths if width is not None)
        if length is not None and sum(fixed) != length:
            raise UsageError(
                f"--len is {length}, but the slots of {self.source!r} hold {sum(fixed)} tokens; "
                "leave --len out or change the template"
            )
        return fixed

    @property
    def fixed_length(self) -> int | None:
        """The number of free tokens that the template itself fixes, if it does."""
        widths = [slot.width for slot in self._slots()]
        return None if None in widths else sum(width or 0 for width in widths)

    @property
    def label_follows_prompt(self) -> bool:
        """Whether a slot, not the text, is what stands before the label."""
        return isinstance(self.parts[-1], Slot) if self.parts else False

    def spaced(self) -> tuple[bool, ...]:
        """For each slot, whether the template itself puts a space before it."""
        found = []
        for before, part in itertools.pairwise(("", *self.parts, "", *self.tail)):
            if isinstance(part, Slot):
                found.append(isinstance(before, str) and before.endswith(" "))
        return tuple(found)

    def starts_with_slot(self) -> bool:
        return bool(self.parts) and isinstance(self.parts[0], Slot)

    @property
    def no_prompt(self) -> tuple[str, ...]:
        """Nothing in the slots: the empty prompt."""
        return ("",) * self.n_slots

    def render(self, prompts: Sequence[str], text: str, label: str | None = None) -> str:
        """The text before the label word; with `label`, the whole with it in its place.

        `label` brings the space before it along. An empty prompt leaves no gap.
        """
        if len(prompts) != self.n_slots:
            raise ValueError(f"{self.n_slots} prompts wanted, got {len(prompts)}")
        waiting = iter(prompts)
        head = self._join("", self.parts, waiting, text)
        if label is None:
            return head
        return self._join(head + label if head else label.lstrip(" "), self.tail, waiting, text)

    @staticmethod
    def _join(result: str, parts: Sequence[Part], waiting: Iterator[str], text: str) -> str:
        swallow = False  # after an empty part at the start, the space that followed it
        for part in parts:
            piece = text if part is None else next(waiting) if isinstance(part, Slot) else part
            if swallow and isinstance(part, str):
                piece = piece.removeprefix(" ")
            swallow = False
            if not piece and isinstance(part, Slot):
                swallow = not result or result.endswith(" ")
                continue
            result += piece
        return result.rstrip(" ")

    def show(self, prompts: Sequence[str]) -> str:
        """What a user pastes: the prompt, or with several slots everything but the text."""
        if self.n_slots == 1:
            return prompts[0]
        label = self.before_label + "{label}" if self.tail else None
        return self.render(prompts, "{text}", label)


def _parts(source: str, text: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    at = 0
    for match in PLACEHOLDER.finditer(text):
        if match.start() > at:
            parts.append(text[at : match.start()])
        parts.append(_placeholder(source, match))
        at = match.end()
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


def _placeholder(source: str, match: re.Match[str]) -> Slot | None:
    name, width = match.groups()
    if name == "prompt":
        if width is not None and len(width) > WIDEST:
            raise _bad(source, f"a slot of {width[:WIDEST]}... tokens is too wide")
        return Slot(None if width is None else int(width))
    if name in ("text", "source") and width is None:
        return None
    raise _bad(source, f"no placeholder {match.group()}; there are {{prompt}}, {{text}}, {{label}}")


def _bad(source: str, why: str) -> UsageError:
    return UsageError(f"template {source!r}: {why}")
