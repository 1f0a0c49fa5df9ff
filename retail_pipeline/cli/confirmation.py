"""The question before a command that removes data for good."""

import sys

import typer

from retail_pipeline.errors import UsageError


def confirm(question: str, refusal: str) -> None:
    """Ask on a terminal whether to go on; end the command with exit code 1 where the answer is no.

    Args:
        question: Ends with a question mark.
        refusal: The message where there is no terminal; it names the option that answers.

    Raises:
        UsageError: Nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError(refusal)
    typer.confirm(question, abort=True)
