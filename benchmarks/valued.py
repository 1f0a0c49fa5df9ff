"""Shops valued at past dates, with the outcomes beside the predictions, kept in a folder.

A folder holds the marts of one shop and a file per origin, so a study that was stopped goes on
where it was. Delete the folder to measure changed code.
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import next_order
from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.models.seasonal import WITHOUT_SEASON
from retail_pipeline.clv.serving import totals
from retail_pipeline.clv.serving.valuation import Valuation, value_customers
from retail_pipeline.direct_landing import land_records
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.retail_api import RetailRecords
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.run import dbt_build

Methods = Callable[[Valuation, dict[str, pd.DataFrame]], dict[str, pd.DataFrame]]
"""Further predictions at an origin, given the valuation and the predictions of each model."""


@dataclass(frozen=True)
class Origin:
    """A cut-off and a horizon, at which predictions are compared with outcomes."""

    cutoff: date
    horizon_days: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the origin of a text such as `2011-03-01:180`."""
        day, days = text.split(":")
        return cls(date.fromisoformat(day), int(days))

    @property
    def end(self) -> date:
        """The first day after the horizon."""
        return self.cutoff + timedelta(days=self.horizon_days)

    @property
    def name(self) -> str:
        """The part of file names."""
        return f"{self.cutoff}-{self.horizon_days}"


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


def keep_marts(
    folder: Path, records: Callable[[], RetailRecords], as_of: date, settings: Settings
) -> None:
    """Write the marts of a shop to a folder, unless they are there."""
    if not (folder / "entries.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        features, entries = marts(records(), as_of, settings)
        features.to_parquet(folder / "features.parquet")
        entries.to_parquet(folder / "entries.parquet")


def value(folder: Path, origin: Origin, further: Methods = lambda _, __: {}) -> None:
    """Write the predictions and facts of an origin to the folder, unless they are there.

    `customers-….parquet` has a row per method and customer: the predictions and the outcome.
    `facts-….json` has the decision, totals with the interval of the served one, and the tests of
    the next order by model.
    """
    file = folder / f"facts-{origin.name}.json"
    if file.exists():
        return
    features, entries = _marts_in(folder)
    known = features[features["as_of_date"] <= pd.Timestamp(origin.cutoff)]
    found = value_customers(known, entries, origin.cutoff, origin.horizon_days)
    where = (found.population["customer_id"], origin.cutoff, origin.horizon_days)
    outcome = dataset.outcomes(entries, *where)
    predicted = {
        name: frame for name in MODELS if (frame := found.predictions_of(name)) is not None
    }
    customers = [
        frame.assign(
            method=name,
            actual_value=outcome["future_value"].to_numpy(),
            actual_orders=outcome["future_orders"].to_numpy(),
        )
        for name, frame in (predicted | further(found, predicted)).items()
    ]
    pd.concat(customers).to_parquet(folder / f"customers-{origin.name}.parquet")
    first = dataset.first_orders(entries, *where)
    facts = {
        "served": found.decision.model_name,
        "validated": found.decision.validated,
        "past_cutoffs": len(found.decision.cutoffs),
        "reason": found.decision.reason,
        "actual": float(outcome["future_value"].sum()),
        "totals": {name: float(p["predicted_value"].sum()) for name, p in predicted.items()},
        **_total_range(found, entries),
        "next_order": {
            c.model_name: next_order.evaluate(c.model, found.population, first)
            for c in found.candidates
            if c.model is not None and c.model.dates is not None
        },
    }
    file.write_text(json.dumps(facts, indent=1))


def facts_of(folder: Path, origin: Origin) -> dict[str, Any]:
    """Return the facts that `value` has written."""
    facts: dict[str, Any] = json.loads((folder / f"facts-{origin.name}.json").read_text())
    return facts


def customers_of(folder: Path, origins: Iterable[Origin]) -> pd.DataFrame:
    """Return the customers of origins, with `cutoff`, `horizon_days` and whether it `is_served`."""
    frames = []
    for origin in origins:
        frame = pd.read_parquet(folder / f"customers-{origin.name}.parquet")
        served = facts_of(folder, origin)["served"]
        frames.append(frame.assign(cutoff=origin.cutoff, is_served=frame["method"] == served))
    return pd.concat(frames, ignore_index=True)


def earlier(folder: Path, origins: Sequence[Origin], checkout: Path) -> None:
    """Write the predictions of an earlier checkout to the folder, unless they are there."""
    script = Path(__file__).with_name("earlier.py")
    texts = [f"{origin.cutoff}:{origin.horizon_days}" for origin in origins]
    python = checkout / ".venv" / "bin" / "python"
    subprocess.run([python, "-P", script, folder, *texts], check=True, cwd=checkout)


def earlier_of(folder: Path, origin: Origin) -> pd.DataFrame | None:
    """Return the predictions of the earlier checkout; None without any."""
    file = folder / f"earlier-{origin.name}.parquet"
    return pd.read_parquet(file) if file.exists() else None


def _marts_in(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return (
        dataset.prepare_features(pd.read_parquet(folder / "features.parquet")),
        dataset.prepare_entries(pd.read_parquet(folder / "entries.parquet")),
    )


def _total_range(found: Valuation, entries: pd.DataFrame) -> dict[str, Any]:
    """Return the interval of the served total as `clv.totals` has it, and what it follows from.

    `lower_alone` and `upper_alone` are its ends without an error of the level; `tests` has the
    cut-off, bias and days of history of each past test.
    """
    name = found.decision.model_name
    past = found.backtest.predictions
    sums = (
        past[past["model_name"] == name]
        .groupby("cutoff_date")[["predicted_value", "actual_value"]]
        .sum()
    )
    sums = sums[(sums > 0).all(axis=1)].reset_index().sort_values("cutoff_date", ascending=False)
    tests = sums.assign(
        bias=sums["predicted_value"] / sums["actual_value"],
        history_days=(pd.to_datetime(sums["cutoff_date"]) - entries["date_day"].min()).dt.days,
    )
    levels = totals.level_draws(tests, pd.Timestamp(found.as_of), name in WITHOUT_SEASON)
    served = next(c.model for c in found.candidates if c.model_name == name)
    assert served is not None
    customers = served.predict(found.population).assign(actual_before=0.0)
    customers = customers.assign(**dict.fromkeys(totals.GROUPINGS[1:]))
    low, high, low_alone, high_alone = (
        float(totals.group_totals([customers], factors).iloc[0][end])
        for factors in (levels, np.ones(totals.DRAWS))
        for end in ("lower_80", "upper_80")
    )
    return {
        **{"lower_80": low, "upper_80": high, "lower_alone": low_alone, "upper_alone": high_alone},
        "level_center": float(np.mean(np.log(levels))),
        "level_spread": float(np.std(np.log(levels))),
        "tests": [
            [str(day.date()), float(bias), int(days)]
            for day, bias, days in zip(
                tests["cutoff_date"], tests["bias"], tests["history_days"], strict=True
            )
        ],
    }
