"""Digests of the inputs of a result: code, libraries, rows. Equal digests, equal results."""

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

_LIBRARIES: Final = ("numpy", "pandas", "scipy", "scikit-learn")
_MODELING: Final = ("data", "models", "evaluation")
_LENGTH: Final = 32


@cache
def code_version() -> str:
    """Return the digest of the modeling source and of the libraries that its numbers come from."""
    home = Path(__file__).parents[1]
    paths = [path for name in _MODELING for path in sorted((home / name).glob("*.py"))]
    modules = {path.relative_to(home).as_posix(): path.read_text() for path in paths}
    return digest({"modules": modules, "libraries": _versions()})


def digest(content: Any) -> str:
    """Return the digest of a JSON value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


class Rows:
    """The digests of parts of a frame.

    Args:
        frame: In a fixed order; every value of every column counts, to the bit.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._header = digest([[str(name), str(kind)] for name, kind in frame.dtypes.items()])
        self._hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()

    def digest(self, chosen: np.ndarray) -> str:
        """Return the digest of the rows that a mask chooses."""
        hashes = self._hashes[chosen]
        return digest([self._header, len(hashes), hashlib.sha256(hashes.tobytes()).hexdigest()])


def _versions() -> Mapping[str, str]:
    versions = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "machine": platform.machine(), **versions}
