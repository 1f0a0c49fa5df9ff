"""The numbers of a report, read from the tables, all as of one date and horizon."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.report.document import MISSING
from retail_pipeline.report.uncertainty import intervals


@dataclass(frozen=True)
class RunFacts:
    """One run's facts.

    Attributes:
        as_of: The date of the predictions.
        horizon_days: Their horizon.
        source: The source's identity.
        currency: Of the amounts; empty where there is none or are several.
        data: `first_day`, `last_day`, `transactions`, `customers`, `net_amount` of the transactions
            that count and were known before the date, without their excluded lines.
        decision: `model_name`, `model_version`, `validated`, `reason`, `training_rows`,
            `one_customer_in` (of the training sample), `trained_at`.
        leaderboard: Per tested model its mean metrics over the cut-offs; may be empty.
        spread: Per metric of the served model its mean, lowest and highest over the cut-offs of
            the latest twelve months with an outcome.
        uncertainty: Per metric at the latest cut-off its value and interval, with `cutoff_date`.
        predictions: `customers`, `expected_orders`, `expected_active`, `discount_rate`,
            `is_extrapolated`, and the sums of `predicted_value`, `discounted_value`,
            `predicted_margin` and `discounted_margin` (None where no product cost is known).
        segments: The segments, best first.
        importance: Groups of features by their weight for the served kind of model.
        drift: Quantities by their stability index.
        realised: Past predictions beside actual net revenue, by date and origin, the latest first.
    """

    as_of: date
    horizon_days: int
    source: str
    currency: str
    data: dict[str, Any]
    decision: dict[str, Any]
    leaderboard: pd.DataFrame
    spread: pd.DataFrame
    uncertainty: pd.DataFrame
    predictions: dict[str, Any]
    segments: pd.DataFrame
    importance: pd.DataFrame
    drift: pd.DataFrame
    realised: pd.DataFrame

    @property
    def model_name(self) -> str:
        """The served model."""
        return str(self.decision["model_name"])

    @property
    def is_extrapolated(self) -> bool:
        """Whether the horizon is longer than any complete outcome in the data."""
        return bool(self.predictions["is_extrapolated"])

    @property
    def discount_rate(self) -> float:
        """The yearly rate of discounted amounts; 0 where nothing is discounted."""
        rate = self.predictions["discount_rate"]
        return 0.0 if pd.isna(rate) else float(rate)

    @property
    def has_margin(self) -> bool:
        """Whether any product that was sold has a known cost."""
        return not pd.isna(self.predictions["predicted_margin"])

    def money(self, amount: float | None) -> str:
        """Write an amount of the data's currency."""
        if amount is None or pd.isna(amount):
            return MISSING
        return f"{amount:,.{0 if abs(amount) >= 100 else 2}f} {self.currency}".rstrip()


_OF_THIS_RUN = (
    # The latest twelve months with an outcome, as the figures draw and the choice counts them.
    "horizon_days = %(horizon)s and model_name = %(model)s "
    "and cutoff_date + horizon_days <= %(as_of)s "
    "and cutoff_date > %(as_of)s::date - %(horizon)s - interval '12 months'"
)

METRICS = ("normalized_gini", "tweedie_deviance", "mae_over_mean", "r2", "bias", "coverage_80")

_SPREAD = "select metric.key as metric, avg(metric.value::float8) as mean, " + (
    "min(metric.value::float8) as lowest, max(metric.value::float8) as highest "
    "from clv.backtest_metrics as m, lateral jsonb_each_text(to_jsonb(m)) as metric "
    f"where {_OF_THIS_RUN} and metric.key = any(%(metrics)s) group by 1"
)


def read_facts(database: Database, source: str, as_of: date, horizon_days: int) -> RunFacts:
    """Read everything.

    Args:
        database: As the scientist or the reader.
        source: The source's identity.
        as_of: The date of the predictions.
        horizon_days: Their horizon.

    Raises:
        PipelineError: There are no predictions or no decision for them.
    """
    params = {"as_of": as_of, "horizon": horizon_days}
    decision, numbers = _decision(database, params)
    model = {"model": decision["model_name"], "metrics": list(METRICS)}
    here = "as_of_date = %(as_of)s and horizon_days = %(horizon)s"
    return RunFacts(
        as_of=as_of,
        horizon_days=horizon_days,
        source=source,
        currency=_currency(database),
        data=_data(database, as_of),
        decision=decision,
        leaderboard=pd.DataFrame(numbers["leaderboard"]),
        spread=database.query(_SPREAD, params | model),
        uncertainty=_uncertainty(database, params | model),
        predictions=_predictions(database, params),
        segments=database.read("clv.segments", where=here, params=params).sort_values(
            "predicted_value", ascending=False
        ),
        importance=database.read(
            "clv.feature_importance",
            # Measured when a model is chosen; a pin may have put another one in charge since.
            where="horizon_days = %(horizon)s and model_name = %(model)s and as_of_date = ("
            "select max(as_of_date) from clv.feature_importance where horizon_days = %(horizon)s "
            "and model_name = %(model)s and as_of_date <= %(as_of)s) "
            "order by deviance_increase desc",
            params=params | model,
        ),
        drift=database.read(
            "clv.drift",
            ["reference", "reference_date", "quantity", "is_prediction", "stability_index"],
            where=f"{here} order by stability_index desc",
            params=params,
        ),
        realised=_realised(database, params),
    )


