"""The terminal of a command: what it prints, its questions, and signals that end it.

Everything that people read goes through a console of `open_console`, JSON through `print_json`.
"""

import json
import os
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retail_pipeline.errors import UsageError

_WIDTH_WITHOUT_TERMINAL = 120


class _Console(Console):
    """A console whose reader may leave (`retail-pipeline run | head`): the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


def open_console(file: TextIO | None = None) -> Console:
    """Return a console as wide as the terminal, and wide enough for tables where there is none."""
    console = _Console(file=file)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    return console


def print_json(outcome: Any) -> None:
    """Print JSON for machines."""
    typer.echo(json.dumps(outcome, indent=1))


def print_line(console: Console, words: str) -> None:
    """Print a line that may have markup; it is never folded, as paths are copied from it."""
    console.print(words, highlight=False, soft_wrap=True)


def check_output(option: str, path: Path | None, endings: Collection[str] = ()) -> None:
    """Refuse a file that could not be written, before any work is done.

    Args:
        option: Its option, for the message.
        path: The file; None where it is not wanted.
        endings: What its name may end in; anything by default.

    Raises:
        UsageError: The name has another ending, or the folder does not exist.
    """
    if path is None:
        return
    if endings and path.suffix not in endings:
        raise UsageError(f"{option} {path} must end in {' or '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of {option} {path} does not exist: make it first")


def unvalidated_mark(validated: bool, is_extrapolated: bool) -> str:
    """Return what is said of a model after its name; nothing where outcomes have tested it."""
    if is_extrapolated:
        return " [yellow](validated = false, extrapolated)[/]"
    return "" if validated else " [yellow](validated = false)[/]"


def as_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Return rows as a table: texts to the left, numbers to the right.

    Args:
        rows: At least one, by column.
        title: The heading of the first column; the others have their names, in narrow lines.
    """
    table = Table(box=None, pad_edge=False)
    for position, name in enumerate(rows[0]):
        heading = title if position == 0 else name.replace("_", "\n")
        is_text = isinstance(rows[0][name], str)
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:z.3f}"
    return "-" if value is None else escape(str(value))


@contextmanager
def quiet_output(log: Path, *, to_stderr: bool = False) -> Iterator[TextIO]:
    """Send what libraries and child processes print to a log; yield the real terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminals = os.dup(1), os.dup(2)
    with log.open("w") as file, os.fdopen(os.dup(2 if to_stderr else 1), "w") as terminal:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, kept in zip((1, 2), terminals, strict=True):
                os.dup2(kept, number)
                os.close(kept)


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


def stop_like_ctrl_c() -> None:
    """Make SIGTERM and SIGHUP do what Ctrl-C does, so that scratch databases are removed.

    A signal that the caller ignores, as under nohup, stays ignored.
    """
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, signal.default_int_handler)
