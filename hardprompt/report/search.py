"""The result of a search as a table and a few sentences, from `results.json` alone."""

from __future__ import annotations

from math import inf
from typing import Any

from hardprompt.config import FEWEST_TEST_ROWS
from hardprompt.escaping import escape, pasted
from hardprompt.report.text import TOO_FEW, digits, figure, gain, quoted, reported, table, writes
from hardprompt.report.written import NAMES, text_metrics

HEAD = ("prompt", "search", "dev", "test [95%]", "over empty", "over manual", "fluency")


def search_report(results: dict[str, Any], top: int = 10) -> str:
    """Table of the best prompts and the baselines, and what they mean."""
    pick = results["pick"]
    marks = [_marks(i, pick, entry) for i, entry in enumerate(results["best"])]
    lines = [prompt_table(results, results["best"], marks, top), ""]
    if front := results.get("front"):
        lines += [_front_table(front, top, digits(results)), ""]
    if written := results.get("written"):
        lines += [text_metrics(written, NAMES), ""]
    return "\n".join([*lines, *_sentences(results)])


def _front_table(front: list[dict[str, Any]], top: int, decimals: int) -> str:
    """The front from the lowest loss on; of a long one, prompts at equal steps along it."""
    n = min(max(top, 2), len(front))
    shown = [front[round(i * (len(front) - 1) / max(1, n - 1))] for i in range(n)]
    rows = [
        [
            quoted(entry["text"]),
            figure(entry["search"]),
            figure(entry["fluency"], 1),
            str(entry["length"]),
            figure(entry["dev"], decimals),
        ]
        for entry in shown
    ]
    return (
        table(("front", "search", "fluency", "length", "dev"), rows)
        + f"\n\n{n} of {len(front)} prompts of the front. To every other prompt that was measured, "
        "one of the front is preferable: nowhere worse in search loss, fluency and length, "
        "somewhere better."
    )


def prompt_table(
    results: dict[str, Any], entries: list[dict[str, Any]], marks: list[str], top: int
) -> str:
    """The first prompts, each with its mark, then no prompt and the manual ones."""
    baselines = results["baselines"]

    def row(entry: dict[str, Any], *, marks: str = "", name: str | None = None) -> list[str]:
        first = (name or quoted(entry["text"])) + _label_words(entry) + marks
        return [first, *_figures(results, entry)]

    rows = [row(entry, marks=mark) for entry, mark in zip(entries[:top], marks, strict=False)]
    rows.append(row(baselines["empty"], name="(no prompt)"))
    if "words" in baselines:
        rows.append(row(baselines["words"], name="(no prompt)"))
    shown = {entry["text"] for entry in entries}
    manual = [entry for entry in baselines["manual"] if entry["text"] not in shown]
    manual.sort(key=lambda entry: (-entry["dev"], entry["search"]))
    rows += [row(entry, name=f"(manual) {quoted(entry['text'])}") for entry in manual]
    return table(HEAD, rows)


def legend(results: dict[str, Any], split: str = "test") -> str:
    """What the columns are."""
    weight, rows = results.get("fluency_weight", 0), results["task"]["rows"]
    minimised = f"; minimised: {minimand(weight)}" if weight else ""
    seen = "pairs of text and reference" if writes(results) else "rows"
    # Of labels it stands in the table.
    few = writes(results) and split == "test" and rows["test"] < FEWEST_TEST_ROWS
    return (
        f"search: {results['objective']} on {rows['search']} {seen}, lower is better{minimised}; "
        f"dev, test: {results['metric']}, higher is better; gains are paired, on {split}, with "
        "95% intervals; fluency: mean log-probability of a token."
        + (f"\nOnly {rows['test']} test rows: {TOO_FEW}." if few else "")
    )


def minimand(weight: float) -> str:
    """What a search minimises, in columns of its table."""
    return f"search - {weight:g} x fluency" if weight else "search"


def _marks(number: int, pick: int, entry: dict[str, Any]) -> str:
    marks = " *" if number == pick else ""
    return marks + (" (manual)" if entry["source"] == "manual" else "")


