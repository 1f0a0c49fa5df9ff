"""The id of a source, under which its state is stored: equal for equal data, no credentials."""

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from retail_pipeline.errors import UsageError
from retail_pipeline.settings import ApiSource, FileSource, SimulatorSource, Source


def source_id(source: Source) -> str:
    """Return a source's id: the simulator's parameters, a file's digest and options, or the URL.

    Raises:
        UsageError: The file is missing.
    """
    match source:
        case SimulatorSource(customers=customers, seed=seed):
            return f"simulator:customers={customers}&seed={seed}"
        case FileSource(path=path, options=options):
            content = f"file:sha256:{_content_hash(path, file_stamp(path))[:16]}"
            return f"{content}?{options.identity}" if options.identity else content
        case ApiSource(url=url):
            return without_credentials(url)


def without_credentials(url: str) -> str:
    """Return an address without user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def file_stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and modification time, which identify a version of the file.

    Raises:
        UsageError: The file is missing.
    """
    try:
        state = path.stat()
    except OSError:
        raise UsageError(f"the transactions file {path} does not exist; check its path") from None
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=8)
def _content_hash(path: Path, _stamp: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
