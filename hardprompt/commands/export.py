"""`hardprompt export`: a found prompt, to be used elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from hardprompt.commands.options import NUMBER, OUTPUT_DIR, RUN


@click.command()
@RUN
@click.option(
    "--to", type=click.Choice(["text", "json", "python", "transformers"]), default="text",
    show_default=True, help="Text to paste, prompt.json, or a script that answers lines of text.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path),
    help="The file to write; by default standard output.",
)  # fmt: skip
@NUMBER
@OUTPUT_DIR
def export(run: str | None, to: str, output: Path | None, number: int, output_dir: Path) -> None:
    """Write a found prompt for use elsewhere: of RUN, or of the latest.

    RUN is a run's name or folder, a prompt.json, or the word latest.

    \b
    hardprompt export latest --to transformers --output classify.py
    """
    from hardprompt.exports import exported
    from hardprompt.files import written_whole
    from hardprompt.prompt import find_prompt

    content = exported(find_prompt(run, output_dir, number - 1), to)
    if output is None:
        click.echo(content.encode(), nl=False)  # like a file, whatever the terminal's settings are
        return
    with written_whole(output) as file:
        file.write(content)
