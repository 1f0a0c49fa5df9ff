"""The data of the figures: counts and sums made by PostgreSQL, or a fixed sample of customers.

A figure shows a few hundred marks, so no query returns a row per customer of a large shop. This
module imports neither Dagster nor matplotlib.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.shared_queries import PAST_CUTOFFS, currency

if TYPE_CHECKING:
    import pandas as pd

MOST_OUTCOMES = 250_000
"""Largest number of past outcomes to read; of more, a fixed sample of customers is read."""

STEPS_PER_DECADE = 100
"""Order values are counted in steps of 2.3 %, fine enough for quantiles."""

_CONCENTRATION_GROUPS = 200
_OF_THIS_RUN = "as_of_date = %(as_of)s and horizon_days = %(horizon)s"
_UNTIL_THIS_RUN = "as_of_date <= %(as_of)s and horizon_days = %(horizon)s"


@dataclass(frozen=True)
class Context:
    """The facts that all figures of a run share.

    Attributes:
        as_of: As-of date; only data before it count.
        horizon_days: Number of days that predictions cover.
        currency: ISO code of the amounts; empty if they have no single currency.
        served: The model that made this run's predictions; empty if there are none.
        validated: Whether that model met the selection rule on past outcomes.
        source: The footer's sentence on the source; by default it names the figure's table.
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


class Gaps(NamedTuple):
    """Number of gaps between purchases by length: `gap_days, gaps`.

    `customers` counts those with a purchase, `single` those with exactly one.
    """

    frame: "pd.DataFrame"
    customers: int
    single: int


class Outcomes(NamedTuple):
    """Past predictions of the served model with their outcomes, for one customer in `sampled`.

    `cutoff_date, customer_id, predicted_value, actual_value, lower_80, upper_80,
    probability_active`; the actual value is null until the outcome is complete.
    """

    frame: "pd.DataFrame"
    sampled: int = 1


class Changes(NamedTuple):
    """Customers by segment at two dates: `label_before, label_after, customers, since_date`.

    Customers who stayed in a segment are included. `order` lists the segments, the most valuable
    first.
    """

    frame: "pd.DataFrame"
    order: tuple[str, ...]


class Totals(NamedTuple):
    """The totals of this run by group, and totals at past cut-offs.

    `groups` has the columns `grouping, group_value, customers, predicted_value, lower_80,
    upper_80`; `past` has `model_name, cutoff_date, predicted_value, actual_value` for the served
    model and for the model that stands in where that one could not be tested.
    """

    groups: "pd.DataFrame"
    past: "pd.DataFrame"

    @property
    def present(self) -> dict[str, float]:
        """The predicted total of all customers with its range; empty without predictions."""
        everyone = self.groups[self.groups["grouping"] == "all"]
        columns = ("customers", "predicted_value", "lower_80", "upper_80")
        return {name: float(everyone[name].iloc[0]) for name in columns if len(everyone)}


class Purchasing(NamedTuple):
    """The purchase model against the data, and the probabilities that it gives.

    `weeks` has the columns `week_start, cutoff_date, actual_orders, expected_orders, customers`;
    `cells` has `purchases, days_since_last, age_days, probability_alive, expected_orders`.
    """

    weeks: "pd.DataFrame"
    cells: "pd.DataFrame"


class Realised(NamedTuple):
    """Predicted totals of earlier dates beside the actual totals.

    `as_of_date, origin, customers, predicted_value, actual_value, inside` (customers whose outcome
    lay in their interval): one row per origin and date whose horizon has passed. The origin is
    "served" for predictions in use at that date, "backtest" for those of the model now in use.
    `earliest` is the first date with served predictions, if any.
    """

    frame: "pd.DataFrame"
    earliest: date | None


class Fit(NamedTuple):
    """The terms of a model's latest fit, for the date `as_of`; no terms if the model abstained."""

    terms: "pd.DataFrame"
    abstention: str | None
    as_of: date


