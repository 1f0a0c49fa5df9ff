"""The first page of the report: total, segments, late customers, moves between segments, doubts.

Customers are counted, never named, so that the page can be mailed.
"""

from collections.abc import Sequence
from textwrap import shorten
from typing import Final

import pandas as pd

from retail_pipeline.report.check_results import OUTCOMES, CheckResult, summary
from retail_pipeline.report.document import Block, Code, Facts, Section, Write, in_words, table
from retail_pipeline.report.facts import RunFacts
from retail_pipeline.report.totals import NOT_TESTED, outside, year_before
from retail_pipeline.wording import MISSING, counted, number, share

MOST_DOUBTS: Final = 6
"""Checks that the first page names; the section on data checks has all of them."""

LONGEST_DOUBT: Final = 320
"""Characters of a check's description on the first page."""

_BY_NAME: Final = """\
retail-pipeline psql -c "
  select customer_id, predicted_value, days_overdue from clv.current_predictions
  where days_overdue > 0 order by predicted_value desc limit 20"
retail-pipeline customer CUSTOMER_ID"""


def subtitle(run: RunFacts) -> str:
    """Return the subtitle of the report: its period, source and model."""
    model = run.model_name + (", extrapolated" if run.is_extrapolated else "")
    return (
        f"Transactions to {run.data['last_day']:%Y-%m-%d}, and the value predicted for "
        f"{counted(run.horizon_days, 'day')} after {run.as_of}. Source: {run.source}. "
        f"Model: {model}."
    )


def sections(run: RunFacts, results: Sequence[CheckResult]) -> list[Section]:
    """Return the first page: total, segments, late customers, moves between segments, doubts.

    Args:
        run: Facts of the run.
        results: Results of the checks.
    """
    return [
        Section("", _total(run)),
        Section("Segments", _segments(run)),
        Section("Who is late", _late(run)),
        Section("What moved", _moved(run)),
        Section("What not to trust", _doubts(run, results)),
    ]


def _total(run: RunFacts) -> list[Block]:
    buyers, customers = round(run.predictions["expected_active"]), int(run.predictions["customers"])
    days, total = counted(run.horizon_days, "day"), run.total
    facts = [("Predicted value", run.money(run.predictions["predicted_value"]))]
    plan = ""
    if total:
        then = year_before(total["predicted_year_ago"], total["actual_year_ago"], run.money)
        facts += [
            ("8 times in 10 it lies in", _ends(run, total["lower_80"], total["upper_80"])),
            (f"They spent in the {days} before", run.money(total["actual_before"])),
            (
                "A year before",
                "not tested" if then == NOT_TESTED else then.removeprefix("a year before "),
            ),
        ]
        names = ("predicted_value", "lower_80", "upper_80", "expected_buyers")
        why = outside(*(float(total[name]) for name in names))
        plan = f" About the predicted value: {why}." if why else " Plan with the range."
        if total["model_year_ago"] not in (None, run.model_name):
            plan += f" A year before, {total['model_year_ago']} was tested, which has no season."
    facts.append(("Expected to buy", f"{number(buyers)} of {counted(customers, 'customer')}"))
    return [
        Facts(facts),
        f"The total is what the {counted(customers, 'customer')} of today are expected to spend "
        f"in the next {days}, returns deducted. Purchases of new customers come on top. The days "
        f"before include many first purchases, so the two amounts differ.{plan}",
    ]


def _ends(run: RunFacts, lower: float, upper: float) -> str:
    return MISSING if pd.isna(lower) else f"{number(lower)} to {run.money(upper)}"


