"""A task looked over before a search: its rows, its label words and its templates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.fit import Fit
from hardprompt.metrics.text import TextMetric
from hardprompt.models.base import PromptModel
from hardprompt.reach import Reach
from hardprompt.session import check_writes, choose_template, ranking_metric
from hardprompt.tasks.draft import Draft
from hardprompt.tasks.finding import Finding, Place, files_of
from hardprompt.tasks.findings import data_findings
from hardprompt.tasks.rows import listed, text_fault
from hardprompt.template import Template
from hardprompt.vocabulary import Vocabulary

SCHEMA = "hardprompt.check/1"

Words = Mapping[str, tuple[int, ...]]  # label word -> its tokens; empty where it has none


@dataclass(frozen=True)
class Check:
    """What was found, and how the model reads the label words or the references."""

    draft: Draft
    model: PromptModel
    template: Template
    words: Words
    findings: tuple[Finding, ...]
    reach: Reach | None = None  # where texts are to be written

    @property
    def breaks(self) -> bool:
        """Whether a search on this task would stop."""
        return any(finding.breaks for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything, as `hardprompt check --json` prints it."""
        task, info = self.draft.task, self.model.info
        return {
            "schema": SCHEMA,
            "task": task.name,
            "kind": task.kind,
            "files": {
                name: {"path": str(part.path), "rows": len(part.rows)}
                for name, part in files_of(self.draft).items()
            },
            "splits": {split: len(part.rows) for split, part in self.draft.parts.items()},
            "model": {"name": info.name, "context": info.context},
            "template": self.template.source,
            "labels": [
                {
                    "label": label.name,
                    "word": label.word,
                    "tokens": _pieces(self.model, self.words[label.word]),
                }
                for label in task.labels
            ],
            **({} if self.reach is None else {"written": _written(self.reach)}),
            "ok": not self.breaks,
            "findings": [_finding(finding) for finding in self.findings],
            "notes": list(task.notes),
        }


def _written(reach: Reach) -> dict[str, Any]:
    return {"limit": reach.limit, "references": reach.counts}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "level": "error" if finding.breaks else "warning",
        "message": finding.message,
        "count": len(finding.rows),
        "rows": [[{"file": name, "line": line} for name, line in group] for group in finding.rows],
    }


def check_task(
    draft: Draft,
    model: PromptModel,
    template: str | None = None,
    length: int = 5,
    metric: str | None = None,
    search_rows: int | None = 128,
    seed: int = 0,
) -> Check:
    """Looks at every row of a task, and at its words and templates as the model reads them.

    `template` is the one that a search would use, by name or as written (None: the task's
    default); what is wrong with the task's other templates is only a warning. `metric` is what it
    would judge by, `search_rows` and `seed` say which rows it would draw (None: all). Raises where
    it would refuse metric or model.
    """
    judged = ranking_metric(draft.task, metric)
    check_writes(draft.task, model)
    name, chosen = choose_template(draft.task, template)
    vocabulary = Vocabulary.build(model.codec, len(model.embeddings), label_words=draft.task.words)
    texts = _texts(draft)
    words: dict[str, tuple[int, ...]] = dict.fromkeys(draft.task.words, ())
    findings = data_findings(draft)
    reach: Reach | None = None
    if texts:
        sample = min((text for _, text in texts), key=len)
        fit = Fit(model, chosen, vocabulary, length, sample)
        if isinstance(judged, TextMetric):
            reach = Reach.of(draft, fit, search_rows, seed)
            reserved = reach.reserved
            findings += [*reach.findings(), *_unreadable(reach, judged)]
        else:
            words, melted = _words(fit, draft.task.words, sample)
            reserved = max(map(len, words.values()))
            findings += [*melted, *_word_findings(model, words)]
        findings += _slots(fit, chosen.source, texts, breaks=True)
        findings += _long_rows(fit, model, reserved, texts)
        for other, source in draft.task.templates.items():
            if other != name:
                findings += _other(source, model, vocabulary, length, texts)
    return Check(draft, model, chosen, words, tuple(findings), reach)


