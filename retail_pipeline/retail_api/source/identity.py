"""The id of a source, under which its state is stored: equal for equal data, no credentials."""

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api.source.profiles import profile_text
from retail_pipeline.settings import ApiSource, FileSource, SimulatorSource, Source, TablesSource


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
            return f"{content}?{_reading(options)}" if options.identity else content
        case TablesSource(schema=schema):
            return f"tables:{schema}"
        case ApiSource(url=url):
            return without_credentials(url)


def _reading(options: ReadingOptions) -> str:
    """Return the profile's name and a digest of all options that change how a file is read."""
    text = options.identity + (profile_text(options.profile) if options.profile else "")
    digest = f"reading={hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"profile={Path(options.profile).stem}&{digest}" if options.profile else digest


def without_credentials(url: str) -> str:
    """Return an address without user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def file_stamp(path: Path) -> tuple[int, int]:
    """Return the size and the latest modification time of a file, or of a folder's files.

    They identify a version of the file.

    Raises:
        UsageError: The file is missing.
    """
    try:
        states = [file.stat() for file in _files(path)]
    except OSError:
        raise UsageError(f"the transactions file {path} does not exist; check its path") from None
    return sum(each.st_size for each in states), max(each.st_mtime_ns for each in states)


def _files(path: Path) -> list[Path]:
    """Return the file, or a folder and all in it."""
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


@lru_cache(maxsize=8)
def _content_hash(path: Path, _stamp: tuple[int, int]) -> str:
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for each in (one for one in _files(path) if one.is_file()):
        total.update(f"{each.relative_to(path)} {_content_hash(each, file_stamp(each))} ".encode())
    return total.hexdigest()
