"""Everything that a search needs, made from a `RunConfig`: task, model, space, scorers."""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import transformers

import hardprompt
from hardprompt.budget import check_affordable, default_budget
from hardprompt.config import AUTO, RunConfig, with_fluency
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.halves import check_whole
from hardprompt.lengths import with_length
from hardprompt.metrics import Metric, metric_named
from hardprompt.metrics.figures import ClassFigures, Figures, TextFigures
from hardprompt.metrics.text import USUAL, TextMetric, text_metric_named
from hardprompt.models.base import Labels, PromptModel
from hardprompt.models.load import load_model, screening_model, screens
from hardprompt.models.writer import Decoding
from hardprompt.objective import Objective
from hardprompt.registry import make_strategy
from hardprompt.scoring.compile import Renderer
from hardprompt.scoring.forecast import LEVEL
from hardprompt.scoring.losses import Loss, loss_named
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.splits import Splits, fit_vocabulary, right_classes, widths_of
from hardprompt.starts import find_starts
from hardprompt.strategies.auto import Auto, choose
from hardprompt.strategies.base import Strategy
from hardprompt.strategies.exhaustive import Exhaustive
from hardprompt.tasks import Task, load_choice
from hardprompt.template import Template
from hardprompt.types import Batch, IntArray
from hardprompt.verbalizers.joint import JointObjective, after_words, token_sets, words_price
from hardprompt.vocabulary import KINDS, Vocabulary

ONLY_SEARCH = (
    "--labels auto belongs to hardprompt search; hardprompt labels finds words to give elsewhere"
)
RACE = 1  # the stream of random numbers that a race draws from
DRAWN = 64  # random prompts, of which two that survive are timed
PIECE, RACED_PIECE = 64, 512  # rows between two commits; raced rows mostly end early


