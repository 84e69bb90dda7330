"""The result of a search as a table and a few sentences, from `results.json` alone."""

from __future__ import annotations

from typing import Any

from hardprompt.report.text import escape, figure, gain, quoted, reported, table

HEAD = ("prompt", "search", "dev", "test [95%]", "over empty", "over manual", "fluency")


def search_report(results: dict[str, Any], top: int = 10) -> str:
    """Table of the best prompts and the baselines, and what they mean."""
    best, baselines = results["best"], results["baselines"]
    pick, n = results["pick"], results["task"]["rows"]["test"]
    rows = [_row(entry, n, marks=_marks(i, pick, entry)) for i, entry in enumerate(best[:top])]
    rows.append(_row(baselines["empty"], n, name="(no prompt)"))
    rows += [_row(entry, n, name=f"(manual) {quoted(entry['text'])}") for entry in _manual(results)]
    return "\n".join(
        [
            table(HEAD, rows),
            "",
            f"search: {results['objective']} on {results['task']['rows']['search']} rows, lower is "
            f"better; dev, test: {results['metric']}, higher is better; gains are paired, on test, "
            "with 95% intervals; fluency: mean log-probability of a token.",
            *_sentences(results),
        ]
    )


def _marks(number: int, pick: int, entry: dict[str, Any]) -> str:
    marks = " *" if number == pick else ""
    return marks + (" (manual)" if entry["source"] == "manual" else "")


def _manual(results: dict[str, Any]) -> list[dict[str, Any]]:
    shown = {entry["text"] for entry in results["best"]}
    entries = [m for m in results["baselines"]["manual"] if m["text"] not in shown]
    return sorted(entries, key=lambda entry: (-entry["dev"], entry["search"]))


def _row(
    entry: dict[str, Any], n_test: int, *, marks: str = "", name: str | None = None
) -> list[str]:
    return [
        (name or quoted(entry["text"])) + marks,
        figure(entry["search"]),
        figure(entry["dev"]),
        reported(entry["test"], entry["test_interval"], n_test),
        gain(entry["gain_empty"], entry["gain_empty_interval"]),
        gain(entry["gain_manual"], entry["gain_manual_interval"]),
        figure(entry["fluency"], 1),
    ]


def _sentences(results: dict[str, Any]) -> list[str]:
    best, pick = results["best"][0], results["best"][results["pick"]]
    lines = [
        f"* the readable pick: the most fluent within one standard error of the best on dev: "
        f"{quoted(pick['text'])}"
    ]
    prior = results["prior"]
    if prior["only_prior"] and best["source"] != "manual":
        lines.append(
            "The gain may be only a shifted label prior: without a prompt, but with the label "
            f"scores shifted on the search rows, test is {figure(prior['shifted_empty_test'])}; "
            f"the best prompt is {gain(prior['gain_beyond'], prior['gain_beyond_interval'])} "
            "beyond that."
        )
    if best["source"] == "manual":
        lines.append("No prompt that was found beats the best manual one on dev.")
    lines.append(
        f"{results['measured']:,.0f} of {results['budget']:,.0f} prompts measured "
        f"(ended by {results['ended']}) in {results['timing']['total']:.0f} s."
    )
    lines.append(f"Next: hardprompt inspect {escape(results['run'])}")
    return lines


def stopped_report(prompts: list[tuple[str, float]], run: str) -> str:
    """The table so far of an interrupted search."""
    rows = [[quoted(text), figure(loss)] for text, loss in prompts]
    head = table(("prompt", "search"), rows) if rows else "No prompt measured yet."
    return f"{head}\n\nStopped. Go on with: hardprompt search --resume {escape(run)}"
