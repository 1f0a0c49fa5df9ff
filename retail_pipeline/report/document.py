"""Parts of a page, independent of markup: sections of sentences, facts and tables.

The same sections are rendered as Markdown (`as_markdown`) and as HTML (`page`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

Write = Callable[[Any], str]
"""Function that returns the text of a value; `str` for texts."""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row.

    Attributes:
        caption: Title of the table.
        headers: Headings of the columns.
        rows: Texts of the cells.
        numeric: Positions of the columns of numbers.
        marks: Positions of the columns of `wording.span`, which need a font of fixed width.
    """

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    marks: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Facts:
    """Pairs of name and value, one line each."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Commands to copy."""

    text: str


Block = str | Facts | Table | Code
"""A paragraph, a list of facts, a table or commands."""


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it."""

    title: str
    blocks: Sequence[Block]


def table(caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, Write]]) -> Table:
    """Return some columns of a frame as a table.

    Args:
        caption: Title of the table.
        frame: The rows.
        columns: For each heading, the column's name and the function that writes its values;
            columns not written by `str` or `as_marks` are numbers.
    """
    rows = [
        [write(row[name]) for name, write in columns.values()] for row in frame.to_dict("records")
    ]
    writers = [write for _, write in columns.values()]
    marks = {position for position, write in enumerate(writers) if write is as_marks}
    numeric = {position for position, write in enumerate(writers) if write is not str} - marks
    return Table(caption, list(columns), rows, frozenset(numeric), frozenset(marks))


def as_marks(line: str) -> str:
    """Return a line of marks as it is; `table` gives its column a font of fixed width."""
    return line


def in_words(day: date) -> str:
    """Return a date in words, unbreakable: `1 June 2011`."""
    return f"{day.day}\N{NO-BREAK SPACE}{day:%B}\N{NO-BREAK SPACE}{day.year}"


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the sections as one Markdown document.

    Args:
        title: The only heading of the first level.
        sections: The sections in order.
    """
    lines = [f"# {title}"]
    for section in sections:
        lines += ["", f"## {section.title}"] if section.title else []
        for block in section.blocks:
            lines += ["", *_markdown(block)]
    return "\n".join(lines) + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [block]
    if isinstance(block, Code):
        return [f"    {line}" for line in block.text.splitlines()]
    if isinstance(block, Facts):
        return [f"- **{name}**: {value}" for name, value in block.items]
    rule = [
        "---:" if position in block.numeric else "---" for position in range(len(block.headers))
    ]
    rows = [
        [f"`{cell}`" if place in block.marks else cell for place, cell in enumerate(row)]
        for row in block.rows
    ]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (block.headers, rule, *rows)
    ]
    return [f"{block.caption}:", "", *lines]
