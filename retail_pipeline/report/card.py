"""The model card: the served model, its quality, its use and its limits.

The order follows Mitchell et al., Model Cards for Model Reporting (2019). Every number is read from
the run's tables; the fixed sentences hold for every run.
"""

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from retail_pipeline.report.document import (
    Block,
    Facts,
    Section,
    Write,
    as_markdown,
    as_marks,
    in_words,
    table,
)
from retail_pipeline.report.facts import METRICS, NEXT_ORDER, RunFacts
from retail_pipeline.shared_queries import excluded_in_words, guests_in_words, losses_in_words
from retail_pipeline.wording import MISSING, counted, number, share, span

MEANINGS: Final = {
    "normalized_gini": ("Gini", "ranking, 1 is perfect"),
    "tweedie_deviance": ("Deviance", "the selection criterion, lower is better"),
    "mae_over_mean": ("MAE/mean", "absolute error over the mean outcome"),
    "r2": ("R2", "explained variance, dominated by the largest customers"),
    "bias": ("Bias", "predicted over actual total, 1 is right"),
    "coverage_80": ("Coverage", "outcomes inside the 80 % interval, .8 is right"),
}
"""Name on the page and meaning of each metric."""

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
        Section("Feature importance", _importance(facts)),
        Section("Drift", _drift(facts)),
        Section("Predicted against actual", _realised(facts)),
        Section("Limits", _limits(facts)),
    ]


_USE: Final = (
    "The model ranks customers and estimates the value of groups: whom to retain, whom to win "
    "back, how much a segment will spend. The value of one customer is an expectation; the "
    "interval shows how uncertain it is.",
    "It is not made for decisions on prices, credit or access that concern a single person. Its "
    "data are a pseudonym and purchases; they do not include name, address, age or sex.",
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
                "yes" if decision["validated"] else "no: served because no model is confirmed",
            ),
            ("Training sample", _training_sample(decision)),
            ("Trained", MISSING if pd.isna(trained) else f"{trained:%Y-%m-%d %H:%M} UTC"),
            (
                "Predicts",
                f"net amount of the next {counted(facts.horizon_days, 'day')}, returns deducted",
            ),
            (
                "Length of the data",
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
        ("Recorded before", f"the start of {facts.as_of}"),
        ("Transactions", number(data["transactions"])),
        ("Customers with a transaction", number(data["customers"])),
        ("Net amount", facts.money(data["net_amount"])),
        *(("Of the file", text) for text in losses_in_words(facts.losses, facts.currency)),
        ("Transactions without a customer", _guests(facts)),
        ("Lines that do not count", _excluded(facts)),
        ("Customers predicted", number(found["customers"])),
        ("Predicted value in total", facts.money(found["predicted_value"])),
    ]
    if rate:
        items.append((f"The same, {at_rate}", facts.money(found["discounted_value"])))
    if not facts.has_margin:
        return Facts([*items, ("Predicted gross margin", "no product costs known")])
    items.append(("Predicted gross margin in total", facts.money(found["predicted_margin"])))
    if rate:
        items.append((f"The margin, {at_rate}", facts.money(found["discounted_margin"])))
    return Facts(items)


def _guests(facts: RunFacts) -> str:
    guests = facts.guests
    return guests_in_words(guests, facts.currency) if guests["transactions"] else "none"


def _excluded(facts: RunFacts) -> str:
    return excluded_in_words(facts.excluded, facts.currency) if facts.excluded else "none"


def _quality(facts: RunFacts) -> list[Block]:
    if facts.spread.empty:
        return [
            "No past cut-off has a complete outcome yet, so the errors of the predictions are not "
            "known.",
            *([_EXTRAPOLATED] if facts.is_extrapolated else []),
        ]
    names = {name: short for name, (short, _) in MEANINGS.items()}
    meanings = {name: meaning for name, (_, meaning) in MEANINGS.items()}
    spread = facts.spread.set_index("metric").reindex(METRICS).dropna(how="all").reset_index()
    blocks: list[Block] = [
        "Measured out of time: at past cut-offs, with models fitted to the data recorded before "
        "each of them.",
        table(
            "Metrics of the served model over the past cut-offs",
            spread.assign(name=spread["metric"].map(names), meaning=spread["metric"].map(meanings)),
            {
                "Metric": ("name", str),
                **{kind.capitalize(): (kind, number) for kind in ("mean", "lowest", "highest")},
                "Meaning": ("meaning", str),
            },
        ),
        *_next_order(facts),
    ]
    if len(facts.uncertainty):
        latest = facts.uncertainty
        blocks.append(
            table(
                f"Metrics at the latest cut-off, {latest['cutoff_date'].iloc[0]:%Y-%m-%d}, with "
                "95 % intervals (bootstrap over customers)",
                latest.assign(name=latest["metric"].map(names)),
                {
                    "Metric": ("name", str),
                    **{"Value": ("value", number), "From": ("low", number), "To": ("high", number)},
                },
            )
        )
    if len(facts.bias):
        blocks += _bias(facts)
    if len(facts.leaderboard):
        shown = [name for name in METRICS if name in facts.leaderboard]
        columns = {names[name]: (name, number) for name in shown}
        blocks.append(
            table(
                "Mean metrics of each model over the common cut-offs",
                facts.leaderboard,
                {"Model": ("model_name", str), **columns},
            )
        )
    return blocks


