"""Digests of what a result is computed from: code, libraries, rows. Equal digests, equal results.

With them a run tells what it may keep of the run before. Nothing is read, kept or computed here.
"""

import hashlib
import json
import platform
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

_LIBRARIES: Final = ("numpy", "pandas", "scipy", "scikit-learn", "lightgbm")
_MODELLING: Final = ("data", "models", "evaluation", "serving")
_LENGTH = 32


@cache
def code_version(*subpackages: str) -> str:
    """Return a digest of the modelling source and of the libraries that its numbers come from.

    Args:
        subpackages: Further folders of `clv` whose modules the result depends on.
    """
    home = Path(__file__).parents[1]
    folders = ("", *_MODELLING, *subpackages)
    paths = [path for name in folders for path in sorted((home / name).glob("*.py"))]
    parts = {path.relative_to(home).as_posix(): path.read_text() for path in paths}
    return digest({"modules": parts, "libraries": _versions()})


def digest(content: Any) -> str:
    """Return the digest of a JSON value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


class Rows:
    """A frame whose parts can be told apart from what they were at another time.

    Args:
        frame: In a fixed order; every value of every column counts, to the bit.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._header = digest([[str(name), str(kind)] for name, kind in frame.dtypes.items()])
        self._hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()

    def digest(self, chosen: np.ndarray | None = None) -> str:
        """Return the digest of the rows that a mask chooses, by default of all."""
        hashes = self._hashes if chosen is None else self._hashes[chosen]
        return digest([self._header, len(hashes), hashlib.sha256(hashes.tobytes()).hexdigest()])


def of_rows(frame: pd.DataFrame) -> str:
    """Return the digest of a whole frame."""
    return Rows(frame).digest()


def of_cutoffs(
    features: pd.DataFrame,
    entries: pd.DataFrame,
    cutoffs: Collection[date],
    horizon_days: int,
) -> dict[date, str]:
    """Return, per cut-off, the digest of all that its test may depend on.

    That is the features up to it, the ledger up to the end of its outcome, and which other cut-offs
    came before it. What else the backtest is handed would be leakage.

    Args:
        features: Prepared features of all dates that the backtest is handed.
        entries: The prepared ledger, as known at the date of the run.
        cutoffs: All cut-offs that are due.
        horizon_days: Length of the outcome.
    """
    feature_rows, ledger_rows = Rows(features), Rows(entries)
    as_of, days = features["as_of_date"].to_numpy(), entries["date_day"].to_numpy()
    return {
        cutoff: digest(
            {
                "code": code_version(),
                "horizon_days": horizon_days,
                "cutoffs": [day for day in sorted(cutoffs) if day <= cutoff],
                "features": feature_rows.digest(as_of <= np.datetime64(cutoff)),
                "entries": ledger_rows.digest(
                    days < np.datetime64(cutoff + timedelta(days=horizon_days))
                ),
            }
        )
        for cutoff in cutoffs
    }


def _versions() -> Mapping[str, str]:
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
