"""Quality of the customer values: each model, the selection rule (policy), and intervals.

`judge_file` builds the pipeline's marts from a transactions file and compares predictions with
outcomes at several origins (a cut-off and a horizon with a complete outcome). Table A has the
metrics of each model, Table B those of the models that the policy would have served; further
tables are on the intervals.

Sources of the metrics: `clv.evaluation.metrics`; Winkler (1972) for the interval score.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from retail_pipeline.clv.data import dataset, features
from retail_pipeline.clv.evaluation import intervals, metrics
from retail_pipeline.clv.evaluation.selection import INCUMBENT
from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.models.trees import matrix
from retail_pipeline.clv.serving.valuation import Valuation, value_customers
from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.retail_api import RetailRecords, default_as_of, open_dataset
from retail_pipeline.settings import FileSource, Settings
from retail_pipeline.warehouse.run import dbt_build

CHALLENGER: Final = "boosted_pareto_nbd"
COMPARED: Final = ("mae", "mae_one_total", "normalized_gini", "r2", "tweedie_deviance", "log_bias")
_DRAWS = 200
_SEED = 20_231


@dataclass(frozen=True)
class Origin:
    """A cut-off and a horizon, at which predictions are compared with outcomes."""

    cutoff: date
    horizon_days: int


@dataclass(frozen=True)
class Report:
    """The results of the benchmark.

    Attributes:
        models: Table A: one row per origin and model with all metrics, the Brier score, the
            reliability of `probability_active`, and the MAE after scaling to the actual total.
        differences: Challenger against incumbent per origin, with 95 % bootstrap intervals.
        policy: Table B: one row per origin with the served model, the reason, and its metrics
            relative to the incumbent's.
        intervals: One row per origin, method and stratum (predicted deciles).
    """

    models: pd.DataFrame
    differences: pd.DataFrame
    policy: pd.DataFrame
    intervals: pd.DataFrame


def judge_file(transactions: Path, origins: Sequence[Origin], settings: Settings) -> Report:
    """Return the quality of models, policy and intervals on a transactions file.

    Args:
        transactions: A Parquet or CSV file of order lines.
        origins: Cut-offs and horizons; their outcomes must be complete.
        settings: Settings with the PostgreSQL server of the scratch database.
    """
    source = FileSource(transactions)
    features, entries = marts(open_dataset(source).records, default_as_of(source), settings)
    return judge(features, entries, origins)


def marts(
    records: RetailRecords, as_of: date, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the features at all month starts and the customer-day entries, built by dbt.

    Args:
        records: Records as served by the retail API.
        as_of: The as-of date of the records.
        settings: Settings with the PostgreSQL server of the scratch database.
    """
    with scratch_database(settings) as scratch:
        land_records(scratch, records)
        names = ("customer_features", "customer_day_entries")
        dbt_build(
            scratch.url,
            select=[f"+{name}" for name in names],
            variables={"with_outcomes": True},
            as_of=as_of,
        )
        features, entries = (scratch.read(f"warehouse.{name}") for name in names)
    return features, entries


def judge(features: pd.DataFrame, entries: pd.DataFrame, origins: Iterable[Origin]) -> Report:
    """Return the quality of models, policy and intervals on prepared marts.

    Args:
        features: Rows of `warehouse.customer_features`, at least at the origins and at the month
            starts before them.
        entries: Rows of `warehouse.customer_day_entries`, including those of the outcomes.
        origins: Cut-offs and horizons.
    """
    features, entries = dataset.prepare_features(features), dataset.prepare_entries(entries)
    models, differences, policy, strata = [], [], [], []
    for origin in origins:
        known = features[features["as_of_date"] <= pd.Timestamp(origin.cutoff)]
        valuation = value_customers(known, entries, origin.cutoff, origin.horizon_days)
        outcome = dataset.outcomes(
            entries, valuation.population["customer_id"], origin.cutoff, origin.horizon_days
        )
        key = {"cutoff": origin.cutoff, "horizon_days": origin.horizon_days}
        predicted = {
            name: frame for name in MODELS if (frame := valuation.predictions_of(name)) is not None
        }
        rows = {name: _measured(frame, outcome) for name, frame in predicted.items()}
        models += [{**key, "model": name, **row} for name, row in rows.items()]
        if {CHALLENGER, INCUMBENT} <= set(predicted):
            differences.append({**key, **_difference(predicted, outcome)})
        policy.append({**key, **_policy(valuation, rows)})
        strata += [{**key, **row} for row in _strata(valuation, outcome, predicted)]
    return Report(*(pd.DataFrame(table) for table in (models, differences, policy, strata)))


