"""The numbers of a report, read from the tables for one date and horizon."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pandas as pd

from retail_pipeline import shared_queries, wording
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.report.uncertainty import intervals

METRICS: Final = (
    *("normalized_gini", "tweedie_deviance", "mae_over_mean"),
    *("r2", "bias", "coverage_80"),
)

NEXT_ORDER: Final = ("next_order_error_days", "own_gap_error_days", "usual_gap_error_days")


@dataclass(frozen=True)
class RunFacts:
    """The numbers of one run.

    Attributes:
        as_of: As-of date of the predictions.
        horizon_days: Horizon of the predictions.
        source: Identity of the source.
        currency: Currency of the amounts; empty if there is none or more than one.
        data: `first_day`, `last_day`, `transactions`, `customers`, `net_amount` of the transactions
            that count and were recorded before the date, without their excluded lines.
        losses: The lines and values of a transactions file that are not used, by reason
            (`shared_queries.file_losses`).
        guests: The transactions without a customer (`shared_queries.guest_sales`).
        excluded: The lines that do not count, by reason (`shared_queries.excluded_lines`).
        decision: `model_name`, `model_version`, `validated`, `reason`, `training_rows`,
            `one_customer_in` (of the training sample), `trained_at`.
        leaderboard: Mean metrics of each tested model over the cut-offs; may be empty.
        spread: Mean, lowest and highest value of each metric of the served model over the cut-offs
            of the latest twelve months with an outcome.
        uncertainty: Value and interval of each metric at the latest cut-off, with `cutoff_date`.
        bias: Predicted over actual total by cut-off (`shared_queries.bias_by_cutoff`), of the
            served model and of the model that was tested a year before.
        predictions: `customers`, `expected_active`, `repeat_customers` (of high value, who ordered
            on two days or more), `discount_rate`, `is_extrapolated`, and the sums of
            `predicted_value`, `discounted_value`, `predicted_margin` and `discounted_margin` (None
            if no product cost is known).
        total: The row of `clv.totals` for everybody; empty if there is none.
        late: `late_by`, `customers`, `predicted_value` of the customers of high value who are
            overdue, the latest first.
        segments: The segments, the most valuable first, with `lower_80` and `upper_80` of their
            totals (null if there are none).
        earlier: `as_of_date`, `segment`, `customers`, `predicted_value` of the previous prediction
            over the same horizon; empty if there is none.
        moves: `since_date`, `label_before`, `label_after`, `customers`,
            `customers_without_purchase` of the largest moves between segments, those into or out of
            high value first.
        importance: Feature groups by importance for the served type of model.
        drift: Quantities by stability index, the largest first.
        realised: Past predictions beside actual net revenue, by date and origin, the latest first.
    """

    as_of: date
    horizon_days: int
    source: str
    currency: str
    data: dict[str, Any]
    losses: list[dict[str, Any]]
    guests: dict[str, Any]
    excluded: list[dict[str, Any]]
    decision: dict[str, Any]
    leaderboard: pd.DataFrame
    spread: pd.DataFrame
    uncertainty: pd.DataFrame
    bias: pd.DataFrame
    predictions: dict[str, Any]
    total: dict[str, Any]
    late: pd.DataFrame
    segments: pd.DataFrame
    earlier: pd.DataFrame
    moves: pd.DataFrame
    importance: pd.DataFrame
    drift: pd.DataFrame
    realised: pd.DataFrame

    @property
    def model_name(self) -> str:
        """Name of the served model."""
        return str(self.decision["model_name"])

    @property
    def is_extrapolated(self) -> bool:
        """Whether the horizon is longer than any complete outcome in the data."""
        return bool(self.predictions["is_extrapolated"])

    @property
    def discount_rate(self) -> float:
        """The yearly discount rate of the amounts; 0 without discounting."""
        return float(self.predictions["discount_rate"])

    @property
    def has_margin(self) -> bool:
        """Whether the cost of any sold product is known."""
        return not pd.isna(self.predictions["predicted_margin"])

    def money(self, amount: float | None) -> str:
        """Return an amount as text with its currency."""
        return wording.money(amount, self.currency)


_HERE = "as_of_date = %(as_of)s and horizon_days = %(horizon)s"
_PAST = f"{shared_queries.PAST_CUTOFFS} and model_name = %(model)s"

_DECISION = """
select d.model_name, d.model_version, d.validated, d.reason, d.numbers,
    v.training_rows, v.one_customer_in, v.trained_at
from clv.model_decisions as d
left join clv.model_versions as v using (model_version)
where d.as_of_date <= %(as_of)s and d.horizon_days = %(horizon)s
order by d.as_of_date desc, d.decided_at desc
limit 1
"""

# The rows that count in revenue and customer-days, as the models use them.
_DATA = """
select min(transaction_date) as first_day, max(transaction_date) as last_day,
    count(*) as transactions, count(distinct customer_id) as customers,
    sum(net_amount - excluded_net_amount) as net_amount
from warehouse.fct_transactions
where not is_excluded and transaction_date < %(as_of)s
"""

_PREDICTIONS = f"""
select count(*) as customers, sum(predicted_value) as predicted_value,
    sum(discounted_value) as discounted_value, sum(predicted_margin) as predicted_margin,
    sum(discounted_margin) as discounted_margin,
    coalesce(max(discount_rate), 0) as discount_rate,
    coalesce(bool_or(is_extrapolated), false) as is_extrapolated,
    sum(probability_active) as expected_active,
    count(days_overdue) filter (where starts_with(segment, 'high value')) as repeat_customers
