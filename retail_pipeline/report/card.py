"""The model card: the served model, its quality, its use and its limits.

In the order of Mitchell et al., Model Cards for Model Reporting (2019). Every number is a run's;
the sentences say only what holds for each run.
"""

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from retail_pipeline.report.document import Block, Facts, Section, as_markdown, in_words, table
from retail_pipeline.report.facts import METRICS, RunFacts
from retail_pipeline.wording import MISSING, counted, number, share

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
    return f"Model card: customer value over {horizon} as of {in_words(facts.as_of)}"


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
        Section("Limits", _limits(facts)),
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
    data, found, rate = facts.data, facts.predictions, facts.discount_rate
    at_rate = f"discounted at {100 * rate:.4g} % a year"
    items = [
        ("Source", facts.source),
        ("Period", f"{data['first_day']:%Y-%m-%d} to {data['last_day']:%Y-%m-%d}"),
        ("Known before", f"{facts.as_of}, 00:00 UTC"),
        ("Transactions", number(data["transactions"])),
        ("Customers with a transaction", number(data["customers"])),
        ("Net amount", facts.money(data["net_amount"])),
        ("Customers predicted", number(found["customers"])),
        ("Predicted value in all", facts.money(found["predicted_value"])),
    ]
    if rate:
        items.append((f"The same, {at_rate}", facts.money(found["discounted_value"])))
    if not facts.has_margin:
        return Facts([*items, ("Predicted gross margin", "no product costs known")])
    items.append(("Predicted gross margin in all", facts.money(found["predicted_margin"])))
    if rate:
        items.append((f"The margin, {at_rate}", facts.money(found["discounted_margin"])))
    return Facts(items)


def _quality(facts: RunFacts) -> list[Block]:
    if facts.spread.empty:
        return [
            "No past cut-off has a complete outcome yet, so nothing is known of its errors: the "
            "predictions are unconfirmed.",
            *([_EXTRAPOLATED] if facts.is_extrapolated else []),
        ]
    names = {name: short for name, (short, _) in MEANINGS.items()}
    meanings = {name: meaning for name, (_, meaning) in MEANINGS.items()}
    spread = facts.spread.set_index("metric").reindex(METRICS).dropna(how="all").reset_index()
    blocks: list[Block] = [
        "Measured out of time: at past cut-offs, with models fitted to what was known before them.",
        table(
            "A metric of the served model over the past cut-offs",
            spread.assign(name=spread["metric"].map(names), meaning=spread["metric"].map(meanings)),
            {
                "Metric": ("name", str),
                **{kind.capitalize(): (kind, number) for kind in ("mean", "lowest", "highest")},
                "Meaning": ("meaning", str),
            },
        ),
    ]
    if len(facts.uncertainty):
        latest = facts.uncertainty
        blocks.append(
            table(
                f"The same at the latest cut-off, {latest['cutoff_date'].iloc[0]:%Y-%m-%d}, with "
                "what chance does to it (95 % intervals, bootstrap over customers)",
                latest.assign(name=latest["metric"].map(names)),
                {
                    "Metric": ("name", str),
                    **{"Value": ("value", number), "From": ("low", number), "To": ("high", number)},
                },
            )
        )
    if len(facts.leaderboard):
        shown = [name for name in METRICS if name in facts.leaderboard]
        columns = {names[name]: (name, number) for name in shown}
        blocks.append(
            table(
                "A model: mean metrics over the common cut-offs",
                facts.leaderboard,
                {"Model": ("model_name", str), **columns},
            )
        )
    return blocks


_EXTRAPOLATED: Final = (
    "The horizon is longer than any complete outcome in the data. Values and intervals are the "
    "model's own, carried beyond what anyone has seen: the intervals hold the chance in purchases "
    "and their values, not that its parameters are wrong or that the shop changes. Whether they "
    "hold four outcomes in five, nothing has tested."
)


def _segments(facts: RunFacts) -> list[Block]:
    amounts = {"Predicted value": "predicted_value"}
    if facts.discount_rate:
        amounts["Discounted"] = "discounted_value"
    if facts.has_margin:
        amounts["Margin"] = "predicted_margin"
    if facts.discount_rate and facts.has_margin:
        amounts["Margin, discounted"] = "discounted_margin"
    return [
        "Value is a decile of predicted value (high 9-10, medium 5-8, low 1-4), activity the "
        "probability of a purchase within half a year (active from .5, fading from .2).",
        table(
            "A segment of the served predictions",
            facts.segments,
            {
                "Segment": ("segment", str),
                "Customers": ("customers", number),
                **{heading: (name, facts.money) for heading, name in amounts.items()},
                "Share": ("share_of_value", share),
                "Past net revenue on average": ("past_mean_value", facts.money),
            },
        ),
    ]


def _importance(facts: RunFacts) -> list[Block]:
    if facts.importance.empty:
        return [
            f"Nothing has been measured for {facts.model_name}: that takes a past cut-off whose "
            "outcome is complete and tells one prediction from another."
        ]
    first = facts.importance.iloc[0]
    return [
        f"How much worse it predicts from {first['cutoff_date']:%Y-%m-%d} when a group of "
        f"features is shuffled among {counted(first['customers'], 'customer')}: what it leans on, "
        "which is not what makes people buy.",
        table(
            "A group of features",
            facts.importance,
            {
                "Group": ("feature_group", str),
                "Deviance": ("deviance_increase", lambda value: share(value, digits=1, sign="+")),
                "Gini lost": ("gini_loss", lambda value: number(value, sign="+")),
            },
        ),
    ]


def _drift(facts: RunFacts) -> list[Block]:
    if facts.drift.empty:
        return ["Nothing earlier is there to compare with."]
    return [
        "Population stability index: below .1 little has changed, from .25 on it is another "
        "population. Compared with the customers of the training sample, and with those of the "
        "date before. A shop that grows older moves ages and recencies by itself.",
        table(
            "What has moved most",
            facts.drift.head(_SHOWN_DRIFT).replace({"reference": {"previous": "the date before"}}),
            {
                "Quantity": ("quantity", str),
                "Stability index": ("stability_index", number),
                "Compared with": ("reference", str),
            },
        ),
    ]


def _realised(facts: RunFacts) -> list[Block]:
    if facts.realised.empty:
        return [f"No prediction over {counted(facts.horizon_days, 'day')} has come due yet."]
    return [
        table(
            "A date whose horizon has passed",
            facts.realised.head(_SHOWN_DATES),
            {
                "From": ("as_of_date", lambda day: f"{day:%Y-%m-%d}"),
                "Origin": ("origin", str),
                "Customers": ("customers", number),
                "Predicted": ("predicted_value", facts.money),
                "Realised": ("realised_value", facts.money),
                "Predicted ÷ realised": ("predicted_over_realised", number),
                "Inside 80 %": ("share_inside_80", share),
            },
        )
    ]


def _limits(facts: RunFacts) -> list[Block]:
    known: list[Block] = [
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
