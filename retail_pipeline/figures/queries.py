"""The data of the figures: counts and sums that PostgreSQL makes, or a fixed sample of customers.

A figure shows some hundred marks, so no query here returns a row per customer of a large shop.
No Dagster, no matplotlib.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from retail_pipeline import shared_queries
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

if TYPE_CHECKING:
    import pandas as pd

MOST_OUTCOMES = 250_000
"""Past outcomes that are read one by one; beyond, a fixed sample of customers stands for all."""

STEPS_PER_DECADE = 100
"""Order values are counted in steps of 2.3 %: fine enough to read quantiles from."""

_CONCENTRATION_GROUPS = 200
_OF_THIS_RUN = "as_of_date = %(as_of)s and horizon_days = %(horizon)s"


@dataclass(frozen=True)
class Context:
    """What all figures of a run have in common.

    Attributes:
        as_of: The day before which data count.
        horizon_days: Days ahead whose value is predicted.
        currency: ISO code of the amounts, or nothing where they are in none or in several.
        served: The model that made this run's predictions; empty where there are none.
        validated: Whether that model met the selection's rule on past outcomes.
        source: Where the data come from, in a sentence; by default the figure's own table.
    """

    as_of: date
    horizon_days: int
    currency: str = ""
    served: str = ""
    validated: bool = False
    source: str = ""

    @property
    def served_model(self) -> str:
        """The name of the model that made this run's predictions.

        Raises:
            PipelineError: There are no predictions for this date and horizon.
        """
        if not self.served:
            raise PipelineError(
                f"there are no predictions as of {self.as_of} over {self.horizon_days} days: "
                "materialize clv/predictions and clv/segments with this horizon first"
            )
        return self.served


@dataclass(frozen=True)
class Gaps:
    """The time between purchases.

    Attributes:
        frame: `gap_days, gaps`: how often so many days passed from one purchase to the next.
        customers: Customers with a purchase.
        single: Those of them with one purchase only.
    """

    frame: "pd.DataFrame"
    customers: int
    single: int


@dataclass(frozen=True)
class Outcomes:
    """Past predictions of the served model with their outcomes.

    Attributes:
        frame: `cutoff_date, customer_id, predicted_value, actual_value, lower_80, upper_80,
            probability_active`; an outcome that is not complete is missing.
        sampled: One customer in so many is in it.
    """

    frame: "pd.DataFrame"
    sampled: int = 1


@dataclass(frozen=True)
class Changes:
    """Moves between segments.

    Attributes:
        frame: `label_before, label_after, customers, since_date`, a row per pair of segments,
            those who stayed included; customers of both dates only.
        order: The segments, the most valuable first.
    """

    frame: "pd.DataFrame"
    order: tuple[str, ...]


@dataclass(frozen=True)
class Realised:
    """Totals that were predicted at earlier dates beside the actual ones.

    Attributes:
        frame: `as_of_date, origin, customers, predicted_value, actual_value, inside` (customers
            whose outcome lay in their interval), a row per date whose horizon is over and origin:
            "served" was in use then, "backtest" is what the model now in use would have predicted.
        earliest: The earliest date that was served, None where none was.
    """

    frame: "pd.DataFrame"
    earliest: date | None


@dataclass(frozen=True)
class Fit:
    """The terms of a model, as it was fitted last.

    Attributes:
        terms: `clv.model_terms` of its version; empty where it abstained or was never fitted.
        abstention: Why it abstained.
        as_of: The date that it was fitted for; the run's where it was never tried.
    """

    terms: "pd.DataFrame"
    abstention: str | None
    as_of: date


@dataclass(frozen=True)
class Importance:
    """The importance of groups of features, as it was measured last.

    Attributes:
        frame: `feature_group, deviance_increase, deviance_increase_sd, model_name, cutoff_date,
            customers`, a row per group; the increase is a share of the deviance.
        as_of: The date that it was measured for; the run's where it never was.
    """

    frame: "pd.DataFrame"
    as_of: date


@dataclass(frozen=True)
class Tables:
    """The tables as of one run's date and horizon; each property reads what one figure draws.

    Attributes:
        database: As the reader.
        as_of: The run's date.
        horizon_days: Its horizon.
    """

    database: Database
    as_of: date
    horizon_days: int

    @cached_property
    def context(self) -> Context:
        """Date, horizon, currency and the served model."""
        currency = shared_queries.currency(self.database)
        found = self.database.query(
            "select p.model_name, coalesce(v.validated, false) as validated "
            "from clv.predictions p left join clv.model_versions v using (model_version) "
            "where p.as_of_date = %(as_of)s and p.horizon_days = %(horizon)s "
            "order by p.predicted_at desc limit 1",
            self._params(),
        )
        if found.empty:
            return Context(self.as_of, self.horizon_days, currency)
        name, validated = found.iloc[0]
        return Context(self.as_of, self.horizon_days, currency, str(name), bool(validated))

    @property
    def metrics(self) -> "pd.DataFrame":
        """The backtest's metrics, a row per model and cut-off of this run."""
        columns = ["model_name", "cutoff_date", "tweedie_deviance", "normalized_gini"]
        columns += ["bias", "mae_over_mean"]
        return self.database.read(
            "clv.backtest_metrics", columns, shared_queries.PAST_CUTOFFS, self._params()
        )

    @property
    def outcomes(self) -> Outcomes:
        """The served model's past predictions with their outcomes."""
        where = f"{shared_queries.PAST_CUTOFFS} and model_name = %(model)s"
        params = {**self._params(), "model": self.context.served_model}
        found = self.database.query(
            "select coalesce(sum(customers), 0) as rows, "
            "coalesce(max(one_customer_in), 1) as one_customer_in "
            f"from clv.backtest_metrics where {where}",
            params,
        ).iloc[0]
        sampled = max(1, -(-int(found["rows"]) // MOST_OUTCOMES))
        columns = ["cutoff_date", "customer_id", "predicted_value", "actual_value"]
        columns += ["lower_80", "upper_80", "probability_active"]
        frame = self.database.read(
            "clv.backtest_predictions", columns, f"{where} and {_one_in(sampled)}", params
        )
        return Outcomes(frame, sampled * int(found["one_customer_in"]))

    @property
    def revenue_by_day(self) -> "pd.DataFrame":
        """`warehouse.revenue_daily`: a row per day."""
        columns = ["date_day", "sales_amount", "returns_amount", "net_amount", "orders"]
        return self.database.read("warehouse.revenue_daily", columns)

    @property
    def cohorts(self) -> "pd.DataFrame":
        """`warehouse.cohort_retention`: a row per cohort and month."""
        columns = ["cohort_month", "months_since", "cohort_customers", "active_customers"]
        return self.database.read("warehouse.cohort_retention", columns)

    @property
    def purchase_gaps(self) -> Gaps:
        """How often so many days passed between two purchases."""
        frame = self.database.query(
            "select gap_days, count(*) as gaps from ("
            "select date_day - lag(date_day) over (partition by customer_id order by date_day) "
            "as gap_days from warehouse.customer_days where is_purchase) as purchases "
            "where gap_days is not null group by gap_days"
        )
        found = self.database.query(
            "select count(*) as customers, count(*) filter (where frequency = 1) as single "
            "from warehouse.customer_rfm"
        ).iloc[0]
        return Gaps(frame, int(found["customers"]), int(found["single"]))

    @property
    def order_values(self) -> "pd.DataFrame":
        """How many orders are how large: `step, orders, amount`.

        `step` is floor(STEPS_PER_DECADE · log10 of an order's net amount), missing for orders of
        zero and less; `amount` is the sum of the orders.
        """
        return self.database.query(
            f"select case when net > 0 then cast(floor({STEPS_PER_DECADE} * log(net)) as integer) "
            "end as step, count(*) as orders, sum(net) as amount from ("
            "select cast(net_amount - excluded_net_amount as double precision) as net "
            "from warehouse.fct_transactions where transaction_type = 'sale' and not is_excluded"
            ") as sales group by 1"
        )

    @property
    def value_groups(self) -> "pd.DataFrame":
        """Past and predicted value by rank: `kind, place, customers, value, negative`.

        A row is a group of customers of equal rank, the most valuable in place 1; their value is
        floored at zero, `negative` counts those below.
        """
        past = _grouped("past", "monetary", "warehouse.customer_rfm", "monetary is not null")
        predicted = _grouped("predicted", "predicted_value", "clv.predictions", _OF_THIS_RUN)
        return self.database.query(f"{past} union all {predicted}", self._params())

    @property
    def rfm_cells(self) -> "pd.DataFrame":
        """Customers and revenue by pair of scores, with the ranges behind them."""
        return self.database.query(
            "select r_score, f_score, rfm_segment, count(*) as customers, "
            "sum(monetary) as monetary, "
            "min(recency_days) as recency_min, max(recency_days) as recency_max, "
            "min(frequency) as frequency_min, max(frequency) as frequency_max "
            "from warehouse.customer_rfm group by 1, 2, 3"
        )

    @property
    def segments(self) -> "pd.DataFrame":
        """The segments of this run, the most valuable customers first."""
        return self.database.read(
            "clv.segments",
            ["segment", "customers", "predicted_value"],
            where=f"{_OF_THIS_RUN} order by mean_predicted_value desc, segment",
            params=self._params(),
        )

    @property
    def segment_changes(self) -> Changes:
        """The moves between segments since the month start before."""
        frame = self.database.read(
            "clv.segment_changes",
            ["label_before", "label_after", "customers", "since_date"],
            where=f"{_OF_THIS_RUN} and scheme = 'decision'",
            params=self._params(),
        )
        return Changes(frame, tuple(str(name) for name in self.segments["segment"]))

    @property
    def linear_regression(self) -> Fit:
        """The terms of the linear regression as it was fitted last."""
        return self._fit("linear_regression")

    @property
    def decision_tree(self) -> Fit:
        """The nodes of the decision tree as it was fitted last."""
        return self._fit("decision_tree")

    @property
    def realised(self) -> Realised:
        """The predictions of earlier dates whose horizon is over, and what was actually spent."""
        frame = self.database.query(
            "select as_of_date, origin, sum(customers) as customers, "
            "sum(predicted_value) as predicted_value, sum(realised_value) as actual_value, "
            "sum(inside_80) as inside from clv.realised_predictions "
            "where horizon_days = %(horizon)s and as_of_date + horizon_days <= %(as_of)s "
            "group by 1, 2",
            self._params(),
        )
        days = self.database.query(
            "select min(as_of_date) as day from clv.predictions where horizon_days = %(horizon)s",
            self._params(),
        )["day"]
        return Realised(frame, None if days.isna().all() else days.iloc[0].date())

    @property
    def drift(self) -> "pd.DataFrame":
        """`clv.drift` of this run: a row per quantity and reference."""
        columns = ["quantity", "is_prediction", "reference", "reference_date"]
        columns += ["stability_index", "chance_95"]
        return self.database.read("clv.drift", columns, where=_OF_THIS_RUN, params=self._params())

    @property
    def importance(self) -> Importance:
        """`clv.feature_importance` as measured last, which is when a model was chosen."""
        columns = ["feature_group", "deviance_increase", "deviance_increase_sd", "model_name"]
        columns += ["cutoff_date", "customers", "as_of_date"]
        frame = self.database.read(
            "clv.feature_importance",
            columns,
            where="horizon_days = %(horizon)s and as_of_date = (select max(as_of_date) "
            "from clv.feature_importance where horizon_days = %(horizon)s "
            "and as_of_date <= %(as_of)s)",
            params=self._params(),
        )
        return Importance(frame, self._latest(frame["as_of_date"]))

    def _fit(self, model_name: str) -> Fit:
        """Return a model's terms as it was fitted last; models are not fitted at each date."""
        params = {**self._params(), "model": model_name}
        tries = self.database.query(
            "select max(as_of_date) as day from ("
            "select model_name, as_of_date, horizon_days from clv.model_versions union all "
            "select model_name, as_of_date, horizon_days from clv.abstentions) as tries "
            "where model_name = %(model)s and horizon_days = %(horizon)s "
            "and as_of_date <= %(as_of)s",
            params,
        )
        as_of = self._latest(tries["day"])
        params["as_of"] = as_of
        tried = f"model_name = %(model)s and {_OF_THIS_RUN}"
        terms = self.database.query(
            "select * from clv.model_terms where model_version = ("
            f"select model_version from clv.model_versions where {tried} "
            "order by trained_at desc limit 1) order by term_number",
            params,
        )
        reasons = self.database.query(f"select reason from clv.abstentions where {tried}", params)[
            "reason"
        ]
        return Fit(terms, None if reasons.empty else str(reasons.iloc[0]), as_of)

    def _latest(self, days: "pd.Series") -> date:
        """Return the latest of some dates, the run's where there is none."""
        known = days.dropna()
        latest: date = self.as_of if known.empty else known.max().date()
        return latest

    def _params(self) -> dict[str, object]:
        return {"as_of": self.as_of, "horizon": self.horizon_days}


def _grouped(kind: str, value: str, table: str, where: str) -> str:
    return (
        f"select '{kind}' as kind, place, count(*) as customers, "
        f"cast(sum(greatest({value}, 0)) as double precision) as value, "
        f"count(*) filter (where {value} < 0) as negative from ("
        f"select {value}, ntile({_CONCENTRATION_GROUPS}) over (order by {value} desc) as place "
        f"from {table} where {where}) as ranked group by place"
    )


def _one_in(sampled: int) -> str:
    """Return the condition that keeps the same customers each time."""
    if sampled == 1:
        return "true"
    return f"mod(abs(hashtext(customer_id)::bigint), {sampled}) = 0"
