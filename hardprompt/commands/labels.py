"""`hardprompt labels`: which words the model should write for each label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hardprompt.commands.options import (
    JSON,
    METRIC,
    OBJECTIVE,
    SEARCH_ROWS,
    TEMPLATE,
    model_options,
)
from hardprompt.commands.task_options import task_options
from hardprompt.commands.terminal import prepare_libraries, print_json
from hardprompt.errors import HardpromptError, UsageError

WAYS = ("probe", "ratio", "likely")


def _folder(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix == ".toml":
        raise click.BadParameter(f"it names a new folder for the task, got the file '{value}'")
    return value


@click.command()
@task_options
@model_options("mini")
@TEMPLATE
@click.option(
    "--prompt", "texts", multiple=True,
    help="What stands in the prompt's place; repeat for more. By default nothing, and the best "
    "manual prompt.",
)  # fmt: skip
@click.option(
    "--way", "ways", multiple=True, type=click.Choice(WAYS), default=WAYS, show_default=True,
    help="How words are proposed; repeat for more. probe: a linear classifier of the model's "
    "states (AutoPrompt). likely: the likeliest in each class (LM-BFF). ratio: likelier in one "
    "class than in the others (PETAL).",
)  # fmt: skip
@click.option(
    "--vocab", "vocabulary", default="words", show_default=True,
    help="Which words may be named: words, ascii, all, or a file with one word a line.",
)  # fmt: skip
@click.option("--ban", type=click.Path(), help="A file with words to leave out, one a line.")
@OBJECTIVE
@METRIC
@SEARCH_ROWS
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True,
    help="Sets of words that dev judges.",
)  # fmt: skip
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="DIR", callback=_folder,
    help="A new folder for a task with the best words, which --task takes.",
)  # fmt: skip
@JSON
def labels(
    texts: tuple[str, ...], ways: tuple[str, ...], vocabulary: str, ban: str | None, top: int,
    save: Path | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Search the words that the model is to write for each label.

    Words are found on the search rows and judged on dev, beside the task's own.

    \b
    hardprompt labels --task sentiment
    """
    from hardprompt.tasks.write import check_new, write_task

    if save is not None:
        check_new(save, "--save")  # before the work, not after
    prepare_libraries()
    from hardprompt.assess import UNSEARCHED
    from hardprompt.config import RunConfig
    from hardprompt.lengths import with_length
    from hardprompt.report.header import subject
    from hardprompt.report.labels import labels_report
    from hardprompt.session import Session, choose_template
    from hardprompt.tasks import draft_of
    from hardprompt.tasks.draft import whole_task
    from hardprompt.verbalizers.assess import assess_words, with_words
    from hardprompt.verbalizers.prepare import places
    from hardprompt.vocabulary import Vocabulary

    config = RunConfig(**UNSEARCHED | options)
    if (task := draft_of(config).task).writes:
        raise UsageError(f"task '{task.name}' has no labels to find words for: it wants texts")
    given = [(text,) for text in dict.fromkeys(texts)]
    if not given:
        config = with_length(config, choose_template(task, config.template)[1], usual=1)
    session = Session.prepare(config, given or None)
    if not as_json:
        click.echo(subject(session, session.example()) + "\n", err=True)
    words = Vocabulary.build(
        session.model.codec, len(session.model.embeddings), vocabulary,
        ban=None if ban is None else Path(ban),
    )  # fmt: skip
    results = assess_words(
        session, given or places(session), words, ways=tuple(dict.fromkeys(ways)), n=top
    )
    file, failed = None, None
    if save is not None:
        whole = whole_task(draft_of(config), config.seed)
        try:
            file = str(write_task(with_words(whole, session, results["found"][0]), save))
        except HardpromptError as error:
            failed = error  # what was found is told all the same
    if as_json:
        print_json(results)
    else:
        click.echo(labels_report(results, own_data=config.data is not None, file=file))
    if failed is not None:
        raise failed
