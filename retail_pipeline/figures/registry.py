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
from retail_pipeline.shared_queries import made_by

if TYPE_CHECKING:
    from retail_pipeline.figures.style import Plot


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
        how_to_read: What its marks mean and when to worry, for a reader without statistics; shown
            under the figure in the report and in Dagster, and in `docs/figures.md`.
    """

    name: str
    section: str
    description: str
    sources: tuple[str, ...]
    query: str = ""
    how_to_read: str = ""

    @property
    def data(self) -> str:
        """The property of `Tables` with its data."""
        return self.query or self.name

    @property
    def after(self) -> list[str]:
        """The assets that fill its tables, `group/name`."""
        return made_by(self.sources)

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
        how_to_read=(
            "Bars are days, weeks or months, whichever fits; a light bar is a period with data "
            "for a part of it. A bar much longer than the others is cut off, with its amount "
            "beside it."
        ),
    ),
    Figure(
        "revenue_by_category",
        "revenue",
        "Net revenue of the last 365 days by product category, against the year before.",
        ("warehouse.fct_transaction_items", "warehouse.dim_products", _MONEY),
        how_to_read=(
            "A bar is the net revenue of a category in the last 365 days. An orange line is the "
            "amount of the year before, and the last column the change since."
        ),
    ),
    Figure(
        "cohort_retention",
        "customers",
        "The share of each monthly cohort of customers that buys again, month by month.",
        ("warehouse.cohort_retention",),
        how_to_read=(
            "A row is a cohort by month of first purchase, a cell the percentage that buys so "
            "many months later. The scale is at its right. Compare a column downwards to see "
            "whether newer cohorts come back more."
        ),
    ),
    Figure(
        "cohort_value",
        "customers",
        "Cumulative net revenue per acquired customer, by cohort of the first purchase.",
        ("warehouse.cohort_retention", _MONEY),
        "cohort_retention",
        how_to_read=(
            "A curve is a cohort, darker for newer ones: the mean net revenue of its customers, "
            "those who left included, by months since the first purchase. If newer curves lie "
            "below older ones at the same month, new customers spend less."
        ),
    ),
    Figure(
        "purchase_gaps",
        "customers",
        "The distribution of the days between two purchases of a customer.",
        ("warehouse.customer_days", _RFM),
        how_to_read=(
            "Bars count the days between two purchases, the curve sums them. A customer beyond "
            "the 90 % mark is later than nine in ten repeat purchases were."
        ),
    ),
    Figure(
        "order_values",
        "revenue",
        "The distribution of order sizes, and the share of revenue of each size.",
        ("warehouse.fct_transactions", _MONEY),
        how_to_read=(
            "Both panels share a scale on which equal distances are equal ratios; the upper "
            "counts orders, the lower adds up their value. The farther apart the two lines, the "
            "more depends on few large orders."
        ),
    ),
    Figure(
        "revenue_concentration",
        "revenue",
        "The share of past and of predicted value that the most valuable customers hold.",
        (_RFM, _SERVED, _MONEY),
        how_to_read=(
            "Customers from the most valuable to the least; the curve adds up their share of "
            "value, past and predicted (a Lorenz curve that starts with the largest). On the "
            "dotted line all customers would have the same value."
        ),
    ),
    Figure(
        "rfm_map",
        "customers",
        "Customers and past net revenue by how recently and how often they bought.",
        (_RFM, _MONEY),
        how_to_read=(
            "A cell is a pair of scores with its ranges at the edges, its customers and their "
            "net revenue; white lines separate the named segments. The darker, the more net "
            "revenue per customer."
        ),
    ),
    Figure(
        "total_with_range",
        "totals",
        "The present prediction of the total with its 80 % range, after past totals.",
        ("clv.totals", "clv.backtest_predictions", _SERVED, _MONEY),
        "totals",
        how_to_read=(
            "Orange is the net revenue of the days after each date, blue the prediction made "
            "there. The fan ends in the range that holds the coming total in eight of ten cases."
        ),
    ),
    Figure(
        "segments",
        "segments",
        "Each segment's number of customers beside its predicted value.",
        ("clv.segments", _SERVED, _MONEY),
        how_to_read=(
            "Each segment's customers beside what they are predicted to spend. The last column "
            "divides the two."
        ),
    ),
    Figure(
        "value_by_group",
        "totals",
        "Predicted totals with their 80 % ranges, by country and by channel.",
        ("clv.totals", _SERVED, _MONEY),
        "totals",
        how_to_read=(
            "A dot is the predicted total of a group, the gray line the range that holds it in "
            "eight of ten cases. Groups whose lines overlap may change places."
        ),
    ),
    Figure(
        "segment_movement",
        "segments",
        "The moves of customers between segments since the previous month start.",
        ("clv.segment_changes", "clv.segments"),
        how_to_read=(
            "On the left are the segments at the month start before, on the right those of now, "
            "the most valuable on top. The width of a band shows its customers: gray stayed, "
            "blue moved up, orange down."
        ),
    ),
    Figure(
        "predicted_against_actual",
        "accuracy",
        "The served model's past predictions against actual net revenue, by decile, out-of-time.",
        (*_PAST, _MONEY),
        "outcomes",
        how_to_read=(
            "Customers in ten groups by their prediction; the bars of a pair should be equal, "
            "the ratio below them 1. Whiskers are the 95 % interval of the mean actual value."
        ),
    ),
    Figure(
        "bias_by_cutoff",
        "totals",
        "Predicted over actual total at each past cut-off, with the same season marked.",
        ("clv.totals", *_METRICS, "clv.backtest_predictions"),
        "totals",
        how_to_read=(
            "A dot above 1 is a date from which too much was predicted. The orange band marks the "
            "date a year before the present prediction: an error there is the most likely to be "
            "repeated. Hollow dots are the model without season, whose errors the seasonal one "
            "corrects."
        ),
    ),
    Figure(
        "gain_curve",
        "accuracy",
        "The share of actual net revenue of the customers ranked highest, out-of-time.",
        _PAST,
        "outcomes",
        how_to_read=(
            "The share of actual net revenue of the customers ranked highest. The orange line is "
            "the best possible order, thin lines are single cut-offs."
        ),
    ),
    Figure(
        "residuals",
        "calibration",
        "Errors of past predictions by decile: quantiles and mean.",
        (*_PAST, _MONEY),
        "outcomes",
        how_to_read=(
            "Actual less predicted, by tenth: the bars hold half and nine tenths of the "
            "customers, the white dot is the median. The bars below are the means, on a scale of "
            "their own: they should be at zero."
        ),
    ),
    Figure(
        "interval_coverage",
        "calibration",
        "The share of past outcomes inside their 80 % interval, by decile and by cut-off.",
        _PAST,
        "outcomes",
        how_to_read=(
            "A dot is the share of outcomes inside their interval, by tenth and by cut-off. If "
            "whiskers miss the line, the intervals are too wide (above) or too narrow (below)."
        ),
    ),
    Figure(
        "activity_reliability",
        "calibration",
        "The share of customers who bought, against the predicted probability of a purchase.",
        _PAST,
        "outcomes",
        how_to_read=(
            "Customers by their predicted probability, against the share who bought. Below the "
            "dotted line, the probability was too high."
        ),
    ),
    Figure(
        "next_order_calibration",
        "calibration",
        "Customers by tenth of the predicted time until their next order, out-of-time.",
        _METRICS,
        how_to_read=(
            "If the predicted dates are right, each bar is at 10 %. Higher bars on the left mean "
            "that orders come earlier than predicted; on the right, later or not at all; on both "
            "sides, that the predicted distributions are too narrow."
        ),
    ),
    Figure(
        "realised_against_predicted",
        "accuracy",
        "Predictions of earlier dates against actual net revenue, once the horizon is over.",
        ("clv.realised_predictions", _MONEY),
        how_to_read=(
            "For each earlier date whose horizon is over: the predicted and the actual total; "
            "hollow dots are predictions of the model now in use. To its right the ratio of "
            "both, and the share of outcomes inside their interval."
        ),
    ),
    Figure(
        "purchase_tracking",
        "purchases",
        "Weekly and cumulative repeat purchases, actual and expected by the purchase model.",
        ("clv.purchase_tracking",),
        "purchasing",
        how_to_read=(
            "Orange are actual purchases, blue those that the model expects; it was fitted "
            "without the shaded weeks. If the curves part there, customers have changed or there "
            "is a season."
        ),
    ),
    Figure(
        "recency_frequency",
        "purchases",
        "The probability to buy again and expected orders, by number and recency of purchases.",
        ("clv.recency_frequency",),
        "purchasing",
        how_to_read=(
            "A cell is a customer with so many purchases, the last one so many days ago; darker "
            "is more. The orange line is where such a customer is as likely to have left as to "
            "buy again: frequent customers reach it sooner."
        ),
    ),
    Figure(
        "model_comparison",
        "models",
        "Each model's deviance, ranking, bias and error over the backtest's cut-offs.",
        _METRICS,
        "metrics",
        how_to_read=(
            "A dot is a cut-off, the number the mean; blue is the model that serves. Only "
            "cut-offs at which all models were tested are used; without any, the footer says that "
            "the means cannot be compared."
        ),
    ),
    Figure(
        "model_differences",
        "models",
        "The difference between each model's deviance and the served model's, per cut-off.",
        _METRICS,
        "metrics",
        how_to_read=(
            "Each model's deviance against the served model's at the same cut-off; left of zero "
            "is better. Dots on one side at all cut-offs are stronger evidence than the mean."
        ),
    ),
    Figure(
        "coefficients",
        "explanation",
        "The coefficients of the linear regression, per standard deviation of each feature.",
        ("clv.model_terms", _SERVED),
        how_to_read=(
            "A bar is the change of the root of the prediction for one standard deviation more "
            "of a feature. Similar features share their effect, so read them together. The "
            "subtitle names the model that makes the predictions."
        ),
    ),
    Figure(
        "decision_tree",
        "explanation",
        "The decision tree: how it splits customers by value, and the groups that it ends in.",
        ("clv.model_terms", _SERVED, _MONEY),
        how_to_read=(
            "Read from left to right, smaller values above; the width of a line shows the number "
            "of customers. The bars are the mean net revenue of the past customers of each "
            "group. The subtitle names the model that makes the predictions."
        ),
    ),
    Figure(
        "feature_importance",
        "explanation",
        "The increase in the served model's deviance when a group of features is shuffled.",
        ("clv.feature_importance",),
        how_to_read=(
            "A bar is the increase of the deviance when a group of features is shuffled among "
            "customers, out of time. If a whisker crosses zero, the group may not help."
        ),
    ),
    Figure(
        "drift",
        "monitoring",
        "The drift of features and predictions since the training sample and the previous date.",
        ("clv.drift",),
        how_to_read=(
            "A dot is the population stability index of a feature or, in bold, of a prediction: "
            "blue against the training sample, orange against the date before. A dot beyond the "
            "line at 0.25 needs a look; inside the light bar it may be chance."
        ),
    ),
)
"""All figures, in the order of the report."""