def _unreadable(reach: Reach, metric: TextMetric) -> Iterator[Finding]:
    """Splits of which the metric can read no reference."""
    for split, rows in reach.judged.items():
        try:
            metric.check([row.references for row in rows])
        except HardpromptError as error:
            yield Finding("metric", f"references of {split}: {error}", breaks=True)


def _texts(draft: Draft) -> list[tuple[Place, str]]:
    """Every text that can be read, with its place."""
    return [
        ((name, row.line), row.text.strip())
        for name, part in files_of(draft).items()
        for row in part.rows
        if text_fault(part, row) is None and isinstance(row.text, str)
    ]


def _words(
    fit: Fit, words: Sequence[str], text: str
) -> tuple[dict[str, tuple[int, ...]], list[Finding]]:
    """Tokens of each label word, and those words that have none of their own."""
    found: dict[str, tuple[int, ...]] = {}
    melted = []
    for word in dict.fromkeys(words):
        try:
            found[word] = fit.word(word, text)
        except HardpromptError as error:
            found[word] = ()
            melted.append(Finding("template", str(error), breaks=True))
    return found, melted


def _word_findings(model: PromptModel, words: Words) -> Iterator[Finding]:
    same: dict[tuple[int, ...], list[str]] = defaultdict(list)
    start: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    for word, tokens in words.items():
        if tokens:
            same[tokens].append(word)
            start[tokens[0]].add(tokens)
    for tokens, equal in same.items():
        if len(equal) > 1:
            message = f"label words that are the same tokens ({_split(model, tokens)}): "
            yield Finding("collision", message + listed(map(repr, equal)), breaks=True)
    several = [_split(model, tokens) for tokens in same if len(tokens) > 1]
    if several:
        yield Finding(
            "tokens",
            "label words of several tokens, which all count, so that they score lower than words "
            f"of one: {listed(several)}",
        )
    alike = [sorted(group) for group in start.values() if len(group) > 1]
    if alike:
        groups = (" and ".join(_split(model, tokens) for tokens in group) for group in alike)
        yield Finding(
            "start",
            "label words that begin with the same token, so that only what follows it tells them "
            f"apart: {listed(groups)}",
        )


def _other(
    source: str,
    model: PromptModel,
    vocabulary: Vocabulary,
    length: int,
    texts: Sequence[tuple[Place, str]],
) -> Iterator[Finding]:
    """What is wrong with a template that is not the one in use."""
    sample = min((text for _, text in texts), key=len)
    try:
        fit = Fit(model, Template.parse(source), vocabulary, length, sample)
    except UsageError as error:
        yield Finding("template", str(error))
        return
    yield from _slots(fit, source, texts, breaks=False)


def _slots(
    fit: Fit, source: str, texts: Sequence[tuple[Place, str]], *, breaks: bool
) -> Iterator[Finding]:
    unclean = fit.unclean([text for _, text in texts])
    if unclean:
        yield Finding(
            "template",
            f"rows where the template '{source}' leaves no clean place for a token with this "
            "tokenizer (put a space before {prompt})",
            tuple((texts[number][0],) for number in unclean),
            breaks=breaks,
        )


def _long_rows(
    fit: Fit, model: PromptModel, reserved: int, texts: Sequence[tuple[Place, str]]
) -> Iterator[Finding]:
    try:
        long = fit.too_long([text for _, text in texts], reserved)
    except HardpromptError as error:
        yield Finding("long", str(error), breaks=True)
        return
    if long:
        yield Finding(
            "long",
            f"rows longer than the model's context of {model.info.context} tokens, which are cut "
            f"at their end; {reserved} of it are kept for the answer",
            tuple((texts[number][0],) for number in long),
        )


def _pieces(model: PromptModel, tokens: Sequence[int]) -> list[str]:
    return [model.codec.piece([token]) for token in tokens]


def _split(model: PromptModel, tokens: Sequence[int]) -> str:
    return "|".join(_pieces(model, tokens)).strip()
