"""What a page is made of: sections of sentences, facts and tables, in no language of markup yet.

The same sections become Markdown (`as_markdown`) and HTML (`page`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

Write = Callable[[Any], str]
"""Returns a value as it is shown; `str` writes a text."""


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


Block = str | Facts | Table
"""A sentence, or what stands between sentences."""


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it."""

    title: str
    blocks: Sequence[Block]


def table(caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, Write]]) -> Table:
    """Return some columns of a frame as a table.

    Args:
        caption: What one row is.
        frame: The rows.
        columns: By heading a column's name and how its values are written; all but texts are
            numbers.
    """
    rows = [
        [write(row[name]) for name, write in columns.values()] for row in frame.to_dict("records")
    ]
    numeric = {position for position, (_, write) in enumerate(columns.values()) if write is not str}
    return Table(caption, list(columns), rows, frozenset(numeric))


def in_words(day: date) -> str:
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


def _markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [block]
    if isinstance(block, Facts):
        return [f"- **{name}**: {value}" for name, value in block.items]
    rule = [
        "---:" if position in block.numeric else "---" for position in range(len(block.headers))
    ]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (block.headers, rule, *block.rows)
    ]
    return [f"{block.caption}:", "", *lines]
