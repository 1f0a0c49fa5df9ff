"""The gallery: every figure, the question it answers, what it is drawn from, and how.

A figure is a line in `GALLERY` and a function of `Tables` that reads and calls a pure plot. It
knows no Dagster, and no matplotlib before something is drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retail_pipeline.figures.reading import (
    STEPS_PER_DECADE,
    Tables,
)

if TYPE_CHECKING:
    from retail_pipeline.figures.style import Plot


@dataclass(frozen=True)
class Exhibit:
    """A figure of the gallery.

    Attributes:
        name: Also its asset's and its file's.
        description: What is seen, in one sentence.
        sources: The tables that it is drawn from, `schema.name`.
        after: The assets that make them, `group/name`.
        draw: Reads the tables and draws.
    """

    name: str
    description: str
    sources: tuple[str, ...]
    after: tuple[str, ...]
    draw: Callable[[Tables], "Plot"]


def _revenue_over_time(tables: Tables) -> "Plot":
    from retail_pipeline.figures.revenue import revenue_over_time

    return revenue_over_time(tables.revenue_by_day(), currency=tables.currency, as_of=tables.as_of)


def _cohort_retention(tables: Tables) -> "Plot":
    from retail_pipeline.figures.retention import cohort_retention

    return cohort_retention(tables.cohorts(), as_of=tables.as_of)


def _purchase_gaps(tables: Tables) -> "Plot":
    from retail_pipeline.figures.behaviour import purchase_gaps

    customers, single = tables.customers()
    return purchase_gaps(
        tables.purchase_gaps(), customers=customers, single=single, **_window(tables)
    )


def _order_values(tables: Tables) -> "Plot":
    from retail_pipeline.figures.behaviour import order_values

    return order_values(
        tables.order_values(),
        steps_per_decade=STEPS_PER_DECADE,
        currency=tables.currency,
        as_of=tables.as_of,
    )


def _revenue_concentration(tables: Tables) -> "Plot":
    from retail_pipeline.figures.behaviour import revenue_concentration

    return revenue_concentration(tables.value_groups(), currency=tables.currency, **_window(tables))


def _rfm_map(tables: Tables) -> "Plot":
    from retail_pipeline.figures.segments import rfm_map

    return rfm_map(tables.rfm_cells(), currency=tables.currency, as_of=tables.as_of)


def _segments(tables: Tables) -> "Plot":
    from retail_pipeline.figures.segments import segments

    return segments(tables.segments(), currency=tables.currency, **_of_model(tables))


def _segment_movement(tables: Tables) -> "Plot":
    from retail_pipeline.figures.segments import segment_movement

    order = [str(name) for name in tables.segments()["segment"]]
    return segment_movement(tables.segment_changes(), order=order, **_window(tables))


def _predicted_against_actual(tables: Tables) -> "Plot":
    from retail_pipeline.figures.outcomes import predicted_against_actual

    past = tables.outcomes()
    return predicted_against_actual(
        past.frame, sampled=past.sampled, currency=tables.currency, **_of_model(tables)
    )


def _gain_curve(tables: Tables) -> "Plot":
    from retail_pipeline.figures.outcomes import gain_curve

    past = tables.outcomes()
    return gain_curve(past.frame, sampled=past.sampled, **_of_model(tables))


def _residuals(tables: Tables) -> "Plot":
    from retail_pipeline.figures.trust import residuals

    past = tables.outcomes()
    return residuals(
        past.frame, sampled=past.sampled, currency=tables.currency, **_of_model(tables)
    )


def _interval_coverage(tables: Tables) -> "Plot":
    from retail_pipeline.figures.trust import interval_coverage

    past = tables.outcomes("lower_80", "upper_80")
    return interval_coverage(past.frame, sampled=past.sampled, **_of_model(tables))


def _activity_reliability(tables: Tables) -> "Plot":
    from retail_pipeline.figures.trust import activity_reliability

    past = tables.outcomes("probability_active")
    return activity_reliability(past.frame, sampled=past.sampled, **_of_model(tables))


def _realised_against_predicted(tables: Tables) -> "Plot":
    from retail_pipeline.figures.outcomes import realised_against_predicted

    return realised_against_predicted(
        tables.realised(),
        currency=tables.currency,
        earliest=tables.earliest_served(),
        **_window(tables),
    )


def _model_comparison(tables: Tables) -> "Plot":
    from retail_pipeline.figures.models import (
        METRIC_COLUMNS,
        model_comparison,
    )

    return model_comparison(
        tables.metrics(METRIC_COLUMNS),
        served=tables.served_model,
        validated=tables.is_validated,
        **_window(tables),
    )


def _model_differences(tables: Tables) -> "Plot":
    from retail_pipeline.figures.models import model_differences

    metrics = tables.metrics(["model_name", "cutoff_date", "tweedie_deviance"])
    return model_differences(metrics, served=tables.served_model, **_window(tables))


def _coefficients(tables: Tables) -> "Plot":
    from retail_pipeline.figures.explanation import coefficients

    return coefficients(**_fit(tables, "linear_regression"))


def _decision_tree(tables: Tables) -> "Plot":
    from retail_pipeline.figures.explanation import decision_tree

    return decision_tree(**_fit(tables, "decision_tree"), currency=tables.currency)


def _feature_importance(tables: Tables) -> "Plot":
    from retail_pipeline.figures.explanation import feature_importance

    importance, as_of = tables.importance()
    return feature_importance(importance, as_of=as_of, horizon_days=tables.horizon_days)


def _drift(tables: Tables) -> "Plot":
    from retail_pipeline.figures.drift import drift

    return drift(tables.drift(), **_window(tables))


def _window(tables: Tables) -> dict[str, Any]:
    return {"as_of": tables.as_of, "horizon_days": tables.horizon_days}


def _fit(tables: Tables, model_name: str) -> dict[str, Any]:
    """Return a readable model's last fit under its own date, which may be before the run's."""
    fit = tables.fit(model_name)
    return {
        "terms": fit.terms,
        "abstention": fit.abstention,
        "as_of": fit.as_of,
        "horizon_days": tables.horizon_days,
    }


def _of_model(tables: Tables) -> dict[str, Any]:
    return {**_window(tables), "model_name": tables.served_model}


_REVENUE, _RETENTION = "warehouse/revenue_daily", "warehouse/cohort_retention"
_DAYS, _RFM, _ORDERS = (
    "warehouse/customer_days",
    "warehouse/customer_rfm",
    "warehouse/fct_transactions",
)
_BACKTEST, _PREDICTIONS = "clv/backtest_summary", "clv/predictions"
_CANDIDATES = "clv/candidates"
_PAST = ("clv.backtest_predictions",)

GALLERY = (
    Exhibit(
        "revenue_over_time",
        "Net revenue, orders and returns by day, week or month, whichever fits the time covered.",
        ("warehouse.revenue_daily",),
        (_REVENUE,),
        _revenue_over_time,
    ),
    Exhibit(
        "cohort_retention",
        "The share of each monthly cohort of customers that buys again, month by month.",
        ("warehouse.cohort_retention",),
        (_RETENTION,),
        _cohort_retention,
    ),
    Exhibit(
        "purchase_gaps",
        "How many days pass from one purchase of a customer to the next.",
        ("warehouse.customer_days", "warehouse.customer_rfm"),
        (_DAYS, _RFM),
        _purchase_gaps,
    ),
    Exhibit(
        "order_values",
        "How large orders are, and which sizes bring the revenue.",
        ("warehouse.fct_transactions",),
        (_ORDERS, _REVENUE),
        _order_values,
    ),
    Exhibit(
        "revenue_concentration",
        "The share of past and of predicted value that the most valuable customers hold.",
        ("warehouse.customer_rfm", "clv.predictions"),
        (_RFM, _PREDICTIONS, _REVENUE),
        _revenue_concentration,
    ),
    Exhibit(
        "rfm_map",
        "Customers and past net revenue by how recently and how often they bought.",
        ("warehouse.customer_rfm",),
        (_RFM, _REVENUE),
        _rfm_map,
    ),
    Exhibit(
        "segments",
        "Each segment's number of customers beside its predicted value.",
        ("clv.segments",),
        ("clv/segments", _PREDICTIONS, _REVENUE),
        _segments,
    ),
    Exhibit(
        "segment_movement",
        "Where the customers of each segment are now, since the month first before.",
        ("clv.segment_changes", "clv.segments"),
        ("clv/segment_changes", "clv/segments"),
        _segment_movement,
    ),
    Exhibit(
        "predicted_against_actual",
        "The served model's past predictions against what came, by decile, out-of-time.",
        _PAST,
        (_BACKTEST, _PREDICTIONS, _REVENUE),
        _predicted_against_actual,
    ),
    Exhibit(
        "gain_curve",
        "The share of actual value that the customers ranked highest brought, out-of-time.",
        _PAST,
        (_BACKTEST, _PREDICTIONS),
        _gain_curve,
    ),
    Exhibit(
        "residuals",
        "How far past outcomes lay from their predictions, by decile: quantiles and mean.",
        _PAST,
        (_BACKTEST, _PREDICTIONS, _REVENUE),
        _residuals,
    ),
    Exhibit(
        "interval_coverage",
        "The share of past outcomes inside their 80 % interval, by decile and by cut-off.",
        _PAST,
        (_BACKTEST, _PREDICTIONS),
        _interval_coverage,
    ),
    Exhibit(
        "activity_reliability",
        "How many customers bought, against the probability of it that they were given.",
        _PAST,
        (_BACKTEST, _PREDICTIONS),
        _activity_reliability,
    ),
    Exhibit(
        "realised_against_predicted",
        "What was predicted at earlier dates against what came of it, once the horizon is over.",
        ("clv.realised_predictions",),
        ("clv/realised_predictions", _REVENUE),
        _realised_against_predicted,
    ),
    Exhibit(
        "model_comparison",
        "Each model's deviance, ranking, bias and error over the backtest's cut-offs.",
        ("clv.backtest_metrics",),
        (_BACKTEST, _PREDICTIONS),
        _model_comparison,
    ),
    Exhibit(
        "model_differences",
        "By how much each model's deviance differs from the served model's, cut-off by cut-off.",
        ("clv.backtest_metrics",),
        (_BACKTEST, _PREDICTIONS),
        _model_differences,
    ),
    Exhibit(
        "coefficients",
        "What one standard deviation of each feature adds in the linear regression.",
        ("clv.model_terms",),
        (_CANDIDATES,),
        _coefficients,
    ),
    Exhibit(
        "decision_tree",
        "The tree of questions that part customers by value, and the groups that it ends in.",
        ("clv.model_terms",),
        (_CANDIDATES, _REVENUE),
        _decision_tree,
    ),
    Exhibit(
        "feature_importance",
        "How much worse the served model predicts without each group of features, out-of-time.",
        ("clv.feature_importance",),
        ("clv/feature_importance",),
        _feature_importance,
    ),
    Exhibit(
        "drift",
        "How far features and predictions have moved from what the model learned from.",
        ("clv.drift",),
        ("clv/drift",),
        _drift,
    ),
)
"""In the order in which a reader goes through them."""