def _next_order(facts: RunFacts) -> list[Block]:
    """Return the errors of the next order's date in a sentence; none for models without dates."""
    errors = facts.spread.set_index("metric")["mean"].reindex(NEXT_ORDER)
    if errors.isna().any():
        return []
    model, own, usual = (number(round(days)) for days in errors)
    return [
        "Where an order within the horizon was likely, the date of the next one was off by "
        f"{model} days on average, counted up to the horizon. Dates expected by the customer's own "
        f"mean gap were off by {own} days, by the median gap of all by {usual}."
    ]


def _bias(facts: RunFacts) -> list[Block]:
    season = facts.bias["same_season"].map({True: "same season a year before", False: ""})
    models: dict[str, tuple[str, Write]] = {
        str(name): (str(name), _two_digits) for name in facts.bias.columns[2:]
    }
    return [
        table(
            "Predicted over actual total at each cut-off; 1 is right",
            facts.bias.assign(season=season),
            {"Cut-off": ("cutoff", str), **models, "Season": ("season", str)},
        ),
        "Seasonal errors cancel out in the mean, so the cut-off of the same season matters most: "
        "without a correction, the total of today has a similar error.",
    ]


def _two_digits(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:.2f}"


_EXTRAPOLATED: Final = (
    "The horizon is longer than any complete outcome in the data. Values and intervals are "
    "extrapolated by the model: the intervals include chance in purchases and their values, but "
    "not errors of the parameters or changes of the shop. Whether they contain four outcomes in "
    "five has not been tested."
)


def _segments(facts: RunFacts) -> list[Block]:
    amounts = {"Predicted value": "predicted_value"}
    if facts.discount_rate:
        amounts["Discounted"] = "discounted_value"
    if facts.has_margin:
        amounts["Margin"] = "predicted_margin"
    if facts.discount_rate and facts.has_margin:
        amounts["Margin, discounted"] = "discounted_margin"
    ranges = facts.segments[["lower_80", "predicted_value", "upper_80"]].astype(float)
    most = float(ranges.to_numpy().max(initial=0))
    lines = [span(low, value, high, most) for low, value, high in ranges.to_numpy()]
    return [
        "A segment combines value, by decile of predicted value (high 9-10, medium 5-8, low 1-4), "
        "and activity, by probability of a purchase within half a year (active from .5, fading "
        "from .2).",
        table(
            "Segments of the served predictions",
            facts.segments,
            {
                "Segment": ("segment", str),
                "Customers": ("customers", number),
                **{heading: (name, facts.money) for heading, name in amounts.items()},
                "Share": ("share_of_value", share),
                "Past net revenue on average": ("past_mean_value", facts.money),
            },
        ),
        table(
            f"Predicted totals and their 80 % ranges, from 0 to {facts.money(most)}",
            facts.segments.assign(range=lines),
            {
                "Segment": ("segment", str),
                "Total": ("predicted_value", facts.money),
                "From": ("lower_80", facts.money),
                "To": ("upper_80", facts.money),
                "Range": ("range", as_marks),
            },
        ),
    ]


def _importance(facts: RunFacts) -> list[Block]:
    if facts.importance.empty:
        return [
            f"Nothing has been measured for {facts.model_name}: this needs a past cut-off with a "
            "complete outcome and predictions that differ between customers."
        ]
    first = facts.importance.iloc[0]
    return [
        f"How much worse the model predicts from {first['cutoff_date']:%Y-%m-%d} when a group of "
        f"features is shuffled among {counted(first['customers'], 'customer')}: the features that "
        "it uses, which are not necessarily the causes of purchases.",
        table(
            "Groups of features",
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
        return ["There is no earlier date to compare with."]
    return [
        "Population stability index: below .1 little has changed, from .25 on the population is "
        "different. Customers are compared with those of the training sample and of the previous "
        "date. Ages and recencies rise by themselves as a shop grows older.",
        table(
            "Largest changes",
            facts.drift.head(_SHOWN_DRIFT).replace({"reference": {"previous": "previous date"}}),
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
            "Dates whose horizon has passed",
            facts.realised.head(_SHOWN_DATES),
            {
                "From": ("as_of_date", lambda day: f"{day:%Y-%m-%d}"),
                "Origin": ("origin", str),
                "Customers": ("customers", number),
                "Predicted": ("predicted_value", facts.money),
                "Actual": ("realised_value", facts.money),
                "Predicted ÷ actual": ("predicted_over_realised", number),
                "Inside 80 %": ("share_inside_80", share),
            },
        )
    ]


def _limits(facts: RunFacts) -> list[Block]:
    known: list[Block] = [
        "Predictions extend the past: a new competitor, a price change or a closed shop shows in "
        "them only after customers have reacted to it.",
        "New customers are not included: the total covers customers who have bought before and is "
        "not a forecast of sales.",
        "Seasons are known from earlier months only; with less than two years of data, from a "
        "single year.",
        "The largest customers dominate totals and squared errors, and their intervals are wide.",
    ]
    if facts.has_margin:
        known.append(
            "Margin is revenue less the cost of goods; marketing, shipping and staff are not "
            "deducted. It is predicted with the margin of past purchases, so later changes of "
            "costs are not included."
        )
    if not facts.decision["validated"]:
        known.insert(0, "No past outcome has confirmed this model: treat amounts as estimates.")
    return known
