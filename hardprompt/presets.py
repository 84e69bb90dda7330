"""Published algorithms by name: a strategy with the settings of its paper or reference code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hardprompt.errors import UsageError, unknown


@dataclass(frozen=True)
class Preset:
    """A strategy and its settings as published.

    Settings that name a strategy's own defaults are written out, too: the defaults may move, a
    publication does not.
    """

    strategy: str
    settings: Mapping[str, Any]
    source: str  # paper, and the code that the settings come from
    # published --len, --objective, --fluency and the like, by their names in `RunConfig`
    search: Mapping[str, Any] = field(default_factory=dict)


# One swap a row, out of all tokens that the gradient points to, from one start.
PLAIN = {
    "starts": 1, "replace": 1, "probe": 0, "merge": 0, "explore": 0.0, "fluent": 0.0,
    "momentum": 0.0, "average": 0, "stay": False, "patience": 2,
}  # fmt: skip

# Prompts of ten tokens trained on 32 examples a step by Adafactor, in the embeddings' own units.
PEZ = {
    "encoder": "none",
    "steps": 5000,
    "optimizer": "adafactor",
    "lr": 0.3,
    "decay": 0.0,
    "raw": True,
    "batch": 32,
    "check": 100,
    "k_best": 1,
}

# Of all: label words and their inflections stay out of prompts, unless --allow-label-words.
PRESETS: dict[str, Preset] = {
    # 250 steps. The paper's own code, llm-attacks, differs: 500 steps from "! ! ! ...",
    # places=even, and accept=anneal with temperature=1 (a worse prompt is taken by chance, and
    # ever less so). A swap that is not read as the same tokens again is left out in both. That the
    # prompt as it was is no candidate is llm-attacks'; in nanoGCG it may be drawn.
    "gcg": Preset(
        "swap",
        {**PLAIN, "width": 512, "top_k": 256, "places": "any", "accept": "always"},
        source="Zou et al., 2023, algorithm 1, with the defaults of nanoGCG",
        search={"length": 20, "vocabulary": "ascii", "start": (" ".join(["x"] * 20),)},
    ),
    # 180 steps, each on 30 batches of 24 examples; here on all. Begins with mask tokens, where
    # this begins at random: a mask is no token that may be searched. It never begins anew.
    "autoprompt": Preset(
        "swap",
        {
            **PLAIN, "width": 100, "top_k": 100, "places": "one", "accept": "better", "buffer": 1,
            "patience": 180,
        },
        source="Shin et al., 2020, section 2.2, with the settings of its code for SST-2",
        search={
            "length": 3, "vocabulary": "all", "objective": "accuracy", "start": ("random",),
        },
    ),
    # 50 rounds of all places. A token that is among the best of its place may stay there.
    "arca": Preset(
        "swap",
        {
            **PLAIN, "width": 32, "top_k": 32, "places": "turn", "average": 32,
            "accept": "always", "stay": True,
        },
        source="Jones et al., 2023, section 3, with the settings of its code",
        search={"length": 3, "vocabulary": "all", "fluency": 0.2, "start": ("random",)},
    ),
    "beast": Preset(
        "beam",
        {
            "width": 15, "branch": 15, "propose": "model", "likely": None, "keep": "beam",
            "backward": False,
        },
        source="BEAST (Sadasivan et al., 2024, algorithm 1), with the settings of its code",
        search={"length": 40, "vocabulary": "all", "start": ("random",)},
    ),
    # The parser is the model's own expectation, paraphrases are words that it writes, and the
    # score is accuracy: balanced accuracy plus entropy is no mean over examples. GrIPS ends with
    # the first instruction; here the next begins.
    "grips": Preset(
        "edit",
        {
            "width": 5,
            "compose": 1,
            "steps": 10,
            "patience": 2,
            "accept": "greedy",
            "starts": 1,
            "written": 1.0,
            "likely": 96,
            "longest": 3,
        },
        "Prasad et al., 2023, algorithm 1; archiki/GrIPS",
        # Deletions shorten, and the instruction is a sentence.
        {
            "length": 20, "min_length": 1, "objective": "accuracy", "search_rows": 100,
            "start": ("manual",),
        },
    ),
    # The candidates are tokens that gradient and model speak for, not n-grams of high mutual
    # information with the labels, which a strategy cannot see.
    "bdpl": Preset(
        "policy",
        {
            "generator": "simplex",
            "samples": 20,
            "shortlist": 200,
            "prior": 0.0,
            "lr": 1e-4,
            "decay": 0.1,
            "clip": 3.0,
            "patience": 3,
            "reward": "plain",
        },
        "Diao et al., 2023; shizhediao/Black-Box-Prompt-Learning",
        {"length": 10, "objective": "nll", "start": ("random",)},
    ),
    # The network reads the token before, not a frozen model's state; it follows the policy
    # gradient, not soft Q-learning; the 256 tokens are chosen once, not by each state.
    "rlprompt": Preset(
        "policy",
        {
            "generator": "mlp",
            "samples": 16,
            "shortlist": 256,
            "prior": 0.0,
            "lr": 5e-5,
            "decay": 0.0,
            "clip": 5.0,
            "patience": 3,
            "reward": "zscore",
            "hidden": 2048,
        },
        "Deng et al., 2022; mingkaid/rl-prompt",
        {"length": 5, "objective": "piecewise", "vocabulary": "all", "start": ("random",)},
    ),
    "pez": Preset(
        strategy="relax",
        settings={**PEZ, "projection": "straight-through"},
        source="Wen et al., 2023, algorithm 1; its code for language models "
        "(hard-prompts-made-easy, prompt_lm), without its clipping of gradients",
        search={"length": 10, "vocabulary": "all", "start": ("random",)},
    ),
    "fluentprompt": Preset(
        strategy="relax",
        settings={**PEZ, "projection": "langevin", "beta": 1.0},
        source="Shi et al., 2022, as in the code of Wen et al., 2023 "
        "(hard-prompts-made-easy, prompt_lm), without its clipping of gradients",
        # There (1 - w) * loss + w * fluency with w = 0.003.
        search={
            "length": 10, "vocabulary": "all", "start": ("random",), "fluency": 0.003 / 0.997,
        },
    ),
    "gbda": Preset(
        strategy="relax",
        settings={
            "encoder": "none",
            "projection": "gumbel",
            "steps": 100,
            "optimizer": "adam",
            "lr": 0.3,
            "decay": 0.0,
            "batch": 32,  # the attack has a single text
            "k_best": 1,
            "temperature": 1.0,
            "coldest": 1.0,
            "logit": 15.0,
            "mixtures": 10,
            "samples": 100,
        },
        source="Guo et al., 2021; its code (text-adversarial-attack, whitebox_attack.py), "
        "without the terms that keep an attack close to its text",
        search={"vocabulary": "all"},
    ),
}  # fmt: skip


def preset_named(name: str) -> Preset:
    """The preset of that name; raises `UsageError` with the nearest name."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def with_preset(options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The options of a search with those of its `preset`; what was `given` wins over these."""
    preset = preset_named(options["preset"])
    if "strategy" in given:
        raise UsageError(
            f"--preset and --strategy exclude each other: '{options['preset']}' is strategy "
            f"'{preset.strategy}'; change its settings with --set"
        )
    search = {"fluency": 0.0, **preset.search}  # a publication weighs it only where it says so
    published = {key: value for key, value in search.items() if key not in given}
    settings = {**preset.settings, **dict(options["settings"])}
    return {
        **options,
        **published,
        "strategy": preset.strategy,
        "settings": tuple(settings.items()),
    }
