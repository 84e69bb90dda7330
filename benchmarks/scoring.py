"""Our scoring engine beside the ways of other tools, in one process.

    python -m benchmarks.scoring --out benchmarks/scoring
    python -m benchmarks.scoring --threads 2 --out benchmarks/scoring-2-threads
    python -m benchmarks.scoring --models 6x256 --only fresh naive --rounds 3 --out scoring

Rows have the lengths of SST-2's texts, and random ids. All ways run once a round, one after the
other and each in all precisions in turn, on the same prompts, each round with new ones, and every
ratio is the median of the ratios within a round. After a run, untimed, some of its pairs are scored
by a plain forward pass in fp32 and compared. Not timed: what is computed once a search, the keys
and values of the texts; nanoGCG's way makes them for each 32 candidates, as in the measurement that
the demands come from, and a second row shows it without. oneDNN keeps what it made for the shapes
of all ways, as it does in a process that knows one way alone. Writes a JSON file and a Markdown
table and says which demands are met.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks import flops, script
from benchmarks.ways import (
    AFTER,
    DTYPES,
    EXAMPLES,
    LENGTH,
    OURS,
    PARENTS,
    SETTINGS,
    Way,
    all_ways,
    difference,
    plain_model,
    rounding,
)
from hardprompt.models.load import load_model
from hardprompt.tasks.load import load_task

SHARED = Path(__file__).parents[2] / "shared"
MOST = 2048  # candidates of one run
TOLERANCE = 1e-5  # of a log-probability in fp32, and of a gradient over its largest entry


@dataclass(frozen=True)
class Demand:
    """What a way must reach over another one of the same round."""

    model: str
    dtype: str
    way: str
    over: str  # naive, nanoGCG, fp32 (the same way in it) or peak (of matmul)
    least: float


DEMANDS = (
    Demand("6x256", "fp32", "prefix-first fresh", "naive", 4),
    Demand("6x256", "fp32", "text-first fresh", "naive", 20),
    Demand("6x256", "fp32", "text-first fresh", "nanoGCG", 2),
    Demand("6x256", "fp32", "text-first beam", "naive", 90),
    Demand("6x256", "fp32", "text-first beam", "nanoGCG", 8),
    Demand("6x256", "fp32", "text-first swaps", "naive", 35),
    Demand("6x256", "fp32", "text-first swaps", "nanoGCG", 3),
    Demand("6x256", "fp32", "text-first gradient", "naive", 6),
    Demand("6x256", "fp32", "text-first gradient", "nanoGCG", 4),
    Demand("6x256", "bf16", "prefix-first fresh", "fp32", 1.8),
    Demand("6x256", "bf16", "text-first fresh", "fp32", 1.8),
    Demand("6x256", "bf16", "text-first beam", "fp32", 1.8),
    Demand("6x256", "bf16", "text-first swaps", "fp32", 1.8),
    Demand("12x768", "fp32", "text-first fresh", "peak", 0.70),
    Demand("12x768", "fp32", "text-first beam", "peak", 0.70),
    Demand("12x768", "bf16", "text-first fresh", "peak", 0.55),
    Demand("12x768", "bf16", "text-first beam", "peak", 0.55),
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sst2 = SHARED / "data" / "tasks" / "sst2" / "16shot-100"  # those that the demands speak of
    parser.add_argument("--task", type=Path, default=sst2, help="its texts' lengths are taken")
    parser.add_argument("--models", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--only", nargs="+", help="ways with one of these words in their name")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="aim of one timed run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["cpu", "wall"], help="default: cpu for one thread")
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    args = parser.parse_args()
    args.clock = args.clock or ("cpu" if args.threads == 1 else "wall")
    return args


def processor() -> tuple[str, bool]:
    """The CPU's name, and whether it multiplies in bf16.

    With its family and model where they are told: one name is given to several generations.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf8")
    except OSError:
        return platform.processor() or platform.machine(), False
    pairs = [line.partition(":") for line in text.splitlines()]
    told = {key.strip(): value.strip() for key, _, value in pairs}
    name = told.get("model name", platform.machine())
    if {"cpu family", "model"} <= set(told):
        name += f" (family {told['cpu family']}, model {told['model']})"
    return name, "avx512_bf16" in text


def text_lengths(task: Path) -> list[int]:
    """Tokens of the first texts of a task's search split, as `mini` reads them."""
    codec = load_model("mini", device="cpu").codec
    texts = [example.text for example in load_task(str(task)).search[:EXAMPLES]]
    return [len(ids) - len(codec.prefix) for ids in codec.encode_many(texts)]