from clv.predictions where {_HERE}
"""

_TOTAL = f"select * from clv.totals where {_HERE} and grouping = 'all'"

_LATE = f"""
select
    case
        when days_overdue > 90 then 'more than 90 days'
        when days_overdue > 30 then '31 to 90 days'
        when days_overdue > 7 then '8 to 30 days'
        else '1 to 7 days'
    end as late_by,
    count(*) as customers,
    sum(predicted_value) as predicted_value
from clv.predictions
where {_HERE} and days_overdue > 0 and starts_with(segment, 'high value')
group by 1 order by max(days_overdue) desc
"""

_EARLIER = """
select as_of_date, segment, customers, predicted_value from clv.segments
where horizon_days = %(horizon)s and as_of_date = (
    select max(as_of_date) from clv.segments
    where horizon_days = %(horizon)s and as_of_date < %(as_of)s
)
"""

_MOVES = f"""
select since_date, label_before, label_after, customers, customers_without_purchase
from clv.segment_changes
where {_HERE} and scheme = 'decision' and label_before <> label_after
order by 'high' in (left(label_before, 4), left(label_after, 4)) desc, customers desc, 2, 3
limit 6
"""

_SEGMENTS = f"""
select s.*, t.lower_80, t.upper_80
from (select * from clv.segments where {_HERE}) as s
left join clv.totals as t on (t.as_of_date, t.horizon_days, t.grouping, t.group_value)
    = (s.as_of_date, s.horizon_days, 'segment', s.segment)
order by s.predicted_value desc
"""

_SPREAD = f"""
select metric.key as metric, avg(metric.value::float8) as mean,
    min(metric.value::float8) as lowest, max(metric.value::float8) as highest
from clv.backtest_metrics as m, lateral jsonb_each_text(to_jsonb(m)) as metric
where {_PAST} and metric.key = any(%(metrics)s)
group by 1
"""

# Importance is measured when a model is chosen; another one may have been pinned since.
_IMPORTANCE = """
select * from clv.feature_importance
where horizon_days = %(horizon)s and model_name = %(model)s and as_of_date = (
    select max(as_of_date) from clv.feature_importance
    where horizon_days = %(horizon)s and model_name = %(model)s and as_of_date <= %(as_of)s
)
order by deviance_increase desc
"""

_REALISED = """
select as_of_date, origin, sum(customers) as customers,
    sum(predicted_value) as predicted_value, sum(realised_value) as realised_value,
    sum(predicted_value) / nullif(sum(realised_value), 0) as predicted_over_realised,
    sum(inside_80)::float8 / sum(customers) as share_inside_80
from clv.realised_predictions
where horizon_days = %(horizon)s and as_of_date + horizon_days <= %(as_of)s
group by 1, 2
order by 1 desc, 2
"""


def read_facts(database: Database, source: str, as_of: date, horizon_days: int) -> RunFacts:
    """Return the facts of a run.

    Args:
        database: The warehouse, as the role scientist or reader.
        source: Identity of the source.
        as_of: As-of date of the predictions.
        horizon_days: Horizon of the predictions.

    Raises:
        PipelineError: There are no predictions, or no decision on the model that made them.
    """
    params: dict[str, Any] = {"as_of": as_of, "horizon": horizon_days}
    decision = _row(database, _DECISION, params)
    predictions = _row(database, _PREDICTIONS, params)
    if not decision or not predictions["customers"]:
        raise PipelineError(
            f"there are no predictions as of {as_of} over {horizon_days} days: "
            "materialize clv/predictions first"
        )
    params |= {"model": decision["model_name"], "metrics": [*METRICS, *NEXT_ORDER]}
    total = _row(database, _TOTAL, params)
    models = dict.fromkeys([decision["model_name"], total.get("model_year_ago") or ""])
    return RunFacts(
        as_of=as_of,
        horizon_days=horizon_days,
        source=source,
        currency=shared_queries.currency(database),
        data=_row(database, _DATA, params),
        losses=shared_queries.file_losses(database),
        guests=shared_queries.guest_sales(database),
        excluded=shared_queries.excluded_lines(database),
        decision=decision,
        leaderboard=pd.DataFrame(json.loads(decision["numbers"])["leaderboard"]),
        spread=database.query(_SPREAD, params),
        uncertainty=_uncertainty(database, params),
        bias=shared_queries.bias_by_cutoff(database, as_of, horizon_days, models),
        predictions=predictions,
        total=total,
        late=database.query(_LATE, params),
        segments=database.query(_SEGMENTS, params),
        earlier=database.query(_EARLIER, params),
        moves=database.query(_MOVES, params),
        importance=database.query(_IMPORTANCE, params),
        drift=database.read("clv.drift", None, f"{_HERE} order by stability_index desc", params),
        realised=database.query(_REALISED, params),
    )


def _uncertainty(database: Database, params: dict[str, Any]) -> pd.DataFrame:
    past = database.read(
        "clv.backtest_predictions",
        ["cutoff_date", "predicted_value", "lower_80", "upper_80", "actual_value"],
        f"horizon_days = %(horizon)s and model_name = %(model)s and cutoff_date = ("
        f"select max(cutoff_date) from clv.backtest_metrics where {_PAST}) order by customer_id",
        params,
    )
    return intervals(past).assign(cutoff_date=past["cutoff_date"].max())


def _row(database: Database, statement: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the only row of a query; empty if there is none."""
    found = database.query(statement, params)
    return {str(name): found[name].iloc[0] for name in found if len(found)}
