"""Predictions of an earlier checkout for marts of this one, run by that checkout's Python.

`CHECKOUT/.venv/bin/python -P earlier.py FOLDER DATE:DAYS …` reads `features.parquet` and
`entries.parquet` in the folder and writes the served predictions to `earlier-DATE-DAYS.parquet`.
The script imports nothing of this checkout.
"""

import importlib
import importlib.util
import sys
from datetime import date
from pathlib import Path

import pandas as pd

_PLACES = ("retail_pipeline.clv.serving", "retail_pipeline.clv")
"""Packages that have held the module `valuation`."""


def main() -> None:
    """Write the predictions that are missing."""
    folder = Path(sys.argv[1])
    features, entries = (pd.read_parquet(folder / f"{n}.parquet") for n in ("features", "entries"))
    place = next(p for p in _PLACES if importlib.util.find_spec(p) and _has_valuation(p))
    valuation = importlib.import_module(f"{place}.valuation")
    for text in sys.argv[2:]:
        day, days = text.split(":")
        file = folder / f"earlier-{day}-{days}.parquet"
        if not file.exists():
            known = features[pd.to_datetime(features["as_of_date"]) <= pd.Timestamp(day)]
            found = valuation.value_customers(known, entries, date.fromisoformat(day), int(days))
            found.predictions.to_parquet(file)


def _has_valuation(place: str) -> bool:
    return importlib.util.find_spec(f"{place}.valuation") is not None


if __name__ == "__main__":
    main()
