"""What a page is made of: sections of sentences, facts and tables, in no language of markup yet.

The same sections become Markdown (`as_markdown`) and HTML (`page`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import pandas as pd

MISSING: Final = "\N{EN DASH}"


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row.

    Attributes:
        caption: What one row is.
        headers: Names of the columns.
        rows: Cells as they are shown.
        numeric: Positions of the columns that hold numbers.
    """

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Facts:
    """Names and values, one line each."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        title: The heading.
        blocks: Sentences (text), facts and tables, in order.
    """

    title: str
    blocks: Sequence[str | Facts | Table] = field(default_factory=tuple)


def table(caption: str, frame: pd.DataFrame) -> Table:
    """Return a frame as a table: numbers are written with three digits that matter.

    Args:
        caption: What one row is.
        frame: Its columns' names are the headers.
    """
    numeric = {
        position
        for position, name in enumerate(frame.columns)
        if position and pd.api.types.is_numeric_dtype(frame[name])
    }
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return Table(caption, [str(name) for name in frame.columns], rows, frozenset(numeric))


def number(value: object) -> str:
    """Write a number: whole ones and large ones without decimals, others to three digits or so.

    A missing or infinite one becomes a dash.
    """
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return MISSING
    amount = float(value)  # type: ignore[arg-type]
    if not math.isfinite(amount):
        return MISSING
    if amount == round(amount) or abs(amount) >= 100:
        return f"{amount:,.0f}"
    written = f"{amount:.3f}" if abs(amount) < 1 else f"{amount:.2f}"
    return written.removeprefix("-") if float(written) == 0 else written


def counted(value: int, noun: str) -> str:
    """Write a number of things: `1 check`, `12,345 customers`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def written(day: date) -> str:
    """Write a date in words, so that no line breaks inside of it."""
    return f"{day.day}\N{NO-BREAK SPACE}{day:%B}\N{NO-BREAK SPACE}{day.year}"


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the sections as one Markdown document.

    Args:
        title: Its only heading of the first level.
        sections: In order.
    """
    lines = [f"# {title}"]
    for section in sections:
        lines += ["", f"## {section.title}"]
        for block in section.blocks:
            lines += ["", *_markdown(block)]
    return "\n".join(lines) + "\n"


def _markdown(block: str | Facts | Table) -> list[str]:
    if isinstance(block, str):
        return [block]
    if isinstance(block, Facts):
        return [f"- **{name}**: {value}" for name, value in block.items]
    rule = [
        "---:" if position in block.numeric else "---" for position in range(len(block.headers))
    ]
    rows = [block.headers, rule, *block.rows]
    written = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [f"{block.caption}:", "", *written]


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    return number(value)