def _measured(frame: pd.DataFrame, outcome: pd.DataFrame) -> dict[str, Any]:
    actual = outcome["future_value"].to_numpy(float)
    predicted = frame["predicted_value"].to_numpy(float)
    orders = outcome["future_orders"].to_numpy(float)
    return {
        "customers": len(frame),
        **metrics.evaluate(frame, actual, orders),
        "mae_one_total": metrics.mae(predicted * actual.sum() / predicted.sum(), actual),
        "log_bias": abs(float(np.log(predicted.sum() / actual.sum()))),
    }


def _compared(predicted: Array, actual: Array) -> dict[str, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "mae": metrics.mae(predicted, actual),
            "mae_one_total": metrics.mae(predicted * actual.sum() / predicted.sum(), actual),
            "normalized_gini": metrics.normalized_gini(predicted, actual),
            "r2": metrics.r2(predicted, actual),
            "tweedie_deviance": metrics.tweedie_deviance(predicted, actual),
            "log_bias": abs(float(np.log(predicted.sum() / actual.sum()))),
        }


def _difference(predicted: dict[str, pd.DataFrame], outcome: pd.DataFrame) -> dict[str, float]:
    """Return challenger against incumbent, with paired bootstrap intervals over customers.

    MAE and deviance are relative changes, the other metrics differences.
    """
    actual = outcome["future_value"].to_numpy(float)
    new, old = (predicted[name]["predicted_value"].to_numpy() for name in (CHALLENGER, INCUMBENT))

    def change(rows: np.ndarray) -> dict[str, float]:
        a, b = _compared(new[rows], actual[rows]), _compared(old[rows], actual[rows])
        relative = ("mae", "mae_one_total", "tweedie_deviance")
        return {n: a[n] / b[n] - 1 if n in relative else a[n] - b[n] for n in COMPARED}

    random = np.random.default_rng(_SEED)
    everyone = np.arange(len(actual))
    draws = pd.DataFrame([change(random.choice(everyone, len(everyone))) for _ in range(_DRAWS)])
    row: dict[str, float] = {}
    for name, value in change(everyone).items():
        low, high = np.nanquantile(draws[name], [0.025, 0.975])
        row |= {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def _policy(valuation: Valuation, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    decision = valuation.decision
    served, old = rows[decision.model_name], rows.get(INCUMBENT)
    row = {"served": decision.model_name, "validated": decision.validated}
    row |= {"past_cutoffs": len(decision.cutoffs), "reason": decision.reason}
    if old is not None:
        row |= {name: served[name] / old[name] - 1 for name in ("mae", "tweedie_deviance")}
    return row


def _strata(
    valuation: Valuation,
    outcome: pd.DataFrame,
    predicted: dict[str, pd.DataFrame],
) -> list[dict[str, Any]]:
    """Return coverage, width and Winkler score of intervals per method and predicted decile.

    Methods are the models and two simple references (`_yardsticks`).
    """
    actual = outcome["future_value"].to_numpy(float)
    methods = {
        name: (f["lower_80"].to_numpy(float), f["upper_80"].to_numpy(float))
        for name, f in predicted.items()
    }
    reference = predicted.get(INCUMBENT, predicted["mean"])
    value = reference["predicted_value"].to_numpy(float)
    methods |= _yardsticks(valuation, value)
    rows = []
    for name, (low, high) in methods.items():
        own = predicted.get(name, reference)["predicted_value"].to_numpy(float)
        score = metrics.winkler_score(low, high, actual)
        deciles = metrics.groups_by_rank(own)
        for decile in np.unique(deciles):
            of = deciles == decile
            rows.append(
                {
                    "method": name,
                    "decile": int(decile),
                    "customers": int(of.sum()),
                    "zeros": float((actual[of] == 0).mean()),
                    "coverage": metrics.coverage(low[of], high[of], actual[of]),
                    "width": float((high - low)[of].mean()),
                    "winkler": float(score[of].mean()),
                    "mean_value": float(actual.mean()),
                }
            )
    return rows


def _yardsticks(valuation: Valuation, value: Array) -> dict[str, tuple[Array, Array]]:
    """Return two reference intervals: a constant per predicted decile, and quantile boosting."""
    past = valuation.backtest.predictions
    past = past[past["model_name"] == INCUMBENT]
    found = {}
    if len(past) >= intervals.FEWEST_OUTCOMES:
        deciles = np.concatenate(
            [metrics.groups_by_rank(p["predicted_value"].to_numpy()) for _, p in _by_cutoff(past)]
        )
        actual = np.concatenate([p["actual_value"].to_numpy(float) for _, p in _by_cutoff(past)])
        now = metrics.groups_by_rank(value)
        low, high = np.zeros(len(value)), np.zeros(len(value))
        for decile in np.unique(now):
            some = actual[deciles == decile]
            if some.size:
                low[now == decile], high[now == decile] = np.quantile(some, [0.1, 0.9])
        found["constant per decile"] = (low, high)
    known = valuation.training_set
    if len(known) >= intervals.FEWEST_OUTCOMES:
        design = matrix(known, features.TREES)
        quantiles = []
        for share in (0.1, 0.9):
            model = HistGradientBoostingRegressor(loss="quantile", quantile=share, max_iter=60)
            model.fit(design, known["future_value"])
            quantile = model.predict(matrix(valuation.population, features.TREES))
            quantiles.append(np.maximum(quantile, 0.0))
        found["quantile boosting"] = (np.minimum(*quantiles), np.maximum(*quantiles))
    return found


def _by_cutoff(past: pd.DataFrame) -> Iterable[tuple[Any, pd.DataFrame]]:
    return past.groupby("cutoff_date")


def as_text(report: Report) -> str:
    """Return the report's tables in the form of docs/methodology.md."""
    shown = ["mae_over_mean", "mae_one_total_over_mean", "r2", "normalized_gini"]
    shown += ["tweedie_deviance", "bias", "coverage_80", "brier_score", "reliability_gap"]
    models = report.models.assign(
        mae_one_total_over_mean=lambda t: t["mae_one_total"] * t["mae_over_mean"] / t["mae"]
    )
    by_model = models.groupby(["horizon_days", "model"])[shown].agg(["mean", "std"])
    intervals_of = report.intervals.assign(under_80=lambda t: t["zeros"] < _MOSTLY_ZERO)
    parts = {
        "Table A: mean and standard deviation over the origins": by_model,
        "Challenger over incumbent, with 95 % bootstrap intervals": report.differences,
        "Table B: the policy over the incumbent": report.policy,
        "Intervals by origin": _interval_table(intervals_of, ["method", "horizon_days", "cutoff"]),
        "Intervals over the origins": _interval_table(intervals_of, ["method"]),
        "Strata over the origins": intervals_of.groupby(["method", "decile"])[
            ["coverage", "zeros"]
        ].mean(),
    }
    with pd.option_context("display.width", 250, "display.max_columns", None):
        return "\n\n".join(
            f"{title}\n{table.round(4).to_string()}" for title, table in parts.items()
        )


_MOSTLY_ZERO = 0.8


def _interval_table(strata: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return coverage and scores, with equal weights for the customers of an origin."""

    def measures(rows: pd.DataFrame) -> pd.Series:
        def mean(column: str, of: pd.DataFrame) -> float:
            return float(np.average(of[column], weights=of["customers"])) if len(of) else np.nan

        level = float(rows["mean_value"].mean())
        return pd.Series(
            {
                "coverage": mean("coverage", rows),
                "coverage_under_80_zeros": mean("coverage", rows[rows["under_80"]]),
                "coverage_top": mean("coverage", rows[rows["decile"] == rows["decile"].max()]),
                "width_over_mean": mean("width", rows) / level,
                "winkler_over_mean": mean("winkler", rows) / level,
            }
        )

    keys = ["method", "horizon_days", "cutoff"]
    origins = pd.DataFrame({key: measures(rows) for key, rows in strata.groupby(keys)}).T
    origins.index.names = keys
    return origins.groupby(by).mean()


ORIGINS: Final = tuple(
    Origin(date.fromisoformat(day), horizon_days)
    for horizon_days, days in (
        (180, ("2011-03-01", "2011-04-01", "2011-05-01", "2011-06-01")),
        (90, ("2011-03-01", "2011-05-01", "2011-07-01", "2011-09-01")),
    )
    for day in days
)
"""Origins of the tables in docs/methodology.md, for the dataset Online Retail II."""


def main() -> None:
    """Print the report of a file: `python -m benchmarks.clv_quality FILE [DATE:DAYS ...]`."""
    file, *origins = sys.argv[1:]
    wanted = [
        Origin(date.fromisoformat(day), int(days))
        for day, days in (text.split(":") for text in origins)
    ]
    report = judge_file(Path(file), wanted or ORIGINS, Settings.from_environment())
    sys.stdout.write(as_text(report) + "\n")


if __name__ == "__main__":
    main()