@dataclass
class Session:
    """A search made ready; nothing is measured yet."""

    config: RunConfig
    task: Task
    model: PromptModel
    template_name: str
    template: Template
    vocabulary: Vocabulary
    space: SearchSpace
    loss: Loss
    metric: Metric | TextMetric
    strategy: Strategy
    reason: str  # why this strategy
    splits: Splits
    budget: float
    screened: bool  # whether the search itself runs in half precision
    label_sets: tuple[Labels, ...] = ()  # tokens of `config.label_sets`
    start_notes: tuple[str, ...] = ()  # what became of the user's own `config.start`

    @classmethod
    def prepare(
        cls,
        config: RunConfig,
        given: Sequence[Sequence[str]] | None = None,
        model: PromptModel | None = None,
    ) -> Session:
        """Loads and checks everything; raises before any work is done.

        `given` are prompts to be measured instead of searched: the slots are as wide as they are.
        `model` is that of the config, where it is loaded already.
        """
        if config.labels == AUTO and not config.label_sets:
            raise UsageError(ONLY_SEARCH)
        loss = loss_named(config.objective)
        strategy = make_strategy(config.strategy, dict(config.settings))
        task = load_choice(config)
        metric = choose_metric(task, config)
        config = with_fluency(config, len(task.labels))
        _check_decoding(task, config)
        name, template = choose_template(task, config.template)
        if given is None:
            config = with_length(config, template)
            slots = template.slots(config.length)
        model = model or load_model(
            config.model,
            revision=config.revision,
            dtype=config.dtype,
            device=config.device,
            batch_size=config.batch_size,
        )
        if given is not None:
            slots = widths_of(model.codec, template, given)
        vocabulary = Vocabulary.build(
            model.codec,
            len(model.embeddings),
            config.vocabulary,
            top=config.vocabulary_top,
            ban=None if config.ban is None else Path(config.ban),
            label_words=[*task.words, *itertools.chain(*config.label_sets)],
            allow_label_words=config.allow_label_words,
        )
        check_writes(task, model)
        renderer = Renderer(model.codec, template)
        vocabulary, probes = fit_vocabulary(vocabulary, model, renderer, slots, task)
        manual = task.manual_for(name, template)
        beside = [*(given or ()), *((prompt,) for prompt in manual)]
        splits = Splits.of(
            model, task, renderer, slots, vocabulary, probes, config.max_new_tokens, beside
        )
        scorer = splits.scorers["search"]
        space = SearchSpace(
            tokens=vocabulary.tokens,
            slots=slots,
            embeddings=model.embeddings,
            n_examples=len(task.search),
            min_length=config.min_length,
            strata=right_classes(task.search),
        )
        sets = token_sets(config.label_sets, scorer, vocabulary.tokens)
        # Who tries everything wants the true order.
        screened = screens(model, config.dtype) and not isinstance(strategy, Exhaustive)
        budget = config.budget or default_budget(model, scorer, screened)
        starts = find_starts(config, manual, scorer, space)
        space = replace(space, budget=budget, seeds=starts.rows, own_seeds=starts.own)
        if sets:
            space = after_words(space, words_price(len(manual)))
        reason = "as asked" if config.preset is None else f"preset {config.preset}"
        check_affordable(strategy, space)
        if isinstance(strategy, Auto):
            chosen, reason = choose(space)
            reason = f"{chosen.name}: {reason}"
            screened = screened and not isinstance(chosen, Exhaustive)
        return cls(
            config, task, model, name, template, vocabulary, space, loss, metric, strategy,
            reason, splits, budget, screened, sets, starts.notes,
        )  # fmt: skip

    @property
    def scorers(self) -> dict[str, Scorer]:
        """Of each split."""
        return self.splits.scorers

    @cached_property
    def screen(self) -> PromptModel | None:
        """The model that the search itself runs on, where it is another than the reports'."""
        return screening_model(self.model) if self.screened else None

    @cached_property
    def objective(self) -> Objective:
        config, gold, exact = self.config, self.gold("search"), self.scorers["search"]
        scorer = exact if self.screen is None else exact.on(self.screen)
        # On a CPU the backward pass of a single prompt is no faster in half precision.
        slopes = exact if self.model.info.device == "cpu" else scorer
        if self.label_sets:
            return JointObjective(
                scorer, gold, self.space, self.loss, self.label_sets,
                fluency=self.fluency_weight, dropping=config.dropping, slopes=slopes,
            )  # fmt: skip
        # A stream of its own: the strategy draws from the plain seed.
        racing = np.random.default_rng([config.seed, RACE]) if config.race else None
        return Objective(
            scorer,
            gold,
            self.space,
            self.loss,
            fluency=self.fluency_weight,
            dropping=config.dropping,
            racing=racing,
            slopes=slopes,
        )

    @property
    def fluency_weight(self) -> float:
        """What a prompt's own mean negative log-likelihood counts in its loss."""
        return self.config.fluency or 0.0

    @property
    def precision(self) -> str:
        """What is computed in, the search first where it differs."""
        exact = self.model.info.dtype
        return exact if self.screen is None else f"{exact}, searched in {self.screen.info.dtype}"

    @property
    def piece(self) -> int:
        """Rows to measure between two commits. The more run together, the fewer a race keeps."""
        return RACED_PIECE if self.config.race else PIECE

    def gold(self, split: str) -> IntArray:
        """`(N,)` right classes; where texts are written, 0: the only figure that a row scores."""
        return right_classes(getattr(self.task, split))

    @property
    def class_metric(self) -> Metric:
        """The metric of a task with labels."""
        assert isinstance(self.metric, Metric), "texts have no classes"
        return self.metric

    def figures(self, split: str) -> Figures:
        """How answers to a split's rows are judged."""
        if isinstance(self.metric, TextMetric):
            references = tuple(row.references for row in getattr(self.task, split))
            return TextFigures(self.metric, references)
        return ClassFigures(self.metric, self.gold(split), len(self.task.labels))

    @cached_property
    def majority(self) -> float:
        """What the best single answer to all test rows has, by the metric; NaN without labels."""
        rows, labels = len(self.task.test), range(len(self.task.labels))
        constant = [self.figures("test").value(np.full(rows, label)) for label in labels]
        return max(constant, default=np.nan)

    @cached_property
    def decoding(self) -> Decoding:
        """How texts are written: as asked, or up to the length of the longest that a search row
        wants."""
        longest = max(map(len, self.scorers["search"].targets or [()]))
        return Decoding(self.config.max_new_tokens or longest, self.config.beams)

    def example(self) -> str:
        """The first row exactly as the model reads it, with a prompt's place shown."""
        shown = tuple(f"[{i}]" for i in range(1, self.template.n_slots + 1))
        prompts = ("[prompt]",) if self.template.n_slots == 1 else shown
        scorer = self.scorers["search"]
        codec = self.model.codec
        first = self.task.search[0]
        word = first.references[0] if self.task.writes else self.task.labels[first.label].word
        place = f"{self.template.before_label}[{word}]"
        text = self.template.render(prompts, scorer.texts[0], place)
        end = "" if codec.mask is None else codec.decode(codec.suffix)
        return codec.decode(codec.prefix) + text + end

    def estimate(self) -> float:
        """Seconds that the search will take, from one small batch."""
        drawn = self.space.random(np.random.default_rng(0), DRAWN)
        alive = drawn[self.objective.scorer.survives(drawn)]  # others would not be measured
        rows = alive[:2] if len(alive) else drawn[:2]
        self.objective.measure(Batch(ids=rows[:1]))  # what is computed once
        began = time.monotonic()
        self.objective.measure(Batch(ids=rows))
        return (time.monotonic() - began) / len(rows) * self.budget

    @property
    def no_prompt(self) -> tuple[str, ...]:
        """The empty prompt."""
        return self.template.no_prompt

    @property
    def manual(self) -> tuple[str, ...]:
        """The manual prompts of this template; none for a template with several slots."""
        return self.task.manual_for(self.template_name, self.template)

    def header(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed."""
        config = self.config.to_json()
        # The task's fingerprint says all of these: data may move, but not change.
        data = ("task", "data", "dev", "test", "text_field", "label_field", "target_field",
                "labels")  # fmt: skip
        for key in ("device", "batch_size", "time", "model", "optuna_storage", *data):
            config.pop(key)
        # Left out where there is none, as in the runs of before there were any.
        races = {"race": LEVEL} if config.pop("race") else {}
        later = {
            key: value
            for key in ("fluency", "preset", "label_sets", "max_new_tokens")
            if (value := config.pop(key, None))
        }
        if (beams := config.pop("beams")) > 1:
            later["beams"] = beams
        return {
            **config,
            **races,
            **later,
            "metric": self.metric.name,
            "budget": self.budget,
            "task": self.task.fingerprint(),
            "model": self.model.info.fingerprint,
            "dtype": self.precision,
            "template": self.template.source,
            "vocabulary": self._searched_words(),
            **versions(),
            "optuna": optuna.__version__,
        }

    def _searched_words(self) -> list[Any]:
        """What must stay of the vocabulary; files may change, our own words only with us."""
        config, found = self.config, self.vocabulary
        from_files = config.ban is not None or config.vocabulary not in KINDS
        return [config.vocabulary, len(found.tokens), *([found.digest] if from_files else [])]


def versions() -> dict[str, str]:
    """What a score may depend on besides model and texts."""
    return {
        "hardprompt": hardprompt.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def check_writes(task: Task, model: PromptModel) -> None:
    """Refuses a model that cannot write where texts are to be written."""
    if task.writes and model.codec.mask is not None:
        raise HardpromptError(
            f"'{model.info.name}' is a masked model, which fills gaps: task '{task.name}' wants "
            "texts to be written; take a causal model"
        )


def choose_metric(task: Task, config: RunConfig) -> Metric | TextMetric:
    """The metric asked for, or that of this kind of task; raises `UsageError`, and where it can
    read nothing of the references."""
    if task.writes and config.objective != "nll":
        whose = (
            "--objective" if config.preset is None else f"--preset {config.preset} has objective"
        )
        raise UsageError(
            f"{whose} {config.objective}, which needs labels; texts to be written have nll"
        )
    metric = ranking_metric(task, config.metric)
    if isinstance(metric, TextMetric):
        for rows in (task.dev, task.test):
            metric.check([row.references for row in rows])  # not when the search is over
    return metric


def ranking_metric(task: Task, wanted: str | None) -> Metric | TextMetric:
    """The metric of this name that prompts for such a task may be ranked by; None: the usual
    one."""
    if not task.writes:
        return metric_named(wanted or "accuracy")
    metric = text_metric_named(wanted or USUAL)
    if not metric.higher_is_better:
        raise UsageError(
            f"--metric {metric.name} is better the lower, and prompts are ranked by it; take bleu, "
            "chrf or rouge-l: it is reported beside them"
        )
    return metric


def _check_decoding(task: Task, config: RunConfig) -> None:
    if not task.writes and (config.beams > 1 or config.max_new_tokens is not None):
        raise UsageError(
            f"task '{task.name}' has labels, so that nothing is written: it takes no --beams, no "
            "--max-new-tokens, and no prompt file that was found for texts"
        )


def choose_template(task: Task, wanted: str | None) -> tuple[str, Template]:
    """A template by its name in the task, or as it is written."""
    if wanted is None:
        wanted = task.default_template
    check_whole(wanted, "--template")
    for name, source in task.templates.items():
        if wanted in (name, source):
            return name, Template.parse(source)
    if "{" not in wanted:
        names = ", ".join(task.templates)
        raise UsageError(
            f"no template named '{wanted}' in task '{task.name}'; there are {names}, "
            'or write one: "{prompt} {text} {label}"'
        )
    return "custom", Template.parse(wanted)