def _decision(database: Database, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    found = database.query(
        "select d.model_name, d.model_version, d.validated, d.reason, d.numbers, "
        "v.training_rows, v.one_customer_in, v.trained_at from clv.model_decisions as d "
        "left join clv.model_versions as v using (model_version) "
        "where d.as_of_date <= %(as_of)s and d.horizon_days = %(horizon)s "
        "order by d.as_of_date desc, d.decided_at desc limit 1",
        params,
    )
    if found.empty:
        raise PipelineError(
            f"no model was chosen as of {params['as_of']} for {params['horizon']} days: "
            "materialize clv/model and clv/predictions first"
        )
    row = {str(name): value for name, value in found.iloc[0].items()}
    return row, json.loads(row.pop("numbers"))


def _currency(database: Database) -> str:
    found = database.query(
        "select distinct currency from warehouse.revenue_daily where currency is not null"
    )
    return str(found["currency"].iloc[0]) if len(found) == 1 else ""


def _data(database: Database, as_of: date) -> dict[str, Any]:
    return _row(
        database,
        "select min(transacted_at)::date as first_day, max(transacted_at)::date as last_day, "
        "count(*) as transactions, count(distinct customer_id) as customers, "
        # Of the rows that revenue and customer-days count, as the models know them.
        "sum(net_amount - excluded_net_amount) as net_amount from warehouse.fct_transactions "
        "where not is_excluded and greatest(transacted_at, recorded_at) < %(as_of)s",
        {"as_of": as_of},
    )


def _predictions(database: Database, params: dict[str, Any]) -> dict[str, Any]:
    found = _row(
        database,
        "select count(*) as customers, sum(predicted_value) as predicted_value, "
        "sum(discounted_value) as discounted_value, sum(predicted_margin) as predicted_margin, "
        "sum(discounted_margin) as discounted_margin, max(discount_rate) as discount_rate, "
        "coalesce(bool_or(is_extrapolated), false) as is_extrapolated, "
        "sum(expected_orders) as expected_orders, sum(probability_active) as expected_active "
        "from clv.predictions where as_of_date = %(as_of)s and horizon_days = %(horizon)s",
        params,
    )
    if not found["customers"]:
        raise PipelineError(
            f"there are no predictions as of {params['as_of']} over {params['horizon']} days: "
            "materialize clv/predictions first"
        )
    return found


def _uncertainty(database: Database, params: dict[str, Any]) -> pd.DataFrame:
    latest = database.query(
        f"select max(cutoff_date) as day from clv.backtest_metrics where {_OF_THIS_RUN}",
        params,
    )["day"].iloc[0]
    if pd.isna(latest):
        return pd.DataFrame(columns=["metric", "value", "low", "high", "cutoff_date"])
    past = database.read(
        "clv.backtest_predictions",
        ["predicted_value", "lower_80", "upper_80", "actual_value"],
        where="horizon_days = %(horizon)s and model_name = %(model)s and cutoff_date = %(day)s "
        "order by customer_id",
        params=params | {"day": latest.date()},
    )
    return intervals(past).assign(cutoff_date=latest)


def _realised(database: Database, params: dict[str, Any]) -> pd.DataFrame:
    return database.query(
        "select as_of_date, origin, sum(customers) as customers, "
        "sum(predicted_value) as predicted_value, sum(realised_value) as realised_value, "
        "sum(predicted_value) / nullif(sum(realised_value), 0) as predicted_over_realised, "
        "sum(inside_80)::float8 / sum(customers) as share_inside_80 "
        "from clv.realised_predictions where horizon_days = %(horizon)s "
        "and as_of_date + horizon_days <= %(as_of)s group by 1, 2 order by 1 desc, 2",
        params,
    )


def _row(database: Database, statement: str, params: dict[str, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in database.query(statement, params).iloc[0].items()}
