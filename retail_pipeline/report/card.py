"""The model card: the served model, its quality, its use and its limits.

In the order of Mitchell et al., Model Cards for Model Reporting (2019). Every number is a run's;
the sentences say only what holds for each run.
"""

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from retail_pipeline.report.document import (
    MISSING,
    Facts,
    Section,
    Table,
    as_markdown,
    counted,
    number,
    table,
    written,
)
from retail_pipeline.report.facts import METRICS, RunFacts

MEANINGS: Final = {
    "normalized_gini": ("Gini", "ranking, 1 is perfect"),
    "tweedie_deviance": ("Deviance", "the measure that models are chosen by, lower is better"),
    "mae_over_mean": ("MAE/mean", "absolute error over the mean outcome"),
    "r2": ("R2", "explained variance, decided by the largest customers"),
    "bias": ("Bias", "predicted over actual total, 1 is right"),
    "coverage_80": ("Coverage", "outcomes inside the 80 % interval, .8 is right"),
}
"""Each metric's name on the page, and what it means."""

_SHOWN_DRIFT = 10
_SHOWN_DATES = 12


def title(facts: RunFacts) -> str:
    """Return the card's heading."""
    horizon = counted(facts.horizon_days, "day")
    return f"Model card: customer value over {horizon} as of {written(facts.as_of)}"


def markdown(facts: RunFacts) -> str:
    """Return the card as a Markdown document."""
    return as_markdown(title(facts), sections(facts))


def sections(facts: RunFacts) -> Sequence[Section]:
    """Return the card's sections, in order."""
    return [
        Section("Model", [_model(facts), str(facts.decision["reason"])]),
        Section("Use", _USE),
        Section("Data", [_data(facts)]),
        Section("How good it is", _quality(facts)),
        Section("Segments", _segments(facts)),
        Section("What it reads", _importance(facts)),
        Section("Drift", _drift(facts)),
        Section("Realised against predicted", _realised(facts)),
        Section("Limits", [*_limits(facts)]),
    ]


_USE: Final = (
    "It ranks customers and sizes groups of them: whom to keep, whom to win back, what a segment "
    "is worth. One customer's amount is an expectation; its interval says how little is known.",
    "It is not made for decisions on prices, credit or access that concern a single person. It "
    "knows a customer by a pseudonym and by purchases; name, address, age and sex are not there.",
)


def _model(facts: RunFacts) -> Facts:
    decision = facts.decision
    trained = decision["trained_at"]
    return Facts(
        [
            ("Served model", facts.model_name),
            ("Version", str(decision["model_version"])),
            (
                "Confirmed by past outcomes",
                "yes" if decision["validated"] else "no: it serves for want of a better one",
            ),
            ("Training sample", _training_sample(decision)),
            ("Trained", MISSING if pd.isna(trained) else f"{trained:%Y-%m-%d %H:%M} UTC"),
            (
                "Predicts",
                f"net amount of the next {counted(facts.horizon_days, 'day')}, returns deducted",
            ),
            (
                "Reach of the data",
                "shorter than the horizon: extrapolated"
                if facts.is_extrapolated
                else "past outcomes as long as the horizon are complete",
            ),
        ]
    )


def _training_sample(decision: dict[str, Any]) -> str:
    rows = f"{number(decision['training_rows'])} rows"
    one_in = decision["one_customer_in"]
    if pd.isna(one_in) or one_in == 1:
        return rows
    return f"{rows}, of one customer in {number(one_in)}"


def _data(facts: RunFacts) -> Facts:
    data = facts.data
    return Facts(
        [
            ("Source", facts.source),
            ("Period", f"{str(data['first_day'])[:10]} to {str(data['last_day'])[:10]}"),
            ("Known before", f"{facts.as_of}, 00:00 UTC"),
            ("Transactions", number(data["transactions"])),
            ("Customers with a transaction", number(data["customers"])),
            ("Net amount", facts.money(data["net_amount"])),
            ("Customers predicted", number(facts.predictions["customers"])),
            ("Predicted value in all", facts.money(facts.predictions["predicted_value"])),
            *_other_amounts(facts),
        ]
    )


