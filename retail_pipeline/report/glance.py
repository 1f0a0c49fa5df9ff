"""The first page of the report: the total, the segments, who is late, what not to trust."""

from collections.abc import Sequence
from textwrap import shorten
from typing import Final

import pandas as pd

from retail_pipeline.report.check_results import OUTCOMES, CheckResult
from retail_pipeline.report.document import Facts, Section, Table, table
from retail_pipeline.report.facts import RunFacts
from retail_pipeline.report.totals import outside, year_before
from retail_pipeline.wording import MISSING, counted, number, share

MOST_DOUBTS: Final = 6
"""Checks that the first page names; the section on data checks has all of them."""

LONGEST_DOUBT: Final = 200
"""Characters of a check's description on the first page."""


def subtitle(run: RunFacts) -> str:
    """Return the subtitle of the report: its period and source."""
    return (
        f"Transactions to {run.data['last_day']:%Y-%m-%d}, and the value predicted for "
        f"{counted(run.horizon_days, 'day')} after {run.as_of}. Source: {run.source}."
    )


def sections(run: RunFacts, results: Sequence[CheckResult]) -> list[Section]:
    """Return the first page: the total, segments, who is late, and what not to trust.

    Args:
        run: Facts of the run.
        results: Results of the checks.
    """
    return [
        Section("", [_key_numbers(run, results), *_outside(run)]),
        Section("Segments", [_segments(run)]),
        Section("Who is late", [_late(run)]),
        Section("What not to trust", _doubts(run, results)),
    ]


def _key_numbers(run: RunFacts, results: Sequence[CheckResult]) -> Facts:
    means = run.spread.set_index("metric")["mean"]
    passed = sum(each.outcome == "passed" for each in results)
    buyers, customers = round(run.predictions["expected_active"]), run.predictions["customers"]
    return Facts(
        [
            ("Predicted value", run.money(run.predictions["predicted_value"])),
            *_range(run),
            ("Expected to buy", f"{number(buyers)} of {counted(int(customers), 'customer')}"),
            ("Served model", run.model_name + (", extrapolated" if run.is_extrapolated else "")),
            ("Ranking (normalized Gini, past)", number(means.get("normalized_gini"))),
            ("Past outcomes inside the 80 % interval", share(means.get("coverage_80"))),
            ("Checks passed", f"{passed} of {len(results)}"),
        ]
    )


def _range(run: RunFacts) -> list[tuple[str, str]]:
    """Return the range of the total and the same date a year before; nothing without totals."""
    total = run.total
    if not total:
        return []
    then = year_before(total["predicted_year_ago"], total["actual_year_ago"], run.money)
    return [
        ("8 times in 10 it lies in", _ends(run, total["lower_80"], total["upper_80"])),
        ("A year before", then.removeprefix("a year before ")),
    ]


def _outside(run: RunFacts) -> list[str]:
    total = run.total
    if not total:
        return []
    names = ("predicted_value", "lower_80", "upper_80", "expected_buyers")
    why = outside(*(float(total[name]) for name in names))
    return [f"About the predicted value: {why}."] if why else []


def _ends(run: RunFacts, lower: float, upper: float) -> str:
    return MISSING if pd.isna(lower) else f"{number(lower)} to {run.money(upper)}"


def _segments(run: RunFacts) -> Table:
    return table(
        "The segments, most valuable first; ranges hold 8 times in 10",
        run.segments.assign(
            ends=[
                _ends(run, *ends)
                for ends in zip(run.segments["lower_80"], run.segments["upper_80"], strict=True)
            ]
        ),
        {
            "Segment": ("segment", str),
            "Customers": ("customers", number),
            "Predicted value": ("predicted_value", run.money),
            "Share": ("share_of_value", share),
            "Range": ("ends", "{}".format),
        },
    )


def _late(run: RunFacts) -> str:
    late = run.late
    if not late["repeat_customers"]:
        return "No customer of high value has ordered on more than one day: nobody has a rhythm."
    if not late["customers"]:
        return "No customer of high value is late."
    are = "customer of high value is" if late["customers"] == 1 else "customers of high value are"
    return (
        f"{late['customers']:,} {are} late: longer without an order than usual for the customer. "
        f"They are worth {run.money(late['predicted_value'])} of the predicted value. "
        "By name: clv.predictions where days_overdue is above 0."
    )


def _doubts(run: RunFacts, results: Sequence[CheckResult]) -> list[str]:
    """Return what speaks against the numbers: an untested model, and checks that did not pass."""
    words = []
    if run.is_extrapolated:
        words.append("No past outcome is as long as the horizon: nothing has tested the numbers.")
    elif not run.decision["validated"]:
        words.append("No past outcome has confirmed the model: take its numbers as a guess.")
    doubted = [each for each in results if each.outcome in ("failed", "warned")]
    doubted.sort(key=lambda each: OUTCOMES.index(each.outcome), reverse=True)
    for each in doubted[:MOST_DOUBTS]:
        told = shorten(each.description or "no description", LONGEST_DOUBT, placeholder=" …")
        words.append(f"{told} ({each.outcome}: {each.asset}, {each.check})")
    if len(doubted) > MOST_DOUBTS:
        words.append(f"{len(doubted) - MOST_DOUBTS} more are under Data checks.")
    if not results:
        words.append("No check was evaluated.")
    return words or ["Every check that ran has passed."]