def measure(
    args: argparse.Namespace, name: str, dtypes: list[str], lengths: list[int]
) -> tuple[list[Way], dict[str, list[float]], tuple[float, float]]:
    """All ways of one model, round by round; the matmul peaks in FLOP/s by precision; what a plain
    fp32 pass and ours are off by."""
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    every = [way for dtype in dtypes for way in all_ways(name, dtype, lengths)]
    ways = [way for way in every if any(word in way.key for word in args.only or [""])]
    keys = list(dict.fromkeys(way.key for way in ways))
    turns = sorted(ways, key=lambda way: keys.index(way.key))  # both precisions in turn
    plain = plain_model(name, "fp32")
    sizes = flops.Sizes.of(plain)
    for way in ways:
        _calibrate(way, args.seconds, clock)
    for way in ways:  # all precisions of a way score the same prompts
        way.size = max(other.size for other in ways if other.key == way.key)
    peaks: dict[str, list[float]] = {dtype: [] for dtype in dtypes}
    rounds = min(args.rounds, SETTINGS[name].rounds or args.rounds)
    for number in range(rounds):
        for dtype, measured in peaks.items():
            measured.append(flops.peak(sizes, DTYPES[dtype], clock))
        for way in turns:
            ids = way.prompts(number, way.size)
            began = clock()
            result = way.run(ids)
            taken = clock() - began
            way.rates.append(len(ids) * len(way.examples) / taken)
            way.shares.append(way.work(ids) / taken / peaks[way.dtype][-1])
            if number == 0 or not way.differentiates:  # its check takes longer than its run
                way.differences.append(difference(way, plain, ids, result, number))
        print(f"{name}: round {number + 1} of {rounds}", flush=True)
    return ways, peaks, rounding(ways, plain)


def _calibrate(way: Way, seconds: float, clock: Callable[[], float]) -> None:
    """So many prompts that a run takes that long, but enough to fill the way's batches."""
    way.size = way.least
    for seed in (MOST, MOST + 1):  # the first run computes what is computed once
        began = clock()
        way.run(way.prompts(seed, way.size))
        taken = clock() - began
        if taken > 2 * seconds:
            return
    way.size = min(MOST, max(way.size, round(way.size * seconds / taken)))


def results(ways: list[Way]) -> list[dict[str, Any]]:
    """A record for each way, with its ratios to others of the same model."""
    known = {(way.dtype, way.key): way for way in ways}
    records = []
    for way in ways:
        kind = "gradient of AutoPrompt" if way.differentiates else "naive"
        other = "gradient of nanoGCG" if way.differentiates else "nanoGCG-like"
        bases = {
            "naive": known.get((way.dtype, f"{way.layout} {kind}")),
            "nanoGCG": known.get((way.dtype, f"{way.layout} {other}")),
            "fp32": known.get(("fp32", way.key)) if way.dtype != "fp32" else None,
        }
        ratios = {over: _ratio(way, base) for over, base in bases.items()}
        records.append({
            "model": way.model,
            "dtype": way.dtype,
            "way": way.key,
            "ours": way.name in OURS,
            "prompts": way.size,
            "examples": len(way.examples),
            "pairs_per_second": statistics.median(way.rates),
            "rounds": way.rates,
            "flops_per_pair": way.work(way.prompts(0, way.size)) / way.size / len(way.examples),
            "over": {**ratios, "peak": statistics.median(way.shares)},
            "difference": float(np.max(way.differences)),
        })  # fmt: skip
    return records


def _ratio(way: Way, base: Way | None) -> float | None:
    if base is None:
        return None
    return statistics.median(a / b for a, b in zip(way.rates, base.rates, strict=True))


