"""A finished run seen closely: classes, flipped rows, tokens, the course of the search."""

from __future__ import annotations

from typing import Any

from hardprompt.escaping import escape
from hardprompt.report.search import minimand, search_report
from hardprompt.report.text import figure, quoted, table
from hardprompt.report.written import NAMES, samples

WIDTH, HEIGHT = 60, 8
FLIPS, TEXT = 12, 76


def inspect_report(results: dict[str, Any], top: int = 10) -> str:
    """Every section of `hardprompt inspect`."""
    sections = [
        f"run       {escape(results['run'])}\n"
        f"task      {escape(results['task']['name'])}, model {escape(results['model']['name'])}, "
        f"template {escape(results['template'])}",
        search_report(results, top),
        *_answers(results),
        _tokens(results),
        _descents(results),
        f"{_curve_title(results)}\n{curve(results['curve'], results['measured'])}",
    ]
    return "\n\n".join(section for section in sections if section)


def _answers(results: dict[str, Any]) -> list[str]:
    """What the best prompt makes of the test rows."""
    if written := results.get("written"):
        return [samples(written, NAMES)]
    title = f"Classes, on test, with {quoted(results['best'][0]['text'])}"
    return [f"{title}\n{class_table(results['per_class'])}", _flips(results)]


def _curve_title(results: dict[str, Any]) -> str:
    weight = results.get("fluency_weight", 0)
    loss = f"loss ({minimand(weight)})" if weight else "loss"
    return f"Best search {loss} by prompts measured"


def class_table(per_class: list[dict[str, Any]]) -> str:
    """Precision, recall and F1 of each class."""
    rows = [
        [
            escape(f"{row['label']} = {row['word']}"),
            *(figure(row[key]) for key in ("precision", "recall", "f1")),
            f"{row['rows']:.0f}",
        ]
        for row in per_class
    ]
    return table(("class", "precision", "recall", "f1", "rows"), rows)


def _flips(results: dict[str, Any]) -> str:
    flips = results["flips"]
    better = [flip for flip in flips if flip["best"] == flip["label"]]
    worse = [flip for flip in flips if flip["empty"] == flip["label"]]
    title = (
        f"Against no prompt, {len(flips)} test rows change their class: "
        f"{len(better)} become right, {len(worse)} wrong"
    )
    shown = better[: FLIPS // 2] + worse[: FLIPS // 2]
    rows = [
        [escape(f"{f['empty']} -> {f['best']}"), escape(f["label"]), _short(f["text"])]
        for f in shown
    ]
    return title + ("\n" + table(("change", "label", "text"), rows, left=(0, 1, 2)) if rows else "")


def _short(text: str) -> str:
    safe = escape(text)
    return safe if len(safe) <= TEXT else safe[: TEXT - 3] + "..."


def _tokens(results: dict[str, Any]) -> str:
    if not results["tokens"]:
        return ""
    rows = [
        [quoted(token["word"]), figure(token["without"]), f"{token['worth']:+.3f}"]
        for token in results["tokens"]
    ]
    return "What each word of the best prompt is worth\n" + table(
        ("word", "loss without it", "worth"), rows
    )


def _descents(results: dict[str, Any]) -> str:
    """What rounding cost the best of a relaxation's descents, and what repair won back."""
    descents = results.get("strategy_record", {}).get("descents", [])
    done = [descent for descent in descents if descent["repaired"] is not None]
    if not done:
        return ""
    best = min(done, key=lambda descent: float(descent["repaired"]))
    rows = [
        [quoted(place["word"].strip()), figure(place["cosine"]), figure(place["alone"])]
        for place in best["places"]
    ]
    prompt = escape("".join(token["word"] for token in best["prompt"]).strip())
    return (
        f"From soft to hard, the best of {len(descents)} descents: search loss "
        f"{figure(best['soft'])} as trained, {figure(best['hard'])} as the nearest words, "
        f"{figure(best['repaired'])} repaired: {prompt}\n"
        + table(("place", "cosine", "rounded alone"), rows)
    )


def curve(points: list[list[float]], measured: float) -> str:
    """Best-so-far loss as a line of characters; left is the start, right the end."""
    if not points:
        return "(nothing measured)"
    last = max(measured, points[-1][0], 1e-9)
    losses = []
    for column in range(WIDTH):
        reached = [loss for spent, loss in points if spent <= last * (column + 1) / WIDTH]
        losses.append(reached[-1] if reached else points[0][1])
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0
    levels = [round((loss - low) / span * (HEIGHT - 1)) for loss in losses]
    lines = []
    for level in range(HEIGHT - 1, -1, -1):
        mark = f"{low + span * level / (HEIGHT - 1):.3f}"
        lines.append(f"{mark} |" + "".join("*" if at == level else " " for at in levels).rstrip())
    return "\n".join([*lines, f"{' ' * 6}0{'-' * (WIDTH - 8)}{last:.0f}"])


def probe_report(probed: list[dict[str, Any]]) -> str:
    """What each word of each listed prompt is worth, on dev."""
    blocks = []
    for prompt in probed:
        rows = [
            [quoted(word["word"]), figure(word["without"]), f"{word['worth']:+.3f}"]
            for word in prompt["words"]
        ]
        title = f"{quoted(prompt['text'])}: loss {figure(prompt['loss'])} on dev"
        blocks.append(title + "\n" + table(("word", "loss without it", "worth"), rows))
    return "\n\n".join(blocks)