def _figures(results: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    n = digits(results)
    # Of written texts it is said once, below the table.
    rows = FEWEST_TEST_ROWS if writes(results) else results["task"]["rows"]["test"]
    return [
        figure(entry["search"]),
        figure(entry["dev"], n),
        reported(entry["test"], entry["test_interval"], rows, n),
        gain(entry["gain_empty"], entry["gain_empty_interval"], n),
        gain(entry["gain_manual"], entry["gain_manual_interval"], n),
        figure(entry["fluency"], 1),
    ]


def _label_words(entry: dict[str, Any]) -> str:
    """The label words that were found with a prompt."""
    return f" -> {escape(' | '.join(entry['words'].values()))}" if "words" in entry else ""


def _sentences(results: dict[str, Any]) -> list[str]:
    best, pick = results["best"][0], results["best"][results["pick"]]
    lines = [
        legend(results),
        "* the readable pick: the most fluent within one standard error of the best on dev: "
        f"{quoted(pick['text'])}",
    ]
    if "label_sets" in results:
        lines.append(
            f"-> the label words, of {len(results['label_sets'])} sets, that suit the prompt best "
            f"on the search rows; elsewhere "
            f"{escape(' | '.join(results['task']['labels'].values()))}."
        )
    if best["source"] != "manual" and results["prior"] is not None:
        lines += prior_warning(results["prior"], best)
    lines += _unbeaten(results)
    lines.append(
        f"{results['measured']:,.0f} of {results['budget']:,.0f} prompts measured "
        f"(ended by {results['ended']}) in {results['timing']['total']:.0f} s."
    )
    if screening := results.get("screening"):
        lines.append(_screened(screening, results["model"]["dtype"]))
    if race := results.get("race"):
        lines.append(f"race: {_saved(race['times'])} measured; level {race['level']:g}")
    lines.append(f"Next: hardprompt inspect {pasted(results['run'])}")
    lines.append(f'Use it: hardprompt try {pasted(results["run"])} "a text of yours"')
    return lines


def _unbeaten(results: dict[str, Any]) -> list[str]:
    """A sentence for each simpler answer that does as well as what was found."""
    baselines, n = results["baselines"], digits(results)
    best, manual = results["best"][0], baselines["manual"]
    found = max((e["dev"] for e in results["best"] if e["source"] != "manual"), default=-inf)
    lines = []
    if any(entry["dev"] > found for entry in manual):
        lines.append("No prompt that was found beats the best manual one on dev.")
    none = max(baselines["empty"]["dev"], baselines.get("words", baselines["empty"])["dev"])
    if best["dev"] <= none:
        words = ", with the label words that were found" if "words" in baselines else ""
        lines.append(f"No prompt does better on dev than none at all{words}: {figure(none, n)}.")
    majority = results["task"]["majority"]
    if majority is not None and best["test"] is not None and best["test"] <= majority:
        lines.append(f"One answer to all rows does as well on test: {figure(majority, n)}.")
    return lines


def _saved(times: float) -> str:
    """What a race saved, its references included."""
    if f"{times:.1f}" == "1.0":
        return "about as many rows"
    return f"{times:.1f}x fewer rows" if times > 1 else f"{1 / times:.1f}x more rows"


def _screened(screening: dict[str, Any], exact: str) -> str:
    best = "the best stays" if screening["same_best"] else "another is the best"
    return (
        f"searched in {screening['dtype']}; in {exact}, as listed, {screening['moved']} of "
        f"{screening['compared']} prompts are at another place by loss, {best}, and losses "
        f"differ by at most {screening['largest_difference']:.4f}."
    )


def prior_warning(prior: dict[str, Any], best: dict[str, Any], split: str = "test") -> list[str]:
    """A sentence where a shifted label prior alone explains the gain of the best prompt."""
    gained = best["gain_empty"] is not None and best["gain_empty"] > 0
    if not gained or not prior["only_prior"]:
        return []
    return [
        "The gain may be only a shifted label prior: without a prompt, but with the label scores "
        f"shifted on the search rows, {split} is {figure(prior['shifted_empty_test'])}; the best "
        f"prompt is {gain(prior['gain_beyond'], prior['gain_beyond_interval'])} beyond that."
    ]


def stopped_report(prompts: list[tuple[str, float]], run: str, weight: float = 0.0) -> str:
    """The table so far of an interrupted search; `weight` is that of the fluency in the loss."""
    rows = [[quoted(text), figure(loss)] for text, loss in prompts]
    head = table(("prompt", minimand(weight)), rows) if rows else "No prompt measured yet."
    return f"{head}\n\nStopped. Go on with: hardprompt search --resume {pasted(run)}"
