"""Quality of the customer values on a file: each model, the selection rule (policy), intervals.

The pipeline's marts are built from a transactions file, and predictions are compared with outcomes
at several origins (a cut-off and a horizon with a complete outcome). Table A has the metrics of
each model, Table B those of the models that the policy would have served; further tables are on the
intervals, on the next order, and against an earlier checkout.

Sources of the metrics: `clv.evaluation.metrics`; Winkler (1972) for the interval score.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks import valued
from benchmarks.valued import Origin
from retail_pipeline.clv.data import features
from retail_pipeline.clv.evaluation import intervals, metrics, next_order
from retail_pipeline.clv.evaluation.selection import INCUMBENT
from retail_pipeline.clv.models.base import Array
from retail_pipeline.clv.models.trees import matrix
from retail_pipeline.clv.serving.valuation import Valuation
from retail_pipeline.retail_api import default_as_of, open_dataset
from retail_pipeline.settings import FileSource, Settings

CHALLENGER: Final = "boosted_pareto_nbd"
COMPARED: Final = ("mae", "mae_one_total", "normalized_gini", "r2", "tweedie_deviance", "log_bias")
_DRAWS = 200
_SEED = 20_231


KEYS: Final = ["method", "horizon_days", "cutoff"]


def model_metrics(customers: pd.DataFrame) -> pd.DataFrame:
    """Return a row of metrics per origin and method."""
    rows = {key: _measured(frame) for key, frame in customers.groupby(KEYS)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=KEYS)
    return table.reset_index()


def challenger(customers: pd.DataFrame) -> pd.DataFrame:
    """Return the challenger against the incumbent per origin, with 95 % bootstrap intervals."""
    rows = []
    for (days, cutoff), frame in customers.groupby(KEYS[1:]):
        of = {name: frame[frame["method"] == name] for name in (CHALLENGER, INCUMBENT)}
        if all(map(len, of.values())):
            rows.append({"cutoff": cutoff, "horizon_days": days, **_difference(of)})
    return pd.DataFrame(rows)


def policy(folder: Path, origins: Iterable[Origin], table: pd.DataFrame) -> pd.DataFrame:
    """Return the served model of each origin, with its metrics relative to the incumbent's.

    Args:
        folder: The folder of the valuations.
        origins: The origins.
        table: Result of `model_metrics`.
    """
    rows = []
    for origin in origins:
        facts = valued.facts_of(folder, origin)
        here = table[(table["cutoff"] == origin.cutoff)]
        here = here[here["horizon_days"] == origin.horizon_days].set_index("method")
        served, old = here.loc[facts["served"]], here.loc[INCUMBENT]
        rows.append(
            {
                "origin": origin.name,
                **{name: facts[name] for name in ("served", "validated", "past_cutoffs")},
                **{name: served[name] / old[name] - 1 for name in ("mae", "tweedie_deviance")},
                **{name: served[name] - old[name] for name in ("r2", "normalized_gini")},
                "bias": served["bias"],
                "incumbent_bias": old["bias"],
                "reason": facts["reason"],
            }
        )
    return pd.DataFrame(rows)


def _measured(frame: pd.DataFrame) -> dict[str, Any]:
    actual, predicted, orders = (
        frame[name].to_numpy(float) for name in ("actual_value", "predicted_value", "actual_orders")
    )
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


def _difference(predicted: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Return challenger against incumbent, with paired bootstrap intervals over customers.

    MAE and deviance are relative changes, the other metrics differences.
    """
    actual = predicted[INCUMBENT]["actual_value"].to_numpy(float)
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


