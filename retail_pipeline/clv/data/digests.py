"""Digests of code, libraries and rows. Inputs with equal digests give equal results."""

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

_LIBRARIES: Final = ("numpy", "pandas", "scipy", "scikit-learn")
_MODELING: Final = ("data", "models", "evaluation")
_LENGTH: Final = 32


@cache
def code_version() -> str:
    """Return the digest of the modeling source and of the numerical libraries' versions."""
    home = Path(__file__).parents[1]
    paths = [path for name in _MODELING for path in sorted((home / name).glob("*.py"))]
    modules = {path.relative_to(home).as_posix(): path.read_text() for path in paths}
    return digest({"modules": modules, "libraries": _versions()})


def digest(content: Any) -> str:
    """Return the digest of a JSON value, in which arrays are represented by their bytes."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_as_text)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _as_text(value: Any) -> str:
    is_array = isinstance(value, np.ndarray)
    return hashlib.sha256(value.tobytes()).hexdigest() if is_array else str(value)


def _versions() -> Mapping[str, str]:
    versions = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "machine": platform.machine(), **versions}
