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

_MADE_BY = {
    "clv.backtest_predictions": "clv.backtest_summary",
    "clv.backtest_metrics": "clv.backtest_summary",
    "clv.model_terms": "clv.candidates",
}
"""Tables that another asset fills than the one of their name."""


@dataclass(frozen=True)
class Figure:
    """A figure of the registry.

    Attributes:
        name: Also its asset's, its file's and its function's.
        section: The module of this package with its function.
        description: What is seen, in one sentence.
        sources: The tables that it is drawn from, `schema.name`: those with the rows, then those
            with the served model's name and the currency.
        query: The property of `Tables` with its data; by default that of its own name.
    """

    name: str
    section: str
    description: str
    sources: tuple[str, ...]
    query: str = ""

    @property
    def data(self) -> str:
        """The property of `Tables` with its data."""
        return self.query or self.name

    @property
    def after(self) -> list[str]:
        """The assets that fill its tables, `group/name`."""
        return [_MADE_BY.get(table, table).replace(".", "/") for table in self.sources]

    @property
    def module(self) -> Path:
        """The file with the function that draws it."""
        return Path(__file__).with_name(f"{self.section}.py")

    def draw(self, tables: Tables) -> "Plot":
        """Return the figure drawn from the tables as they are now."""
        section = import_module(f"{__package__}.{self.section}")
        plot: Plot = getattr(section, self.name)(getattr(tables, self.data), tables.context)
        return plot


def figure(name: str) -> Figure:
    """Return the figure of a name."""
    [found] = (each for each in FIGURES if each.name == name)
    return found


_RFM, _SERVED, _MONEY = "warehouse.customer_rfm", "clv.predictions", "warehouse.revenue_daily"
_PAST, _METRICS = ("clv.backtest_predictions", _SERVED), ("clv.backtest_metrics", _SERVED)

FIGURES = (
    Figure(
        "revenue_over_time",
        "revenue",
        "Net revenue, orders and returns by day, week or month, whichever fits the time covered.",
        (_MONEY,),
    ),
    Figure(
        "cohort_retention",
        "customers",
        "The share of each monthly cohort of customers that buys again, month by month.",
        ("warehouse.cohort_retention",),
    ),
    Figure(
        "purchase_gaps",
        "customers",
        "How many days pass from one purchase of a customer to the next.",
        ("warehouse.customer_days", _RFM),
    ),
    Figure(
        "order_values",
        "revenue",
        "How large orders are, and which sizes bring the revenue.",
        ("warehouse.fct_transactions", _MONEY),
    ),
    Figure(
        "revenue_concentration",
        "revenue",
        "The share of past and of predicted value that the most valuable customers hold.",
        (_RFM, _SERVED, _MONEY),
    ),
    Figure(
        "rfm_map",
        "customers",
        "Customers and past net revenue by how recently and how often they bought.",
        (_RFM, _MONEY),
    ),
    Figure(
        "segments",
        "segments",
        "Each segment's number of customers beside its predicted value.",
        ("clv.segments", _SERVED, _MONEY),
    ),
    Figure(
        "segment_movement",
        "segments",
        "Where the customers of each segment are now, since the month start before.",
        ("clv.segment_changes", "clv.segments"),
    ),
    Figure(
        "predicted_against_actual",
        "accuracy",
        "The served model's past predictions against actual net revenue, by decile, out-of-time.",
        (*_PAST, _MONEY),
        "outcomes",
    ),
    Figure(
        "gain_curve",
        "accuracy",
        "The share of actual value that the customers ranked highest spent, out-of-time.",
        _PAST,
        "outcomes",
    ),
    Figure(
        "residuals",
        "calibration",
        "How far past outcomes lay from their predictions, by decile: quantiles and mean.",
        (*_PAST, _MONEY),
        "outcomes",
    ),
    Figure(
        "interval_coverage",
        "calibration",
        "The share of past outcomes inside their 80 % interval, by decile and by cut-off.",
        _PAST,
        "outcomes",
    ),
    Figure(
        "activity_reliability",
        "calibration",
        "How many customers bought, against the probability of it that was predicted.",
        _PAST,
        "outcomes",
    ),
    Figure(
        "realised_against_predicted",
        "accuracy",
        "Predictions of earlier dates against actual net revenue, once the horizon is over.",
        ("clv.realised_predictions", _MONEY),
    ),
    Figure(
        "model_comparison",
        "models",
        "Each model's deviance, ranking, bias and error over the backtest's cut-offs.",
        _METRICS,
        "metrics",
    ),
    Figure(
        "model_differences",
        "models",
        "By how much each model's deviance differs from the served model's, cut-off by cut-off.",
        _METRICS,
        "metrics",
    ),
    Figure(
        "coefficients",
        "explanation",
        "What one standard deviation of each feature adds in the linear regression.",
        ("clv.model_terms", _SERVED),
    ),
    Figure(
        "decision_tree",
        "explanation",
        "The tree of questions that splits customers by value, and the groups that it ends in.",
        ("clv.model_terms", _SERVED, _MONEY),
    ),
    Figure(
        "feature_importance",
        "explanation",
        "How much worse the served model predicts with each group of features shuffled.",
        ("clv.feature_importance",),
    ),
    Figure(
        "drift",
        "monitoring",
        "How far features and predictions have moved from the training sample.",
        ("clv.drift",),
    ),
)
"""In the order in which a reader goes through them."""
