"""Quality of the customer values relative to an oracle, on simulated shops.

The oracle uses each customer's true rates and past, but not the future, so no model can be better
except by luck. The metrics are those of `clv.evaluation.metrics`; the models and the selection rule
(policy) are those of the pipeline.
"""

import sys
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import pandas as pd

from benchmarks.ground_truth import GroundTruth
from benchmarks.valued import marts
from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.evaluation import metrics
from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.clv.serving.valuation import value_customers
from retail_pipeline.retail_api.simulator import DEFAULT_AS_OF, simulate
from retail_pipeline.settings import Settings

CUSTOMERS: Final = 6_000
CUTOFF: Final = date(2024, 7, 1)
HORIZON_DAYS: Final = 180
SEEDS: Final = (1, 2, 3)


def judge_seeds(seeds: Sequence[int], settings: Settings) -> pd.DataFrame:
    """Return metrics of every model and of the oracle on simulated shops.

    Args:
        seeds: Seeds, one per shop.
        settings: Settings with the PostgreSQL server of the scratch databases.

    Returns:
        One row per seed and model: the metrics of the model and of the oracle, the model's metrics
        as shares of the oracle's, and whether the policy serves the model.
    """
    return pd.concat([_judge(seed, settings) for seed in seeds], ignore_index=True)


def _judge(seed: int, settings: Settings) -> pd.DataFrame:
    shop = simulate(customers=CUSTOMERS, seed=seed, until=DEFAULT_AS_OF)
    features, entries = marts(shop.records, DEFAULT_AS_OF, settings)
    known = features[features["as_of_date"] <= pd.Timestamp(CUTOFF)]
    valuation = value_customers(known, entries, CUTOFF, HORIZON_DAYS)
    customers = valuation.population["customer_id"]
    actual = dataset.outcomes(dataset.prepare_entries(entries), customers, CUTOFF, HORIZON_DAYS)[
        "future_value"
    ]
    truth = GroundTruth(shop).expected_value(CUTOFF, HORIZON_DAYS).set_index("customer_id")
    expected = truth["expected_value"].reindex(customers, fill_value=0.0)
    oracle = _measured(expected, actual)
    rows = []
    for name in MODELS:
        frame = valuation.predictions_of(name)
        if frame is None:
            continue
        own = _measured(frame["predicted_value"], actual)
        rows.append(
            {
                "seed": seed,
                "model": name,
                "served": name == valuation.decision.model_name,
                **own,
                **{f"oracle_{measure}": value for measure, value in oracle.items()},
                **{f"share_of_{measure}": own[measure] / oracle[measure] for measure in own},
            }
        )
    return pd.DataFrame(rows)


def _measured(predicted: pd.Series, actual: pd.Series) -> dict[str, Any]:
    values = predicted.to_numpy(float), actual.to_numpy(float)
    return {"normalized_gini": metrics.normalized_gini(*values), "r2": metrics.r2(*values)}


def main() -> None:
    """Print the metrics of seeds: `python -m benchmarks.clv_oracle [SEED ...]`."""
    seeds = [int(text) for text in sys.argv[1:]] or SEEDS
    table = judge_seeds(seeds, Settings.from_environment())
    with pd.option_context("display.width", 250, "display.max_columns", None):
        sys.stdout.write(table.round(4).to_string(index=False) + "\n")


if __name__ == "__main__":
    main()
