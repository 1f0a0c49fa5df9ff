"""What the figures read: counts and sums that PostgreSQL makes, or a fixed sample of customers.

A figure shows some hundred marks, so no query here returns a row per customer of a large shop.
What is drawn from the rows is the other modules' matter; no Dagster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

if TYPE_CHECKING:
    import pandas as pd

MOST_OUTCOMES = 250_000
"""Of past outcomes that are read one by one; beyond, a fixed sample of customers stands for all."""

STEPS_PER_DECADE = 100
"""Order values are counted in steps of 2.3 %: fine enough to read quantiles from."""

_CONCENTRATION_GROUPS = 200
_OF_THIS_RUN = "as_of_date = %(as_of)s and horizon_days = %(horizon)s"


@dataclass(frozen=True)
class Outcomes:
    """Past predictions of one model with what came.

    Attributes:
        frame: `cutoff_date, customer_id, predicted_value, actual_value` and what was asked for.
        sampled: One customer in so many is in it.
    """

    frame: "pd.DataFrame"
    sampled: int


@dataclass(frozen=True)
class Fit:
    """What a readable model says, as it was fitted last.

    Attributes:
        terms: `clv.model_terms` of its version; empty where it abstained or was never fitted.
        abstention: Why it abstained.
        as_of: The date that it was fitted for; the run's where it was never tried.
    """

    terms: "pd.DataFrame"
    abstention: str | None
    as_of: date


@dataclass(frozen=True)
class Tables:
    """The tables as of one run's date and horizon.

    Attributes:
        database: As the reader.
        as_of: The run's date.
        horizon_days: Its horizon.
    """

    database: Database
    as_of: date
    horizon_days: int

    @cached_property
    def currency(self) -> str:
        """The ISO code of the amounts, or nothing where they are in none or in several."""
        found = self.database.query(
            "select distinct currency from warehouse.revenue_daily where currency is not null"
        )
        return str(found["currency"].iloc[0]) if len(found) == 1 else ""

    @property
    def served_model(self) -> str:
        """The name of the model that made this run's predictions.

        Raises:
            PipelineError: There are none for this date and horizon.
        """
        return self._served[0]

    @property
    def is_validated(self) -> bool:
        """Whether that model met the selection's rule on past outcomes.

        Raises:
            PipelineError: There are no predictions for this date and horizon.
        """
        return self._served[1]

    @cached_property
    def _served(self) -> tuple[str, bool]:
        found = self.database.query(
            "select p.model_name, coalesce(v.validated, false) as validated "
            "from clv.predictions p left join clv.model_versions v using (model_version) "
            "where p.as_of_date = %s and p.horizon_days = %s "
            "order by p.predicted_at desc limit 1",
            [self.as_of, self.horizon_days],
        )
        if found.empty:
            raise PipelineError(
                f"there are no predictions as of {self.as_of} over {self.horizon_days} days: "
                "materialize clv/predictions and clv/segments with this horizon first"
            )
        return str(found["model_name"].iloc[0]), bool(found["validated"].iloc[0])

    def metrics(self, columns: Sequence[str]) -> "pd.DataFrame":
        """Return the backtest's metrics, a row per model and cut-off of this run."""
        return self.database.read(
            "clv.backtest_metrics", columns, where=self._of_this_run(), params=self._params()
        )

    def outcomes(self, *others: str) -> Outcomes:
        """Return the served model's past predictions with what came.

        Args:
            others: Further columns of `clv.backtest_predictions`, numbers.
        """
        where = f"{self._of_this_run()} and model_name = %(model)s"
        params = {**self._params(), "model": self.served_model}
        found = self.database.query(
            "select coalesce(sum(customers), 0) as rows, "
            "coalesce(max(one_customer_in), 1) as one_customer_in "
            f"from clv.backtest_metrics where {where}",
            params,
        ).iloc[0]
        sampled = max(1, -(-int(found["rows"]) // MOST_OUTCOMES))
        numbers = ", ".join(
            f"cast({name} as double precision) as {name}"
            for name in ("predicted_value", "actual_value", *others)
        )
        frame = self.database.query(
            f"select cutoff_date, customer_id, {numbers} from clv.backtest_predictions "
            f"where {where} and {_one_in(sampled)}",
            params,
        )
        return Outcomes(frame, sampled * int(found["one_customer_in"]))

    def revenue_by_day(self) -> "pd.DataFrame":
        """Return `warehouse.revenue_daily`: a row per day."""
        columns = ["date_day", "sales_amount", "returns_amount", "net_amount", "orders"]
        return self.database.read("warehouse.revenue_daily", columns)

    def cohorts(self) -> "pd.DataFrame":
        """Return `warehouse.cohort_retention`: a row per cohort and month."""
        columns = ["cohort_month", "months_since", "cohort_customers", "active_customers"]
        return self.database.read("warehouse.cohort_retention", columns)

    def purchase_gaps(self) -> "pd.DataFrame":
        """Return how often so many days passed between two purchases: `gap_days, gaps`."""
        return self.database.query(
            "select gap_days, count(*) as gaps from ("
            "select date_day - lag(date_day) over (partition by customer_id order by date_day) "
            "as gap_days from warehouse.customer_days where is_purchase) as purchases "
            "where gap_days is not null group by gap_days"
        )

    def customers(self) -> tuple[int, int]:
        """Return the number of customers with a purchase, and of those with one only."""
        found = self.database.query(
            "select count(*) as customers, count(*) filter (where frequency = 1) as single "
            "from warehouse.customer_rfm"
        )
        return int(found["customers"].iloc[0]), int(found["single"].iloc[0])

    def order_values(self) -> "pd.DataFrame":
        """Return how many orders are how large: `step, orders, amount`, see `order_values`."""
        return self.database.query(
            f"select case when net > 0 then cast(floor({STEPS_PER_DECADE} * log(net)) as integer) "
            "end as step, count(*) as orders, sum(net) as amount from ("
            "select cast(net_amount - excluded_net_amount as double precision) as net "
            "from warehouse.fct_transactions where transaction_type = 'sale' and not is_excluded"
            ") as sales group by 1"
        )

    def value_groups(self) -> "pd.DataFrame":
        """Return past and predicted value by rank: `kind, place, customers, value, negative`."""
        past = _grouped("past", "monetary", "warehouse.customer_rfm", "monetary is not null")
        predicted = _grouped("predicted", "predicted_value", "clv.predictions", _OF_THIS_RUN)
        return self.database.query(f"{past} union all {predicted}", self._params())

    def rfm_cells(self) -> "pd.DataFrame":
        """Return customers and revenue by pair of scores, with the ranges behind them."""
        return self.database.query(
            "select r_score, f_score, rfm_segment, count(*) as customers, "
            "sum(monetary) as monetary, "
            "min(recency_days) as recency_min, max(recency_days) as recency_max, "
            "min(frequency) as frequency_min, max(frequency) as frequency_max "
            "from warehouse.customer_rfm group by 1, 2, 3"
        )

    def segments(self) -> "pd.DataFrame":
        """Return the segments of this run, the most valuable customers first."""
        return self.database.read(
            "clv.segments",
            ["segment", "customers", "predicted_value"],
            where=f"{_OF_THIS_RUN} order by mean_predicted_value desc, segment",
            params=self._params(),
        )

    def segment_changes(self) -> "pd.DataFrame":
        """Return the moves between segments since the month first before."""
        return self.database.read(
            "clv.segment_changes",
            ["label_before", "label_after", "customers", "since_date"],
            where=f"{_OF_THIS_RUN} and scheme = 'decision'",
            params=self._params(),
        )

    def fit(self, model_name: str) -> Fit:
        """Return what a readable model says as it was fitted last, or why it abstained then.

        Models are not fitted at each date that is predicted.

        Args:
            model_name: `linear_regression` or `decision_tree`.
        """
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

    def realised(self) -> "pd.DataFrame":
        """Return, per origin and earlier date whose horizon is over, what was said and came."""
        return self.database.query(
            "select as_of_date, origin, sum(customers) as customers, "
            "sum(predicted_value) as predicted_value, sum(realised_value) as actual_value, "
            "sum(inside_80) as inside from clv.realised_predictions "
            "where horizon_days = %(horizon)s and as_of_date + horizon_days <= %(as_of)s "
            "group by 1, 2",
            self._params(),
        )

    def drift(self) -> "pd.DataFrame":
        """Return `clv.drift` of this run: a row per quantity and reference."""
        columns = ["quantity", "is_prediction", "reference", "reference_date"]
        columns += ["stability_index", "chance_95"]
        return self.database.read("clv.drift", columns, where=_OF_THIS_RUN, params=self._params())

    def importance(self) -> tuple["pd.DataFrame", date]:
        """Return `clv.feature_importance` as measured last, and the date that it was measured for.

        A row is a group of features; without any, the date is the run's. It is measured when a
        model is chosen; a later date is served by the same model.
        """
        columns = ["feature_group", "deviance_increase", "deviance_increase_sd", "model_name"]
        columns += ["cutoff_date", "customers", "as_of_date"]
        importance = self.database.read(
            "clv.feature_importance",
            columns,
            where="horizon_days = %(horizon)s and as_of_date = (select max(as_of_date) "
            "from clv.feature_importance where horizon_days = %(horizon)s "
            "and as_of_date <= %(as_of)s)",
            params=self._params(),
        )
        return importance.drop(columns="as_of_date"), self._latest(importance["as_of_date"])

    def earliest_served(self) -> date | None:
        """Return the earliest date with predictions over this horizon."""
        found = self.database.query(
            "select min(as_of_date) as day from clv.predictions where horizon_days = %(horizon)s",
            self._params(),
        )
        earliest: date | None = None if found["day"].isna().all() else found["day"].iloc[0].date()
        return earliest

    def _latest(self, days: "pd.Series") -> date:
        """Return the latest of some dates, the run's where there is none."""
        known = days.dropna()
        latest: date = self.as_of if known.empty else known.max().date()
        return latest

    def _params(self) -> dict[str, object]:
        return {
            "as_of": self.as_of,
            "horizon": self.horizon_days,
        }

    def _of_this_run(self) -> str:
        """Return the condition for this run's cut-offs: the latest twelve months with an outcome.

        Older cut-offs stay in the tables; the choice of the model does not count them either.
        """
        return (
            "horizon_days = %(horizon)s and cutoff_date + horizon_days <= %(as_of)s "
            "and cutoff_date > %(as_of)s::date - %(horizon)s - interval '12 months'"
        )


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