def _other_amounts(facts: RunFacts) -> Sequence[tuple[str, str]]:
    """Return the predicted value's other amounts, as far as there are any."""
    found, rate = facts.predictions, facts.discount_rate
    at_rate = f"discounted at {100 * rate:.4g} % a year"
    lines = [(f"The same, {at_rate}", facts.money(found["discounted_value"]))] if rate else []
    if not facts.has_margin:
        return [*lines, ("Predicted gross margin", "no product costs known")]
    lines.append(("Predicted gross margin in all", facts.money(found["predicted_margin"])))
    if rate:
        lines.append((f"The margin, {at_rate}", facts.money(found["discounted_margin"])))
    return lines


def _quality(facts: RunFacts) -> list[str | Facts | Table]:
    if facts.spread.empty:
        return [
            "No past cut-off has a complete outcome yet, so nothing is known of its errors: the "
            "predictions are unconfirmed.",
            *([_EXTRAPOLATED] if facts.is_extrapolated else []),
        ]
    blocks: list[str | Facts | Table] = [
        "Measured out of time: at past cut-offs, with models fitted to what was known before them."
    ]
    spread = facts.spread.set_index("metric")
    blocks.append(
        Table(
            "A metric of the served model over the past cut-offs",
            ("Metric", "Mean", "Lowest", "Highest", "Meaning"),
            [
                [
                    *(MEANINGS[name][0], *(number(spread.loc[name, kind]) for kind in _KINDS)),
                    MEANINGS[name][1],
                ]
                for name in METRICS
                if name in spread.index
            ],
            frozenset({1, 2, 3}),
        )
    )
    if len(facts.uncertainty):
        day = facts.uncertainty["cutoff_date"].iloc[0].date()
        blocks.append(
            Table(
                f"The same at the latest cut-off, {day}, with what chance does to it "
                "(95 % intervals, bootstrap over customers)",
                ("Metric", "Value", "From", "To"),
                [
                    [
                        MEANINGS[row["metric"]][0],
                        *(number(row[name]) for name in ("value", "low", "high")),
                    ]
                    for row in facts.uncertainty.to_dict("records")
                ],
                frozenset({1, 2, 3}),
            )
        )
    if len(facts.leaderboard):
        shown = ["model_name", *(name for name in METRICS if name in facts.leaderboard)]
        names = {"model_name": "Model"} | {name: short for name, (short, _) in MEANINGS.items()}
        board = facts.leaderboard[shown].rename(columns=names)
        blocks.append(table("A model: mean metrics over the common cut-offs", board))
    return blocks


_KINDS: Final = ("mean", "lowest", "highest")

_EXTRAPOLATED: Final = (
    "The horizon is longer than any complete outcome in the data. Values and intervals are the "
    "model's own, carried beyond what anyone has seen: the intervals hold the chance in purchases "
    "and their values, not that its parameters are wrong or that the shop changes. Whether they "
    "hold four outcomes in five, nothing has tested."
)


def _segments(facts: RunFacts) -> list[str | Facts | Table]:
    amounts = _amounts_of_segments(facts)
    rows = [
        [
            *(row["segment"], number(row["customers"]), facts.money(row["predicted_value"])),
            *(facts.money(row[name]) for name in amounts),
            *(f"{row['share_of_value']:.0%}", facts.money(row["past_mean_value"])),
        ]
        for row in facts.segments.to_dict("records")
    ]
    headers = (
        *("Segment", "Customers", "Predicted value"),
        *amounts.values(),
        *("Share", "Past net revenue on average"),
    )
    return [
        "Value is a decile of predicted value (high 9-10, medium 5-8, low 1-4), activity the "
        "probability of a purchase within half a year (active from .5, fading from .2).",
        Table(
            "A segment of the served predictions", headers, rows, frozenset(range(1, len(headers)))
        ),
    ]