def yardsticks(valuation: Valuation, predicted: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return two reference intervals: a constant per predicted decile, and quantile boosting."""
    reference = predicted.get(INCUMBENT, predicted["mean"])
    value = reference["predicted_value"].to_numpy(float)
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
    return {
        name: reference.assign(lower_80=low, upper_80=high) for name, (low, high) in found.items()
    }


def _by_cutoff(past: pd.DataFrame) -> Iterable[tuple[Any, pd.DataFrame]]:
    return past.groupby("cutoff_date")


def interval_table(customers: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return coverage, one-sided misses, width and Winkler score, as means over the origins."""
    actual, low, high = (
        customers[name].to_numpy(float) for name in ("actual_value", "lower_80", "upper_80")
    )
    level = customers.groupby(KEYS)["actual_value"].transform("mean").to_numpy()
    sure = customers["probability_active"] > 1 - intervals.LOW
    keys = list(dict.fromkeys([*by, *KEYS[1:]]))
    rows = customers[keys].assign(
        customers=1 / customers.groupby(KEYS)["customer_id"].transform("size"),
        zeros=actual == 0,
        coverage_80=(low <= actual) & (actual <= high),
        below_80=actual < low,
        above_80=actual > high,
        width_over_mean=(high - low) / level,
        winkler_over_mean=metrics.winkler_score(low, high, actual) / level,
        lower_above_0_if_sure=(low > 0).astype(float),
    )
    rows["lower_above_0_if_sure"] = rows["lower_above_0_if_sure"].where(sure)
    grouped = rows.groupby(keys, observed=True)
    found = grouped.mean().assign(customers=grouped["customers"].sum())
    return found.groupby(by, observed=True).mean()


def next_orders(folder: Path, origins: Iterable[Origin]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return losses and errors of the next order per origin and model, and the mean histograms."""
    rows, histograms = [], []
    for origin in origins:
        facts = valued.facts_of(folder, origin)
        by_model = facts["next_order"]
        if facts["served"] in by_model:
            by_model = {**by_model, "the policy": by_model[facts["served"]]}
        for name, found in by_model.items():
            key = {"model": name, "horizon_days": origin.horizon_days, "cutoff": origin.cutoff}
            rows.append({**key, **found})
            histograms.append({**key, **_numbered(found["next_order_pit"])})
    losses = pd.DataFrame(rows).groupby(["model", "horizon_days"])
    pit = pd.DataFrame(histograms).drop(columns="cutoff").groupby(["model", "horizon_days"])
    return losses[[*next_order.LOSSES, *next_order.ERRORS]].mean(), pit.mean()


def _numbered(histogram: str) -> dict[str, float]:
    return {str(bin_): share for bin_, share in enumerate(json.loads(histogram), 1)}


def against_earlier(folder: Path, origins: Iterable[Origin]) -> pd.DataFrame:
    """Return the metrics of the served predictions and those of an earlier checkout per origin."""
    rows = []
    for origin in origins:
        before = valued.earlier_of(folder, origin)
        if before is None:
            continue
        now = valued.customers_of(folder, [origin])
        now = now[now["is_served"]].set_index("customer_id")
        known = before.set_index("customer_id").reindex(now.index)
        outcome = now[["actual_value", "actual_orders"]]
        both = {"now": now, "before": known.assign(**outcome)}
        measured = {
            f"{name}_{when}": row[name]
            for when, row in ((when, _measured(frame)) for when, frame in both.items())
            for name in ("log_bias", "mae", "r2", "normalized_gini", "tweedie_deviance")
        }
        served = {
            f"served_{when}": frame["method" if when == "now" else "model_name"].iloc[0]
            for when, frame in both.items()
        }
        with_year = "seasonal_pareto_nbd" in valued.facts_of(folder, origin)["totals"]
        key = {"horizon_days": origin.horizon_days, "cutoff": origin.cutoff}
        rows.append({**key, "year_before": with_year, **served, **measured})
    return pd.DataFrame(rows)


def as_text(folder: Path, origins: Sequence[Origin]) -> str:
    """Return the tables of docs/methodology.md."""
    customers = valued.customers_of(folder, origins)
    served = customers[customers["is_served"]].assign(method="the policy")
    everyone = pd.concat([customers, served], ignore_index=True)
    everyone["decile"] = everyone.groupby(KEYS)["predicted_value"].transform(
        lambda value: metrics.groups_by_rank(value.to_numpy(float))
    )
    bands = [-1, 0.1, 0.5, 0.9, 0.99, 1]
    everyone["P(active) to"] = pd.cut(everyone["probability_active"], bands, labels=bands[1:])
    table = model_metrics(customers).assign(
        mae_one_total_over_mean=lambda t: t["mae_one_total"] * t["mae_over_mean"] / t["mae"]
    )
    shown = ["mae_over_mean", "mae_one_total_over_mean", "r2", "normalized_gini"]
    shown += ["tweedie_deviance", "bias", "log_bias", "coverage_80", "brier_score"]
    of = everyone[everyone["method"] == "the policy"]
    losses, histograms = next_orders(folder, origins)
    parts = {
        "Table A: mean and standard deviation over the origins": table.groupby(
            ["horizon_days", "method"]
        )[[*shown, "reliability_gap"]].agg(["mean", "std", "size"]),
        "Challenger over incumbent, with 95 % bootstrap intervals": challenger(customers),
        "Table B: the policy over the incumbent": policy(folder, origins, table),
        "Intervals over the origins": interval_table(everyone, ["method"]),
        "Intervals of the policy by origin": interval_table(of, ["horizon_days", "cutoff"]),
        "Intervals of the policy by predicted decile": interval_table(of, ["decile"]),
        "Intervals of the policy by P(active)": interval_table(of, ["P(active) to"]),
        "Next order: pinball losses and errors in days": losses,
        "Next order: probability integral transform in tenths": histograms,
    }
    return _text(parts)


def compared_as_text(folder: Path, origins: Sequence[Origin]) -> str:
    """Return the served model against the earlier checkout's at all origins, and the means."""
    table = against_earlier(folder, origins)
    ratios = table.assign(
        **{
            name: table[f"{name}_now"] / table[f"{name}_before"] - 1
            for name in ("mae", "r2", "normalized_gini", "tweedie_deviance")
        }
    )
    shown = ["log_bias_before", "log_bias_now", "mae", "r2", "normalized_gini", "tweedie_deviance"]
    means = ratios.groupby(["horizon_days", "year_before"])[shown].agg("mean")
    sizes = ratios.groupby(["horizon_days", "year_before"]).size().rename("origins")
    parts = {
        "Served now and before, by origin": table,
        "Means: |log bias|, and relative changes": means.join(sizes),
        "Over all": ratios.groupby("horizon_days")[shown].mean(),
    }
    return _text(parts)


def _text(parts: dict[str, pd.DataFrame]) -> str:
    with pd.option_context("display.width", 300, "display.max_columns", None):
        return "\n\n".join(
            f"{title}\n{table.round(4).to_string()}" for title, table in parts.items()
        )


ORIGINS: Final = tuple(
    Origin(date.fromisoformat(day), horizon_days)
    for horizon_days, days in (
        (180, ("2011-03-01", "2011-04-01", "2011-05-01", "2011-06-01")),
        (90, ("2011-03-01", "2011-05-01", "2011-07-01", "2011-09-01")),
    )
    for day in days
)
"""Origins of the tables in docs/methodology.md, for the dataset Online Retail II."""


def month_starts(folder: Path, last: date) -> list[Origin]:
    """Return all month starts with features and an outcome of 60, 90 or 180 days."""
    dates = pd.read_parquet(folder / "features.parquet", columns=["as_of_date"])["as_of_date"]
    days = sorted({pd.Timestamp(day).date() for day in dates.unique()})
    found = [Origin(day, horizon) for horizon in (60, 90, 180) for day in days if day.day == 1]
    return [origin for origin in found if origin.end <= last]


def main() -> None:
    """Print the report of a file: `python -m benchmarks.clv_quality FILE [DATE:DAYS ...]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("origins", nargs="*", type=Origin.of, metavar="DATE:DAYS")
    parser.add_argument("--folder", type=Path, help="where results are kept, to go on later")
    parser.add_argument("--against", type=Path, help="an earlier checkout with its .venv")
    parser.add_argument(
        "--all", action="store_true", help="compare with it at all month starts, h = 60, 90, 180"
    )
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="clv-quality-"))
    source = FileSource(given.file)
    last = default_as_of(source)
    valued.keep_marts(
        folder, lambda: open_dataset(source).records, last, Settings.from_environment()
    )
    origins = given.origins or (month_starts(folder, last) if given.all else list(ORIGINS))
    if given.against:
        valued.earlier(folder, origins, given.against)
    for origin in origins:
        valued.value(folder, origin, yardsticks)
        sys.stderr.write(f"{origin.name}\n")
    text = as_text(folder, origins)
    if given.against:
        text += "\n\n" + compared_as_text(folder, origins)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
