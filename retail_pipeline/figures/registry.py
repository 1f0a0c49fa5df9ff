"""The figure registry: description, source tables and drawing function of every figure.

To add a figure, write a function of its name in a section's module, an entry here, and a property
of `queries.Tables` unless one already reads its data. Matplotlib is imported only when a figure is
drawn.
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
"""Tables that are filled by an asset of another name."""


@dataclass(frozen=True)
class Figure:
    """A figure of the registry.

    Attributes:
        name: Name of the figure, its asset, its file and its function.
        section: The module of this package that has the function.
        description: One sentence on the content.
        sources: The source tables as `schema.name`: first those with the rows, then those with the
            served model's name and the currency.
        query: The property of `Tables` that reads the data; by default the figure's name.
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
        "The distribution of the days between two purchases of a customer.",
        ("warehouse.customer_days", _RFM),
    ),
    Figure(
        "order_values",
        "revenue",
        "The distribution of order sizes, and the share of revenue of each size.",
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
        "The moves of customers between segments since the previous month start.",
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
        "The share of actual net revenue of the customers ranked highest, out-of-time.",
        _PAST,
        "outcomes",
    ),
    Figure(
        "residuals",
        "calibration",
        "Errors of past predictions by decile: quantiles and mean.",
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
        "The share of customers who bought, against the predicted probability of a purchase.",
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
        "The difference between each model's deviance and the served model's, per cut-off.",
        _METRICS,
        "metrics",
    ),
    Figure(
        "coefficients",
        "explanation",
        "The coefficients of the linear regression, per standard deviation of each feature.",
        ("clv.model_terms", _SERVED),
    ),
    Figure(
        "decision_tree",
        "explanation",
        "The decision tree: how it splits customers by value, and the groups that it ends in.",
        ("clv.model_terms", _SERVED, _MONEY),
    ),
    Figure(
        "feature_importance",
        "explanation",
        "The increase in the served model's deviance when a group of features is shuffled.",
        ("clv.feature_importance",),
    ),
    Figure(
        "drift",
        "monitoring",
        "The drift of features and predictions since the training sample and the previous date.",
        ("clv.drift",),
    ),
)
"""All figures, in the order of the report."""
