"""`evaluate` of a file with every kind of awkward line: lines, marts and all models."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from retail_pipeline.clv.models.registry import MODELS
from retail_pipeline.evaluation import evaluate_file
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.settings import FileSource, Settings
from retail_pipeline_tests.clv import world

CUTOFF = date(2021, 3, 1)


def lines() -> pd.DataFrame:
    """Return the lines of ordinary customers and of one customer per awkward kind."""
    ordinary = world.entries(customers=150).rename(
        columns={"date_day": "ts", "net_amount": "amount"}
    )
    start, year = pd.Timestamp("2020-02-01"), pd.date_range("2020-02-01", periods=390)
    kinds = {
        "only-returns": (year[::60], -20.0),
        "tiny": (year[::30], 1e-6),
        "huge": (year[::30], 1e9),
        "same-instant": ([start + pd.Timedelta(hours=9)] * 5, 7.0),
        "ten-thousand-orders": (start + np.arange(10_000) * pd.Timedelta(minutes=55), 3.0),
        "one-timer": ([start], 5.0),
    }
    awkward = [
        pd.DataFrame({"customer_id": kind, "ts": times, "amount": amount})
        for kind, (times, amount) in kinds.items()
    ]
    frame = pd.concat([ordinary[["customer_id", "ts", "amount"]], *awkward], ignore_index=True)
    country = np.where(frame["customer_id"] == "one-timer", "Ger\0many", "Germany")
    return frame.assign(order_id=[f"o{number}" for number in range(len(frame))], country=country)


def test_every_model_values_everyone_or_says_why_not(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "awkward.parquet"
    lines().to_parquet(path, index=False)
    found = evaluate_file(settings, FileSource(path), cutoff=CUTOFF, horizon_days=90, model="all")

    wanted = {"tiny", "huge", "same-instant", "ten-thousand-orders", "one-timer"}
    for name, rows in found.predictions.groupby("model_name"):
        customers = set(rows["customer_id"])
        assert wanted <= customers and "only-returns" not in customers, name
        numbers = rows.select_dtypes("number")
        assert np.isfinite(numbers).all(axis=None) and (numbers >= 0).all(axis=None), name
        assert (rows["lower_80"] <= rows["upper_80"]).all(), name
        assert (rows["probability_active"] <= 1).all(), name
    fitted = {c.model_name for c in found.valuation.candidates if c.model is not None}
    assert set(found.predictions["model_name"]) == fitted
    assert all(str(c.abstention) for c in found.valuation.candidates if c.model is None)
    assert fitted | {c.model_name for c in found.valuation.candidates} == set(MODELS)
    served = found.predictions[
        found.predictions["model_name"] == found.valuation.decision.model_name
    ]
    values = served.set_index("customer_id")["predicted_value"]
    ordinary = values[~values.index.isin(wanted)]
    assert values["huge"] > 1e8 and values["tiny"] < ordinary.max() < 1e6


def test_a_few_one_timers_are_expected_to_spend_nothing(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "once.csv"
    names = [f"once-{number}" for number in range(20)]
    days = pd.date_range(end="2021-02-28", periods=20)
    good = pd.DataFrame({"customer_id": names, "order_id": names, "ts": days, "amount": "100"})
    bad = good.tail(2).assign(amount="much", ts=[days[-1], pd.Timestamp("2021-04-01")])
    pd.concat([good, bad]).to_csv(path, index=False)
    source = FileSource(path, ReadingOptions(accept_loss=0.1))
    found = evaluate_file(settings, source, cutoff=CUTOFF, horizon_days=180)
    assert found.rejected_lines == 2  # before the cut-off and in the outcome
    assert (found.valuation.decision.model_name, len(found.predictions)) == ("mean", 20)
    numbers = ["predicted_value", "lower_80", "upper_80", "expected_orders", "probability_active"]
    assert (found.predictions[numbers] == 0).all(axis=None)
    [segment] = found.valuation.predictions["segment"].unique()
    assert segment.endswith("dormant")