def _amounts_of_segments(facts: RunFacts) -> dict[str, str]:
    """Return the columns that say more than predicted value, with their headers."""
    columns = {}
    if facts.discount_rate:
        columns["discounted_value"] = "Discounted"
    if facts.has_margin:
        columns["predicted_margin"] = "Margin"
    if facts.discount_rate and facts.has_margin:
        columns["discounted_margin"] = "Margin, discounted"
    return columns


def _importance(facts: RunFacts) -> list[str | Facts | Table]:
    if facts.importance.empty:
        return [
            f"Nothing has been measured for {facts.model_name}: that takes a past cut-off whose "
            "outcome is complete and tells one prediction from another."
        ]
    first = facts.importance.iloc[0]
    # Plus zero: a rounded negative nothing is nothing.
    rows = [
        [
            row["feature_group"],
            f"{round(row['deviance_increase'], 3) + 0.0:+.1%}",
            f"{round(row['gini_loss'], 3) + 0.0:+.3f}",
        ]
        for row in facts.importance.to_dict("records")
    ]
    headers = ("Group", "Deviance", "Gini lost")
    return [
        f"How much worse it predicts from {str(first['cutoff_date'])[:10]} when a group of "
        f"features is shuffled among {counted(first['customers'], 'customer')}: what it leans on, "
        "which is not what makes people buy.",
        Table("A group of features", headers, rows, frozenset({1, 2})),
    ]


def _drift(facts: RunFacts) -> list[str | Facts | Table]:
    if facts.drift.empty:
        return ["Nothing earlier is there to compare with."]
    rows = [
        [row["quantity"], f"{row['stability_index']:.3f}", _REFERENCES[row["reference"]]]
        for row in facts.drift.head(_SHOWN_DRIFT).to_dict("records")
    ]
    headers = ("Quantity", "Stability index", "Compared with")
    return [
        "Population stability index: below .1 little has changed, from .25 on it is another "
        "population. Compared with the customers of the training sample, and with those of the "
        "date before. A shop that grows older moves ages and recencies by itself.",
        Table("What has moved most", headers, rows, frozenset({1})),
    ]


_REFERENCES: Final = {
    "training": "training",
    "previous": "the date before",
}


def _realised(facts: RunFacts) -> list[str | Facts | Table]:
    if facts.realised.empty:
        return [f"No prediction over {counted(facts.horizon_days, 'day')} has come due yet."]
    rows = [
        [
            *(str(row["as_of_date"])[:10], row["origin"], number(row["customers"])),
            *(facts.money(row["predicted_value"]), facts.money(row["realised_value"])),
            *(number(row["predicted_over_realised"]), f"{row['share_inside_80']:.0%}"),
        ]
        for row in facts.realised.head(_SHOWN_DATES).to_dict("records")
    ]
    headers = (
        *("From", "Origin", "Customers", "Predicted", "Realised"),
        *("Predicted ÷ realised", "Inside 80 %"),
    )
    return [Table("A date whose horizon has passed", headers, rows, frozenset({2, 3, 4, 5, 6}))]


def _limits(facts: RunFacts) -> Sequence[str]:
    known = [
        "Predictions repeat the past: a new competitor, a price change or a closed shop is not in "
        "them until customers have answered to it.",
        "New customers are not in them: the total is that of the people who have bought before, "
        "not a forecast of sales.",
        "Seasons are known from the months before; with less than two years of data, one season "
        "stands for all.",
        "The largest customers decide totals and squared errors; an interval for one of them is "
        "wide.",
    ]
    if facts.has_margin:
        known.append(
            "Margin is what the cost of goods leaves; marketing, shipping and staff are not "
            "deducted. The share is that of past purchases, whatever they will cost."
        )
    if not facts.decision["validated"]:
        known.insert(0, "No past outcome has confirmed this model: treat amounts as rough.")
    return known
