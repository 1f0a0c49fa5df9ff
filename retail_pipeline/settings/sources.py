"""The sources of a run, as RETAIL_SOURCE and `--source` spell them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from retail_pipeline.reading_options import (
    DEFAULT_READING,
    ReadingOptions,
    parse_reading,
    reading_texts,
)

_OWN_SCHEMAS: Final = (
    *("transactional", "staging", "intermediate", "warehouse", "clv", "quality", "public"),
)


@dataclass(frozen=True)
class SimulatorSource:
    """The bundled retail simulator: `simulator:?customers=10000&seed=7`."""

    customers: int = 10_000
    seed: int = 7

    def __str__(self) -> str:
        """The text of this source in RETAIL_SOURCE."""
        return f"simulator:?customers={self.customers}&seed={self.seed}"


@dataclass(frozen=True)
class FileSource:
    """A transactions file or folder behind the bundled API: `file:PATH?profile=shopify`."""

    path: Path
    options: ReadingOptions = DEFAULT_READING

    def __str__(self) -> str:
        """The text of this source in RETAIL_SOURCE."""
        texts = reading_texts(self.options).items()
        options = "&".join(f"{name}={quote(text, safe=' ,=')}" for name, text in texts)
        return f"file:{self.path}?{options}" if options else f"file:{self.path}"


@dataclass(frozen=True)
class ApiSource:
    """A retail API at an address: `https://…`."""

    url: str

    def __str__(self) -> str:
        """The text of this source in RETAIL_SOURCE, without user, password and query."""
        return _shown(self.url)


@dataclass(frozen=True)
class TablesSource:
    """Tables of the database that another Airbyte fills: `tables:SCHEMA`. Nothing is synced."""

    schema: str


Source = SimulatorSource | FileSource | ApiSource | TablesSource


def hostname_of(url: str) -> str | None:
    """Return the host of an address, or None if no request can be sent to the address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        return None
    return host if url.isprintable() and " " not in url else None


def is_web_address(url: str) -> bool:
    """Return whether requests can be sent to a text as an address."""
    return url.startswith(("http://", "https://")) and bool(hostname_of(url))


def read_source(text: Any) -> Source:
    """Return the source of a text; raise ValueError if it is none."""
    if not isinstance(text, str):
        return text
    if text.startswith("simulator:"):
        return _simulator_source(text)
    if text.startswith("file:") and len(text) > len("file:"):
        return read_file(text.removeprefix("file:"))
    if schema := re.fullmatch("tables:([a-z_][a-z0-9_]*)", text):
        if schema[1] in _OWN_SCHEMAS:
            raise ValueError(f"names {schema[1]}, a schema of the pipeline, which it may empty")
        return TablesSource(schema[1])
    if is_web_address(text):
        return ApiSource(text.rstrip("/"))
    raise ValueError(
        f"{text.rpartition('@')[2]!r} is not known: use 'simulator:?customers=10000&seed=7', "
        "'file:PATH', 'tables:SCHEMA' or an address with a host like https://api.example:8443"
    )


def read_file(text: str) -> FileSource:
    """Return the file of `PATH`, `PATH?option=value&…` or `PATH#Sheet`; raise ValueError if none.

    Options are as in a URL.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise ValueError(
            f"must be a file on this machine, but {_shown(text)} is an address: download it and "
            "give the file, or give a retail API with --source"
        )
    name, _, query = text.rpartition("?")
    texts = dict(parse_qsl(query, keep_blank_values=True)) if name and "=" in query else {}
    if not texts or Path(text).exists():
        name, texts = text, {}
    whole, _, sheet = name.rpartition("#")
    if whole and not Path(name).exists() and Path(whole).exists():
        name, texts = whole, {"sheet": sheet, **texts}
    return FileSource(Path(name).expanduser().absolute(), parse_reading(texts))


def _shown(url: str) -> str:
    """Return the part of an address without credentials."""
    scheme, _, rest = url.partition("//")
    return f"{scheme}//{rest.partition('?')[0].rpartition('@')[2]}"[:80]


def _simulator_source(text: str) -> SimulatorSource:
    parameters = dict(parse_qsl(text.removeprefix("simulator:").removeprefix("?")))
    try:
        source = SimulatorSource(**{key: int(value) for key, value in parameters.items()})
    except (TypeError, ValueError):
        source = SimulatorSource(customers=0)
    if source.customers < 1 or source.seed < 0:
        raise ValueError(
            "must look like simulator:?customers=10000&seed=7, with at least one customer; "
            f"got {text!r}"
        )
    return source
