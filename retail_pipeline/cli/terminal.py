"""The terminal of a command: output, questions, and signals that end the command.

Text for people is printed with a console of `open_console`, JSON with `print_json`.
"""

import codecs
import json
import locale
import os
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from retail_pipeline.errors import UsageError
from retail_pipeline.files import private_folder, usable_file

_PLAIN = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "·": "-",
        "─": "-",
        "…": "...",
        "÷": "/",
        "£": "GBP ",
        "€": "EUR ",
    }
)
"""What is printed where a terminal's encoding lacks a symbol; for others it is a question mark."""

_WIDTH_WITHOUT_TERMINAL = 120
_WIDEST = 1_000
_SMALLEST_WITH_DECIMALS = 0.0005
_ROUNDING_ERROR = 1e-12


class _Console(Console):
    """A console that ignores a closed pipe (`retail-pipeline run | head`): the run continues."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


def use_encoding_of_terminal() -> None:
    """Let no symbol fail in a terminal that is not UTF-8; files are read and written as UTF-8.

    In another locale the process is replaced by one in Python's UTF-8 mode, as are its children.
    """
    encoding = sys.stdout.encoding
    if not sys.flags.utf8_mode and codecs.lookup(locale.getencoding()).name != "utf-8":
        os.environ |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": f"{encoding}:replace"}
        arguments = ["-m", "retail_pipeline.cli", *sys.argv[1:]]
        os.execv(sys.executable, [sys.executable, *arguments])
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(each if each.isascii() else "?" for each in text), error.end


def open_console(file: TextIO | None = None) -> Console:
    """Return a console as wide as the terminal, or wide enough for tables without a terminal."""
    console = _Console(file=file)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    return console


def print_json(outcome: Any) -> None:
    """Print JSON for machines."""
    typer.echo(json.dumps(outcome, indent=1))


def print_line(console: Console, words: str) -> None:
    """Print a line, which may have markup, without wrapping, so that paths can be copied."""
    console.print(words, highlight=False, soft_wrap=True)


def check_output(option: str, path: Path | None, endings: Collection[str] = ()) -> None:
    """Raise a UsageError for a file that cannot be written, before any work is done.

    Args:
        option: The option with the file, for the message.
        path: The file; None if the option was not used.
        endings: Allowed endings of the name; any by default.

    Raises:
        UsageError: The name has another ending, or the folder does not exist.
    """
    if path is None:
        return
    if endings and path.suffix not in endings:
        raise UsageError(f"{option} {path} must end in {' or '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of {option} {path} does not exist: create it first")


def unvalidated_mark(validated: bool, is_extrapolated: bool) -> str:
    """Return the mark after a model's name; empty if past outcomes have validated the model."""
    if is_extrapolated:
        return " [yellow](validated = false, extrapolated)[/]"
    return "" if validated else " [yellow](validated = false)[/]"


def print_table(console: Console, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print rows as a table, with texts left-aligned and numbers right-aligned.

    A table that is wider than the terminal keeps its labels; the terminal wraps the lines.

    Args:
        console: The console.
        rows: At least one row; values by column.
        title: Heading of the first column; other columns have their names as headings.
    """
    table = Table(box=None, pad_edge=False)
    for position, name in enumerate(rows[0]):
        heading = title if position == 0 else name.replace("_", "\n")
        is_text = isinstance(rows[0][name], str)
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    unlimited = console.options.update(width=_WIDEST)
    table.width = Measurement.get(console, unlimited, table).maximum
    console.print(table, crop=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if _ROUNDING_ERROR < abs(value) < _SMALLEST_WITH_DECIMALS:
            return f"{value:.2e}"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:z.3f}"
    return "-" if value is None else escape(str(value))


@contextmanager
def quiet_output(log: Path, *, to_stderr: bool = False) -> Iterator[TextIO]:
    """Redirect output of libraries and child processes to a log; yield the real terminal."""
    private_folder(log.parent)
    sys.stdout.flush()
    sys.stderr.flush()
    terminals = os.dup(1), os.dup(2)
    out = sys.stderr if to_stderr else sys.stdout
    descriptor = os.dup(2 if to_stderr else 1)
    with (
        usable_file(log).open("w", encoding="utf-8") as file,
        os.fdopen(descriptor, "w", encoding=out.encoding, errors=out.errors) as terminal,
    ):
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
    """Ask on the terminal whether to continue; if not, end the command with exit code 1.

    Args:
        question: A question with its question mark.
        refusal: The error message without a terminal; it names the option to use instead.

    Raises:
        UsageError: There is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(refusal)
    typer.confirm(question, abort=True)


def stop_like_ctrl_c() -> None:
    """Make SIGTERM and SIGHUP act like Ctrl-C, so that scratch databases are removed.

    A signal that is already ignored, as under nohup, stays ignored.
    """
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, signal.default_int_handler)