def verdicts(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each demand, what was found (None: not measured), and whether it is met."""
    known = {(r["model"], r["dtype"], r["way"]): r for r in records}
    found = []
    for demand in DEMANDS:
        record = known.get((demand.model, demand.dtype, demand.way))
        value = None if record is None else record["over"][demand.over]
        what = f"{demand.model} {demand.dtype}, {demand.way}: at least {demand.least:g} x "
        found.append(_verdict(what + demand.over, value, lambda x, d=demand: x >= d.least))
    for name in dict.fromkeys(record["model"] for record in records):
        exact = [r for r in records if (r["model"], r["dtype"]) == (name, "fp32") and r["ours"]]
        worst = float(np.max([record["difference"] for record in exact])) if exact else None
        what = f"{name} fp32, all of ours: difference at most {TOLERANCE:g}"
        found.append(_verdict(what, worst, lambda x: x <= TOLERANCE))
    return found


def _verdict(what: str, value: float | None, good: Callable[[float], bool]) -> dict[str, Any]:
    return {"demand": what, "found": value, "met": None if value is None else good(value)}


def main() -> None:
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "20000")  # read at its first product
    args = arguments()
    if not args.task.exists():
        print(f"nothing measured: no task {args.task}; --task takes any, for the texts' lengths")
        return
    torch.set_num_threads(args.threads)
    cpu, has_bf16 = processor()
    dtypes = [dtype for dtype in args.dtypes if dtype != "bf16" or has_bf16]
    began, load, lengths = time.process_time(), os.getloadavg(), text_lengths(args.task)
    records, peaks, roundings = [], {}, {}
    for name in args.models:
        ways, peaks[name], roundings[name] = measure(args, name, dtypes, lengths)
        records += results(ways)
    content = {
        "machine": {
            "cpu": cpu,
            "cores": os.cpu_count(),
            "avx512_bf16": has_bf16,
            "threads": args.threads,
            "clock": args.clock,
            "load": load,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "date": datetime.now(UTC).date().isoformat(),
        },
        "seconds": args.seconds,
        "cpu_seconds": time.process_time() - began,
        "lengths": lengths,
        "peaks": peaks,
        "rounding": roundings,
        "results": records,
        "demands": verdicts(records),
    }
    text = json.dumps(content, indent=1) + "\n"
    args.out.with_suffix(".json").write_text(text, encoding="utf8")
    made = table(args, content)
    args.out.with_suffix(".md").write_text(made, encoding="utf8")
    print(made)


def table(args: argparse.Namespace, content: dict[str, Any]) -> str:
    """A Markdown table with the command that makes it and the machine it ran on."""
    machine, lengths = content["machine"], content["lengths"]
    command = f"python -m benchmarks.scoring --threads {args.threads} --clock {args.clock}"
    command += f" --task {os.path.relpath(args.task)}"
    command += f" --models {' '.join(args.models)} --dtypes {' '.join(args.dtypes)}"
    command += f" --only {shlex.join(args.only)}" if args.only else ""
    lines = [
        "# Ways to score prompts, side by side",
        "",
        f"`{command} --rounds {args.rounds} --seconds {args.seconds:g} --out {args.out}`",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load'][0]:.1f} at the start; "
        f"torch {machine['torch']}, transformers {machine['transformers']}; {args.threads} "
        f"thread(s), {'process-CPU' if args.clock == 'cpu' else 'wall'} clock; {machine['date']}; "
        f"{content['cpu_seconds'] / 60:.0f} CPU minutes.",
        "",
        f"{len(lengths)} texts with the lengths of {args.task.name}'s: {min(lengths)}-"
        f"{max(lengths)} tokens, mean {statistics.mean(lengths):.1f}; with the prompt, padding "
        f"makes {_padding(lengths):.2f} times as many. Prompts of {LENGTH} tokens, 2 label words "
        f"of one. Text-first: the label follows the prompt; prefix-first: {AFTER} tokens stand "
        "between text and label. A pair is a candidate on an example. Ratios are medians of "
        "the ratios within a round, to ways of the same layout and precision; those of "
        "gradients are to AutoPrompt's and nanoGCG's gradients. Share of peak: FLOPs by formula "
        "over the fastest matmul of the model's shapes in the same round; for our ways the least "
        "work there is, so that waste counts against them. Difference: the largest from a plain "
        "fp32 forward pass of single pairs, in normalised log-probability; of gradients, over the "
        f"largest entry. A beam's batch extends {PARENTS} parents, which it computes too. What "
        "stands before the prompts is read once and not timed, but for nanoGCG's way where its "
        "row does not say so. oneDNN keeps what it made for every shape.",
        "",
    ]
    for name in args.models:
        peaks, (theirs, mine) = content["peaks"][name], content["rounding"][name]
        found = ", ".join(f"{d} {statistics.median(p) / 1e9:.0f}" for d, p in peaks.items())
        lines += [
            f"## {name} (matmul peak in GFLOP/s: {found})",
            "",
            f"A plain fp32 pass is itself up to {theirs:.1e} from float64, ours up to {mine:.1e}.",
            "",
            "| way | precision | pairs/s | x naive | x nanoGCG-like | x fp32 | demanded "
            "| share of peak | max difference |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_line(record) for record in content["results"] if record["model"] == name),
            "",
        ]
    lines += ["## Demands", "", "| demand | found | met |", "| --- | --- | --- |"]
    lines += [_judged(verdict) for verdict in content["demands"]]
    return "\n".join(lines) + "\n"


def _padding(lengths: list[int]) -> float:
    return (max(lengths) + LENGTH) / (statistics.mean(lengths) + LENGTH)


def _line(record: dict[str, Any]) -> str:
    key = (record["model"], record["dtype"], record["way"])
    mine = [demand for demand in DEMANDS if (demand.model, demand.dtype, demand.way) == key]
    over = record["over"]
    cells = [
        f"**{record['way']}**" if record["ours"] else record["way"],
        record["dtype"],
        f"{record['pairs_per_second']:,.0f}",
        *(
            "-" if over[base] is None else f"{over[base]:.3g}"
            for base in ("naive", "nanoGCG", "fp32")
        ),
        ", ".join(f"{demand.over} {demand.least:g}" for demand in mine) or "-",
        f"{over['peak']:.2f}",
        f"{record['difference']:.1e}",
    ]
    return f"| {' | '.join(cells)} |"


def _judged(verdict: dict[str, Any]) -> str:
    found = "not measured" if verdict["found"] is None else f"{verdict['found']:.3g}"
    met = {None: "-", True: "yes", False: "no"}[verdict["met"]]
    return f"| {verdict['demand']} | {found} | {met} |"


if __name__ == "__main__":
    script.run(main)