@dataclass(frozen=True)
class Tables:
    """The tables as of one run's date and horizon; each property reads the data of one figure.

    Attributes:
        database: The warehouse, as the role reader.
        as_of: As-of date of the run.
        horizon_days: Horizon of the run.
    """

    database: Database
    as_of: date
    horizon_days: int

    @cached_property
    def context(self) -> Context:
        """The run's date, horizon, currency and served model."""
        found = self._query(
            "select p.model_name, coalesce(v.validated, false) as validated "
            "from clv.predictions p left join clv.model_versions v using (model_version) "
            "where p.as_of_date = %(as_of)s and p.horizon_days = %(horizon)s "
            "order by p.predicted_at desc limit 1"
        )
        name, validated = ("", False) if found.empty else found.iloc[0]
        money = currency(self.database)
        return Context(self.as_of, self.horizon_days, money, str(name), bool(validated))

    @property
    def metrics(self) -> "pd.DataFrame":
        """The backtest's metrics, one row per model and cut-off of this run."""
        return self._query(
            "select model_name, cutoff_date, tweedie_deviance, normalized_gini, bias, "
            f"mae_over_mean from clv.backtest_metrics where {PAST_CUTOFFS}"
        )

    @cached_property
    def outcomes(self) -> Outcomes:
        """The served model's past predictions with their outcomes; read once for all figures."""
        where = f"{PAST_CUTOFFS} and model_name = %(model)s"
        model = self.context.served_model
        found = self._query(
            "select coalesce(sum(customers), 0) as rows, "
            "coalesce(max(one_customer_in), 1) as one_customer_in "
            f"from clv.backtest_metrics where {where}",
            model=model,
        ).iloc[0]
        sampled = max(1, -(-int(found["rows"]) // MOST_OUTCOMES))
        if sampled > 1:  # the same customers each time
            where += f" and mod(abs(hashtext(customer_id)::bigint), {sampled}) = 0"
        columns = ["cutoff_date", "customer_id", "predicted_value", "actual_value"]
        columns += ["lower_80", "upper_80", "probability_active"]
        params = {**self._params, "model": model}
        frame = self.database.read("clv.backtest_predictions", columns, where, params)
        return Outcomes(frame, sampled * int(found["one_customer_in"]))

    @property
    def revenue_over_time(self) -> "pd.DataFrame":
        """`warehouse.revenue_daily`: one row per day."""
        columns = ["date_day", "sales_amount", "returns_amount", "net_amount", "orders"]
        return self.database.read("warehouse.revenue_daily", columns)

    @cached_property
    def cohort_retention(self) -> "pd.DataFrame":
        """`warehouse.cohort_retention`: one row per cohort and month."""
        columns = ["cohort_month", "months_since", "cohort_customers", "active_customers"]
        return self.database.read("warehouse.cohort_retention", [*columns, "net_amount"])

    @property
    def revenue_by_category(self) -> "pd.DataFrame":
        """Net revenue by product category: `category, amount, amount_before, first_day`.

        The amounts are those of the last 365 days and of the 365 days before.
        """
        days = "items.date_day < %(as_of)s::date - 365"
        return self._query(
            "select products.product_category as category, "
            f"sum(items.net_amount) filter (where not {days})::float8 as amount, "
            f"sum(items.net_amount) filter (where {days} and items.date_day >= "
            "%(as_of)s::date - 730)::float8 as amount_before, "
            "min(items.date_day) as first_day "
            "from warehouse.fct_transaction_items as items "
            "left join warehouse.dim_products as products using (product_id) "
            "where not items.is_excluded group by 1"
        )

    @cached_property
    def totals(self) -> Totals:
        """The totals of this run and of its past cut-offs; read once for all figures."""
        groups = self._query(
            "select grouping, group_value, customers, predicted_value, lower_80, upper_80, "
            f"model_year_ago from clv.totals where {_OF_THIS_RUN}"
        )
        past = self._query(
            "select model_name, cutoff_date, "
            "sum(predicted_value * one_customer_in) as predicted_value, "
            "sum(actual_value * one_customer_in) as actual_value "
            "from clv.backtest_predictions join clv.backtest_metrics "
            f"using (model_name, cutoff_date, horizon_days) where {PAST_CUTOFFS} "
            "and model_name = any(%(models)s) and actual_value is not null group by 1, 2",
            models=[self.context.served_model, *groups["model_year_ago"].dropna().unique()],
        )
        return Totals(groups, past)

    @property
    def next_order_calibration(self) -> "pd.DataFrame":
        """Shares of customers by tenth of the predicted time until the next order.

        `cutoff_date, customers, tenth, share`: ten rows per cut-off of the served model.
        """
        return self._query(
            "select cutoff_date, customers, tenth, share::float8 as share "
            "from clv.backtest_metrics cross join lateral jsonb_array_elements_text(next_order_pit)"
            f" with ordinality as t (share, tenth) where {PAST_CUTOFFS} and model_name = %(model)s",
            model=self.context.served_model,
        )

    @cached_property
    def purchasing(self) -> Purchasing:
        """The purchase model's weeks and probabilities of this run; read once for two figures."""
        weeks = self._query(
            "select week_start, cutoff_date, actual_orders, expected_orders, customers "
            f"from clv.purchase_tracking where {_OF_THIS_RUN} order by week_start"
        )
        cells = self._query(
            "select purchases, days_since_last, age_days, probability_alive, expected_orders "
            f"from clv.recency_frequency where {_OF_THIS_RUN}"
        )
        return Purchasing(weeks, cells)

    @property
    def purchase_gaps(self) -> Gaps:
        """The number of gaps between two purchases by length in days."""
        frame = self._query(
            "select gap_days, count(*) as gaps from ("
            "select date_day - lag(date_day) over (partition by customer_id order by date_day) "
            "as gap_days from warehouse.customer_days where is_purchase) as purchases "
            "where gap_days is not null group by gap_days"
        )
        found = self._query(
            "select count(*) as customers, count(*) filter (where frequency = 1) as single "
            "from warehouse.customer_rfm"
        ).iloc[0]
        return Gaps(frame, int(found["customers"]), int(found["single"]))

    @property
    def order_values(self) -> "pd.DataFrame":
        """The number and amount of orders by size: `step, orders, amount`.

        `step` is floor(STEPS_PER_DECADE · log10 of an order's net amount), null for orders of zero
        or less; `amount` is the sum of the orders.
        """
        return self._query(
            f"select case when net > 0 then cast(floor({STEPS_PER_DECADE} * log(net)) as integer) "
            "end as step, count(*) as orders, sum(net) as amount from ("
            "select cast(net_amount - excluded_net_amount as double precision) as net "
            "from warehouse.fct_transactions where transaction_type = 'sale' and not is_excluded"
            ") as sales group by 1"
        )

    @property
    def revenue_concentration(self) -> "pd.DataFrame":
        """Past and predicted value by rank: `kind, place, customers, value, negative`.

        A row is a group of customers of similar rank, the most valuable in place 1. Their values
        are floored at zero; `negative` counts the customers below zero.
        """
        past = _ranked("past", "monetary", "warehouse.customer_rfm", "monetary is not null")
        predicted = _ranked("predicted", "predicted_value", "clv.predictions", _OF_THIS_RUN)
        return self._query(f"{past} union all {predicted}")

    @property
    def rfm_map(self) -> "pd.DataFrame":
        """Customers and revenue by pair of scores, with the ranges of recency and frequency."""
        return self._query(
            "select r_score, f_score, rfm_segment, count(*) as customers, "
            "sum(monetary) as monetary, "
            "min(recency_days) as recency_min, max(recency_days) as recency_max, "
            "min(frequency) as frequency_min, max(frequency) as frequency_max "
            "from warehouse.customer_rfm group by 1, 2, 3"
        )

    @property
    def segments(self) -> "pd.DataFrame":
        """The segments of this run, the most valuable customers first."""
        return self._query(
            f"select segment, customers, predicted_value from clv.segments where {_OF_THIS_RUN} "
            "order by mean_predicted_value desc, segment"
        )

    @property
    def segment_movement(self) -> Changes:
        """The moves between segments since the previous month start."""
        frame = self._query(
            "select label_before, label_after, customers, since_date from clv.segment_changes "
            f"where {_OF_THIS_RUN} and scheme = 'decision'"
        )
        return Changes(frame, tuple(str(name) for name in self.segments["segment"]))

    @property
    def coefficients(self) -> Fit:
        """The terms of the latest linear regression."""
        return self._fit("linear_regression")

    @property
    def decision_tree(self) -> Fit:
        """The nodes of the latest decision tree."""
        return self._fit("decision_tree")

    @property
    def realised_against_predicted(self) -> Realised:
        """Predictions of earlier dates whose horizon has passed, with actual net revenue."""
        frame = self._query(
            "select as_of_date, origin, sum(customers) as customers, "
            "sum(predicted_value) as predicted_value, sum(realised_value) as actual_value, "
            "sum(inside_80) as inside from clv.realised_predictions "
            "where horizon_days = %(horizon)s and as_of_date + horizon_days <= %(as_of)s "
            "group by 1, 2"
        )
        days = self._query(
            "select min(as_of_date) as day from clv.predictions where horizon_days = %(horizon)s"
        )["day"]
        return Realised(frame, None if days.isna().all() else days.iloc[0].date())

    @property
    def drift(self) -> "pd.DataFrame":
        """`clv.drift` of this run: one row per quantity and reference."""
        return self._query(
            "select quantity, is_prediction, reference, reference_date, stability_index, chance_95 "
            f"from clv.drift where {_OF_THIS_RUN}"
        )

    @property
    def feature_importance(self) -> "pd.DataFrame":
        """The latest rows of `clv.feature_importance`, which is measured when a model is chosen."""
        return self._query(
            "select feature_group, deviance_increase, deviance_increase_sd, model_name, "
            "cutoff_date, customers, as_of_date from clv.feature_importance "
            "where horizon_days = %(horizon)s and as_of_date = (select max(as_of_date) "
            f"from clv.feature_importance where {_UNTIL_THIS_RUN})"
        )

    def _fit(self, model_name: str) -> Fit:
        """Return the terms of a model's latest fit, which may be of an earlier date."""
        here = f"model_name = %(model)s and {_UNTIL_THIS_RUN}"
        tries = self._query(
            "select as_of_date, model_version, null as reason, trained_at "
            f"from clv.model_versions where {here} union all "
            f"select as_of_date, null, reason, null from clv.abstentions where {here} "
            "order by as_of_date desc, trained_at desc nulls last limit 1",
            model=model_name,
        ).to_dict("records")
        last = tries[0] if tries else {"model_version": None, "reason": None}
        terms = self._query(
            "select * from clv.model_terms where model_version = %(version)s order by term_number",
            version=last["model_version"],
        )
        as_of = last["as_of_date"].date() if tries else self.as_of
        return Fit(terms, last["reason"], as_of)

    @property
    def _params(self) -> dict[str, object]:
        return {"as_of": self.as_of, "horizon": self.horizon_days}

    def _query(self, statement: str, **others: object) -> "pd.DataFrame":
        return self.database.query(statement, {**self._params, **others})


def _ranked(kind: str, value: str, table: str, where: str) -> str:
    return (
        f"select '{kind}' as kind, place, count(*) as customers, "
        f"cast(sum(greatest({value}, 0)) as double precision) as value, "
        f"count(*) filter (where {value} < 0) as negative from ("
        f"select {value}, ntile({_CONCENTRATION_GROUPS}) over (order by {value} desc) as place "
        f"from {table} where {where}) as ranked group by place"
    )
