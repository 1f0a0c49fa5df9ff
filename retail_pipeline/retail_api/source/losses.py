"""The lines of a file that are not used, or not fully: lines, money and reasons; many stop the run.

A few stray lines are rejected. A systematic loss (a larger share of lines or of money, or all lines
of one kind) would make all totals wrong, so it stops the run before anything is stored.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from retail_pipeline.errors import UsageError
from retail_pipeline.retail_api.records import exact_sum
from retail_pipeline.wording import counted, share

USUAL_LIMIT = 0.01
"""The largest share of lines or money of stray lines: models and totals are less exact anyway."""

_STRAY_LINES = 1
_STRAY_MONEY = 0.1
"""A single lost line is always stray, unless it has this share of the money."""

_FEW = 2
"""The loss of all lines of one kind is systematic from this number of lines on."""

_FEWEST_FOR_SIGNS = 20
_MOST_REASONS = 8

Treatment = Literal["rejected", "no customer", "left out", "nulled", "sold", "refunded"]


@dataclass(frozen=True)
class Loss:
    """Lines that are not used, or not fully, for one reason.

    Attributes:
        treatment: `rejected` (the line), `left out` (by a rule of the profile), `no customer`
            (counted only as revenue), `nulled` (only a value of the line), `sold` (against the
            status of the line) or `refunded` (a sale and a return). Only the first two are lost.
        reason: The reason in words, without the file's values.
        lines: The number of lines.
        net_amount: The sum of their readable amounts, returns negative.
        unknown_amounts: The number of lines whose amount cannot be read.
        first_line: The number of the first line in the file.
    """

    treatment: Treatment
    reason: str
    lines: int
    net_amount: Decimal
    unknown_amounts: int
    first_line: int

    def as_json(self) -> dict[str, Any]:
        """Return the loss as JSON values."""
        return {**asdict(self), "net_amount": float(self.net_amount)}


@dataclass(frozen=True)
class Facts:
    """Amount and kinds of each line of a file, as arrays of one length.

    Attributes:
        amount: Its amount, returns negative; NaN if it cannot be read.
        digits: The number of digits of the amount before the decimal mark.
        splits: Groupings of the lines, by a text such as `lines of the country {}`: the label of
            each line, missing if unknown.
    """

    amount: np.ndarray
    digits: np.ndarray
    splits: Mapping[str, pd.Series]


def losses_by_reason(treatment: Treatment, lost: pd.DataFrame) -> Iterator[Loss]:
    """Yield the loss of each reason, the most frequent first; the rarest of many are combined.

    Args:
        treatment: What is done with the lines.
        lost: The lines: `kind` (the reason), `line` and `amount` (NaN if unknown).
    """
    reasons = lost["kind"].value_counts().index[:_MOST_REASONS]
    kinds = lost["kind"].where(lost["kind"].isin(reasons), "other reasons")
    for kind, rows in lost.groupby(kinds, sort=False):
        amount = rows["amount"].to_numpy()
        known = amount[np.isfinite(amount)]
        unknown = len(amount) - len(known)
        first = int(rows["line"].min())
        yield Loss(treatment, str(kind), len(rows), exact_sum(known), unknown, first)


def refuse_systematic_loss(
    path: Path, facts: Facts, lost: np.ndarray, examples: Sequence[str], limit: float | None
) -> None:
    """Raise an error if a file loses more than a few stray lines.

    Args:
        path: The file, for the message.
        facts: What is known of all lines.
        lost: A mask of the lost lines.
        examples: Three of them with their reasons.
        limit: The largest accepted share of lines and of money; with None, the usual limit holds,
            and no kind of lines may be lost as a whole.

    Raises:
        UsageError: The loss is larger; the message has its share, the examples and the remedy.
    """
    lines = int(lost.sum())
    if not lines:
        return
    of_lines, of_money = lines / len(lost), _share_of_money(facts.amount, lost)
    largest = max(of_lines, of_money)
    kind = _lost_kind(facts, lost) if limit is None else None
    is_stray = limit is None and lines <= _STRAY_LINES and of_money <= _STRAY_MONEY
    if kind is None and (is_stray or largest <= (USUAL_LIMIT if limit is None else limit)):
        return
    unknown = int(np.isnan(facts.amount[lost]).sum())
    money = f"{share(of_money, digits=1)} of the money that can be read"
    money += f"; {counted(unknown, 'amount')} cannot be read" if unknown else ""
    whole = f", among them {kind}" if kind else ""
    raise UsageError(
        f"{lines:,} of {len(lost):,} lines of {path} would be lost{whole} "
        f"({share(of_lines, digits=1)} of the lines, {money}): {'; '.join(examples)}. Correct the "
        "file, say how it is read (--columns, --profile, --date-order, --decimal), or go on "
        f"without these lines with --accept-loss {_accepted(largest)}"
    )


def refuse_nulled_column(
    path: Path, name: str, nulled: np.ndarray, given: np.ndarray, texts: Sequence[str], limit: float
) -> None:
    """Raise an error if more than a few values of an optional column cannot be read.

    Args:
        path: The file, for the message.
        name: The column.
        nulled: A mask of the lines with a value that cannot be read.
        given: A mask of the lines with a value.
        texts: Three such values.
        limit: The largest accepted share of them.

    Raises:
        UsageError: The share is larger.
    """
    count, values = int(nulled.sum()), int(given.sum())
    if count > _STRAY_LINES and count / values > limit:
        raise UsageError(
            f"{count:,} of {values:,} values of the column {name} of {path} are no numbers: "
            f"{', '.join(texts)}. Correct or leave out the column, say how it is read "
            "(--columns, --decimal), or go on without these values with --accept-loss "
            f"{_accepted(count / values)}"
        )


def refuse_exchanged_signs(path: Path, amount: np.ndarray) -> None:
    """Raise an error if a file has more money in returns than in sales.

    Args:
        path: The file, for the message.
        amount: The amounts of the used lines, returns negative.

    Raises:
        UsageError: Returns have more money, so the signs are probably exchanged.
    """
    sold, returned = float(amount[amount > 0].sum()), -float(amount[amount < 0].sum())
    if len(amount) >= _FEWEST_FOR_SIGNS and returned > sold:
        sales, returns = int((amount > 0).sum()), int((amount < 0).sum())
        raise UsageError(
            f"{path} has more returns than sales: {returns:,} lines with {returned:,.2f} against "
            f"{sales:,} lines with {sold:,.2f}. Sales have positive amounts and is_return false: "
            "exchange the signs, or go on with --accept-loss 1"
        )


def _accepted(lost: float) -> str:
    return f"{math.ceil(lost * 1000) / 1000:g}"


def _share_of_money(amount: np.ndarray, lost: np.ndarray) -> float:
    sizes = np.nan_to_num(np.abs(amount))
    total = float(sizes.sum())
    return float(sizes[lost].sum()) / total if total else 0.0


def _lost_kind(facts: Facts, lost: np.ndarray) -> str | None:
    """Return a description of a kind whose lines are all lost; None if there is none."""
    for name, labels in facts.splits.items():
        found = pd.Series(lost).groupby(labels).agg(["sum", "size"])
        whole = found[(found["sum"] == found["size"]) & (found["size"] >= _FEW)]
        if len(whole) and len(found) > 1:
            return f"all {whole['size'].iloc[0]:,} {name.format(whole.index[0])}"
    largest_used = facts.digits[~lost].max(initial=0)
    larger = int((facts.digits[lost] > largest_used).sum())
    digits = counted(largest_used, "digit")
    return f"all {larger:,} amounts of more than {digits}" if larger >= _FEW else None
