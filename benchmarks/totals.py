"""Totals on simulated shops: coverage of their 80 % interval, and their errors.

Each seed gives a shop, whose total is predicted at one origin or more with the model that the
selection serves there. Beside it stand the totals of the incumbent, of its seasonal version, and of
an earlier checkout.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import valued
from benchmarks.valued import Origin
from retail_pipeline.clv.evaluation.selection import INCUMBENT, WITH_SEASON
from retail_pipeline.retail_api.simulator import simulate
from retail_pipeline.settings import Settings


def study(
    folder: Path,
    seeds: range,
    customers: int,
    origins: list[Origin],
    checkout: Path | None,
    settings: Settings,
) -> pd.DataFrame:
    """Return a row per seed and origin: served model, totals, interval, and past errors.

    Args:
        folder: Where marts and results are kept.
        seeds: Seeds, one per shop.
        customers: Customers of a shop at the simulator's default date.
        origins: Cut-offs and horizons.
        checkout: An earlier checkout to compare with.
        settings: Settings with the PostgreSQL server of the scratch databases.
    """
    rows = []
    until = max(origin.end for origin in origins)
    for seed in seeds:
        shop = folder / f"seed-{seed}-{customers}"

        def records(seed: int = seed) -> valued.RetailRecords:
            return simulate(customers=customers, seed=seed, until=until).records

        valued.keep_marts(shop, records, until, settings)
        if checkout:
            valued.earlier(shop, origins, checkout)
        for origin in origins:
            valued.value(shop, origin)
            rows.append({"seed": seed, **_row(shop, origin)})
            sys.stderr.write(f"seed {seed}, {origin.name}\n")
    return pd.DataFrame(rows)


def _row(shop: Path, origin: Origin) -> dict[str, object]:
    facts = valued.facts_of(shop, origin)
    before = valued.earlier_of(shop, origin)
    totals, actual = facts.pop("totals"), facts["actual"]
    named = {
        "error": totals[facts["served"]],
        "incumbent_error": totals.get(INCUMBENT),
        "seasonal_error": totals.get(WITH_SEASON[INCUMBENT]),
        "earlier_error": None if before is None else before["predicted_value"].sum(),
    }
    errors = {n: np.nan if t is None else float(np.log(t / actual)) for n, t in named.items()}
    covered = facts["lower_80"] <= actual <= facts["upper_80"]
    shown = ("served", "actual", "lower_80", "upper_80", "level_center", "level_spread")
    return {
        "origin": origin.name,
        **{name: facts[name] for name in shown},
        "covered": float(covered),
        "below": float(actual < facts["lower_80"]),
        "width": float(np.log(facts["upper_80"] / facts["lower_80"])),
        **errors,
    }


def as_text(rows: pd.DataFrame) -> str:
    """Return the means by origin: coverage, interval width, and mean absolute log errors."""
    errors = [str(name) for name in rows if str(name).endswith("error")]
    table = rows.assign(**{f"abs_{name}": rows[name].abs() for name in errors})
    means = table.groupby("origin").agg(
        shops=("seed", "size"),
        **{
            name: (name, "mean")
            for name in [
                *("covered", "below", "width", "level_spread", "error"),
                *(f"abs_{name}" for name in errors),
            ]
        },
    )
    served = rows.groupby("origin")["served"].value_counts().unstack(fill_value=0)
    with pd.option_context("display.width", 250, "display.max_columns", None):
        return f"{means.round(3).to_string()}\n\n{served.to_string()}"


def main() -> None:
    """Print the study: `python -m benchmarks.totals --seeds 1-40 [DATE:DAYS ...]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("origins", nargs="*", default=["2025-01-01:180"], metavar="DATE:DAYS")
    parser.add_argument("--seeds", default="1-40", help="first and last seed, as 1-40")
    parser.add_argument("--customers", type=int, default=3_000)
    parser.add_argument("--folder", type=Path, help="where results are kept, to go on later")
    parser.add_argument("--against", type=Path, help="an earlier checkout with its .venv")
    given = parser.parse_args()
    first, last = map(int, given.seeds.split("-"))
    rows = study(
        given.folder or Path(tempfile.mkdtemp(prefix="totals-")),
        range(first, last + 1),
        given.customers,
        [Origin.of(text) for text in given.origins],
        given.against,
        Settings.from_environment(),
    )
    sys.stdout.write(as_text(rows) + "\n")


if __name__ == "__main__":
    main()
