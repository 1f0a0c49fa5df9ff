"""The figure registry: every figure, what it shows, what it is drawn from, and how.

A new figure is an entry here, a function of its name in a section's module, and a property of
`queries.Tables` unless one of them already reads what it needs. Matplotlib is imported when a
figure is drawn, never with the registry.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from retail_pipeline.figures.queries import Tables

if TYPE_CHECKING:
    from retail_pipeline.figures.style import Plot


@dataclass(frozen=True)
class Figure:
    """A figure of the registry.

    Attributes:
        name: Also its asset's, its file's and its function's.
        section: The module of this package with its function.
        query: The property of `Tables` with its data.
        description: What is seen, in one sentence.
        sources: The tables that it is drawn from, `schema.name`.
        after: The assets that make them, `group/name`.
    """

    name: str
    section: str
    query: str
    description: str
    sources: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def module(self) -> Path:
        """The file with the function that draws it."""
        return Path(__file__).with_name(f"{self.section}.py")

    def draw(self, tables: Tables) -> "Plot":
        """Return the figure drawn from the tables as they are now."""
        section = import_module(f"{__package__}.{self.section}")
        plot: Plot = getattr(section, self.name)(getattr(tables, self.query), tables.context)
        return plot


def figure(name: str) -> Figure:
    """Return the figure of a name."""
    [found] = (each for each in FIGURES if each.name == name)
    return found


_REVENUE, _RFM = "warehouse/revenue_daily", "warehouse/customer_rfm"
_BACKTEST, _PREDICTIONS = "clv/backtest_summary", "clv/predictions"
_PAST = ("clv.backtest_predictions",)

FIGURES = (
    Figure(
        "revenue_over_time",
        "revenue",
        "revenue_by_day",
        "Net revenue, orders and returns by day, week or month, whichever fits the time covered.",
        ("warehouse.revenue_daily",),
        (_REVENUE,),
    ),
    Figure(
        "cohort_retention",
        "customers",
        "cohorts",
        "The share of each monthly cohort of customers that buys again, month by month.",
        ("warehouse.cohort_retention",),
        ("warehouse/cohort_retention",),
    ),
    Figure(
        "purchase_gaps",
        "customers",
        "purchase_gaps",
        "How many days pass from one purchase of a customer to the next.",
        ("warehouse.customer_days", "warehouse.customer_rfm"),
        ("warehouse/customer_days", _RFM),
    ),
    Figure(
        "order_values",
        "revenue",
        "order_values",
        "How large orders are, and which sizes bring the revenue.",
        ("warehouse.fct_transactions",),
        ("warehouse/fct_transactions", _REVENUE),
    ),
    Figure(
        "revenue_concentration",
        "revenue",
        "value_groups",
        "The share of past and of predicted value that the most valuable customers hold.",
        ("warehouse.customer_rfm", "clv.predictions"),
        (_RFM, _PREDICTIONS, _REVENUE),
    ),
    Figure(
        "rfm_map",
        "customers",
        "rfm_cells",
        "Customers and past net revenue by how recently and how often they bought.",
        ("warehouse.customer_rfm",),
        (_RFM, _REVENUE),
    ),
    Figure(
        "segments",
        "segments",
        "segments",
        "Each segment's number of customers beside its predicted value.",
        ("clv.segments",),
        ("clv/segments", _PREDICTIONS, _REVENUE),
    ),
    Figure(
        "segment_movement",
        "segments",
        "segment_changes",
        "Where the customers of each segment are now, since the month start before.",
        ("clv.segment_changes", "clv.segments"),
        ("clv/segment_changes", "clv/segments"),
    ),
    Figure(
        "predicted_against_actual",
        "accuracy",
        "outcomes",
        "The served model's past predictions against actual net revenue, by decile, out-of-time.",
        _PAST,
        (_BACKTEST, _PREDICTIONS, _REVENUE),
    ),
    Figure(
        "gain_curve",
        "accuracy",
        "outcomes",
        "The share of actual value that the customers ranked highest spent, out-of-time.",
        _PAST,
        (_BACKTEST, _PREDICTIONS),
    ),
    Figure(
        "residuals",
        "calibration",
        "outcomes",
        "How far past outcomes lay from their predictions, by decile: quantiles and mean.",
        _PAST,
        (_BACKTEST, _PREDICTIONS, _REVENUE),
    ),
    Figure(
        "interval_coverage",
        "calibration",
        "outcomes",
        "The share of past outcomes inside their 80 % interval, by decile and by cut-off.",
        _PAST,
        (_BACKTEST, _PREDICTIONS),
    ),
    Figure(
        "activity_reliability",
        "calibration",
        "outcomes",
        "How many customers bought, against the probability of it that was predicted.",
        _PAST,
        (_BACKTEST, _PREDICTIONS),
    ),
    Figure(
        "realised_against_predicted",
        "accuracy",
        "realised",
        "Predictions of earlier dates against actual net revenue, once the horizon is over.",
        ("clv.realised_predictions",),
        ("clv/realised_predictions", _REVENUE),
    ),
    Figure(
        "model_comparison",
        "models",
        "metrics",
        "Each model's deviance, ranking, bias and error over the backtest's cut-offs.",
        ("clv.backtest_metrics",),
        (_BACKTEST, _PREDICTIONS),
    ),
    Figure(
        "model_differences",
        "models",
        "metrics",
        "By how much each model's deviance differs from the served model's, cut-off by cut-off.",
        ("clv.backtest_metrics",),
        (_BACKTEST, _PREDICTIONS),
    ),
    Figure(
        "coefficients",
        "explanation",
        "linear_regression",
        "What one standard deviation of each feature adds in the linear regression.",
        ("clv.model_terms",),
        ("clv/candidates",),
    ),
    Figure(
        "decision_tree",
        "explanation",
        "decision_tree",
        "The tree of questions that splits customers by value, and the groups that it ends in.",
        ("clv.model_terms",),
        ("clv/candidates", _REVENUE),
    ),
    Figure(
        "feature_importance",
        "explanation",
        "importance",
        "How much worse the served model predicts with each group of features shuffled.",
        ("clv.feature_importance",),
        ("clv/feature_importance",),
    ),
    Figure(
        "drift",
        "monitoring",
        "drift",
        "How far features and predictions have moved from the training sample.",
        ("clv.drift",),
        ("clv/drift",),
    ),
)
"""In the order in which a reader goes through them."""