def _segments(run: RunFacts) -> list[Block]:
    before = run.earlier.set_index("segment")["predicted_value"].astype(float)
    frame = run.segments.assign(
        ends=[
            _ends(run, *ends)
            for ends in zip(run.segments["lower_80"], run.segments["upper_80"], strict=True)
        ],
        change=[
            share(float(value) / before[name] - 1, sign="+") if before.get(name, 0) else "new"
            for name, value in zip(
                run.segments["segment"], run.segments["predicted_value"], strict=True
            )
        ],
        action=run.segments["action"].fillna(MISSING),
    )
    columns: dict[str, tuple[str, Write]] = {
        "Segment": ("segment", str),
        "Customers": ("customers", number),
        "Predicted value": ("predicted_value", run.money),
        "Share": ("share_of_value", share),
        "Range": ("ends", "{}".format),
    }
    caption = "The segments, most valuable first; ranges hold 8 times in 10"
    if len(before):
        columns["Change"] = ("change", "{}".format)
        caption += f"; change of the value since {in_words(run.earlier['as_of_date'].iloc[0])}"
    return [
        table(
            caption,
            frame,
            columns | {"What to do": ("action", str)},
        ),
        "High value are the two tenths of customers with the highest predicted value, medium the "
        "next four, low the rest. Active customers are more likely than not to buy within half a "
        "year, dormant ones with less than one chance in five. The suggestions follow from the "
        "segment alone.",
    ]


def _late(run: RunFacts) -> list[Block]:
    if not run.predictions["repeat_customers"]:
        return ["No customer of high value has ordered on two days, so nobody has a usual gap."]
    if run.late.empty:
        return ["No customer of high value is late."]
    return [
        table(
            "Customers of high value who have not ordered for longer than usual for them",
            run.late,
            {
                "Late by": ("late_by", str),
                "Customers": ("customers", number),
                "Predicted value": ("predicted_value", run.money),
            },
        ),
        "Usual is the median time between orders that the model expects from the customer's own "
        "purchases. The predicted value already allows for the delay: it is the amount that a "
        "contact may still save. The most valuable of them by name, and one of them in full:",
        Code(_BY_NAME),
    ]


def _moved(run: RunFacts) -> list[Block]:
    blocks: list[Block] = ["There is no earlier prediction over this horizon to compare with."]
    if len(run.earlier):
        before, after = run.earlier["predicted_value"].sum(), run.predictions["predicted_value"]
        change = share(float(after) / float(before) - 1, sign="+") if before else MISSING
        blocks = [
            f"Since the prediction of {in_words(run.earlier['as_of_date'].iloc[0])} the total went "
            f"from {run.money(before)} to {run.money(after)} ({change}), and the customers from "
            f"{number(run.earlier['customers'].sum())} to {number(run.predictions['customers'])}."
        ]
    if run.moves.empty:
        return blocks
    return [
        *blocks,
        table(
            f"Largest moves between segments since {in_words(run.moves['since_date'].iloc[0])}, "
            "those of high value first",
            run.moves,
            {
                "From": ("label_before", str),
                "To": ("label_after", str),
                "Customers": ("customers", number),
                "Without a purchase": ("customers_without_purchase", number),
            },
        ),
        "The model of today scores both dates, so a move is a change of the customer, not of the "
        "model. Those without a purchase moved because time went by.",
    ]


def _doubts(run: RunFacts, results: Sequence[CheckResult]) -> list[Block]:
    """Return the reasons to doubt the numbers: an untested model, and checks that did not pass."""
    words = []
    if run.is_extrapolated:
        words.append("No past outcome is as long as the horizon: nothing has tested the numbers.")
    elif not run.decision["validated"]:
        words.append("No past outcome has confirmed the model: take its numbers as a guess.")
    doubted = [each for each in results if each.outcome in ("failed", "warned")]
    doubted.sort(key=lambda each: OUTCOMES.index(each.outcome), reverse=True)
    for each in doubted[:MOST_DOUBTS]:
        finding = shorten(each.description or "no description", LONGEST_DOUBT, placeholder=" …")
        name = f"{each.asset}, {each.check}"
        if finding.split()[0].isalpha():  # not a name such as pareto_nbd
            finding = finding[0].upper() + finding[1:]
        words.append(f"{finding} ({each.outcome}: {name})")
    if len(doubted) > MOST_DOUBTS:
        words.append(f"{len(doubted) - MOST_DOUBTS} more are under Data checks.")
    if not words:
        words.append("No reason to doubt the numbers is known.")
    return [*words, summary(results) if results else "No check was evaluated."]
