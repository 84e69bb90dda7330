"""What a search is about to do, before it does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hardprompt.escaping import escape

if TYPE_CHECKING:
    from hardprompt.session import Session


def header(session: Session, example: str, seconds: float | None) -> str:
    """Model, task, one example as the model reads it, strategy, space and cost."""
    space = session.space
    about = "at most about" if session.config.race else "about"
    sets = session.config.label_sets
    chosen = f"each prompt with the best of {len(sets)} sets of label words: "
    lines = {
        **({"words": chosen + "; ".join(map(" | ".join, sets))} if sets else {}),
        "strategy": f"{session.config.strategy} ({session.reason})",
        "space": f"{len(space.tokens):,} tokens ({session.config.vocabulary}), "
        f"{_lengths(session)}: {space.size_text} prompts",
        "budget": f"{session.budget:,.0f} prompts on {space.n_examples} rows, seed "
        f"{session.config.seed}"
        + ("" if seconds is None else f"; searching takes {about} {seconds:.0f} s"),
    }
    if weight := session.fluency_weight:
        lines["fluency"] = f"{weight:g} x a prompt's mean negative log-likelihood is in its loss"
    notes = [*_notes(session), *session.vocabulary.notes, *session.start_notes]
    return _written(_subject(session, example) | lines, notes)


def subject(session: Session, example: str) -> str:
    """Model, task, and one example as the model reads it."""
    return _written(_subject(session, example), _notes(session))


def _subject(session: Session, example: str) -> dict[str, str]:
    task, info = session.task, session.model.info
    splits = ", ".join(f"{name} {len(getattr(task, name))}" for name in ("search", "dev", "test"))
    return {
        "model": f"{info.name} ({info.family}, {info.parameters / 1e6:.1f} M parameters, "
        f"{session.precision}, {info.device})",
        "task": f"{task.name} {task.version}".strip() + f"; {splits} rows",
        **_answers(session),
        "template": f"{session.template.source}  ({session.template_name})",
        "example": example,
        "scoring": session.model.way,
    }


def _answers(session: Session) -> dict[str, str]:
    """What the model is to say: one of the labels, or a text."""
    task = session.task
    if task.writes:
        n = sum(len(row.references) for row in task.test)
        decoding = session.decoding
        way = "greedily" if decoding.beams == 1 else f"with {decoding.beams} beams"
        return {
            "writes": f"up to {decoding.limit} tokens, {way}; judged by {session.metric.name}, "
            f"test has {n} references"
        }
    test = task.counts(task.test)
    counts = ", ".join(
        f"{label.name} {count}" for label, count in zip(task.labels, test, strict=True)
    )
    words = ", ".join(f"{label.name} = {label.word}" for label in task.labels)
    return {"labels": f"{words}; test has {counts}; majority baseline {session.majority:.3f}"}


def _written(lines: dict[str, str], notes: list[str]) -> str:
    text = "\n".join(f"{name:<9} {escape(value)}" for name, value in lines.items())
    return text + "".join(f"\nnote      {escape(note)}" for note in notes)


def _notes(session: Session) -> list[str]:
    return [*session.task.notes, *cut_notes(session.splits.cut)]


def _lengths(session: Session) -> str:
    space = session.space
    if space.shortest == space.length:
        return f"length {space.length}"
    return f"lengths {space.shortest} to {space.length}"


def cut_notes(cut: Mapping[str, int]) -> list[str]:
    """A sentence for each split with texts that were shortened."""
    return [
        f"{count} texts of {split} are longer than the model's context and were cut at their end"
        for split, count in cut.items()
        if count
    ]
