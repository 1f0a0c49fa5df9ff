"""The lake: Spark's Parquet files, in a folder or an object store (RETAIL_LAKE).

`landing/<id>/<schema>/<table>` are tables landed from PostgreSQL, `builds/<id>/<schema>/<table>`
those of a build. `landing.json` and `builds.json` name the current ids: one small object is
replaced whole, on a store, too. `scored` holds results of workers until the driver reads them.
Everything is made again by the next run, so all of it can be removed when no run is at work.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from retail_pipeline.errors import PipelineError
from retail_pipeline.files import replaced_whole

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow import fs

_OURS: Final = (
    *("landing.json", "builds.json", "published.json", "retail.duckdb"),
    *("landing", "builds", "scored", "scratch", "duckdb"),
)
"""All that can be in a lake; `scratch` is what a killed Spark leaves."""

_MARK: Final = "started"
"""An object in each new folder, which is missing at its end if another build has removed it."""


class Lake:
    """The lake at an address; paths in it are relative.

    Args:
        address: A folder, which need not exist, or the address of an object store, as `s3://…`.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self._is_store = "://" in self.address

    @property
    def folder(self) -> Path:
        """The lake's folder.

        Raises:
            PipelineError: The lake is in an object store.
        """
        if self._is_store:
            raise PipelineError(f"the lake {self.address} is no folder: DuckDB needs one")
        return Path(self.address).absolute()

    @cached_property
    def files(self) -> "fs.FileSystem":
        """The lake's files; a store's login is what the store's own configuration says.

        Raises:
            PipelineError: The store cannot be used.
        """
        from pyarrow import fs

        if not self._is_store:
            return fs.SubTreeFileSystem(str(self.folder), fs.LocalFileSystem())
        with self._reached():
            store, path = fs.FileSystem.from_uri(self.address)
        return fs.SubTreeFileSystem(path, store)

    def uri(self, path: str) -> str:
        """Return the address of a path, as all machines of a cluster understand it."""
        return f"{self.address}/{path}" if self._is_store else f"file://{self.folder / path}"

    def read(self, path: str) -> Any:
        """Return the Parquet files of a path as a dataset of Arrow."""
        import pyarrow.dataset as ds

        return ds.dataset(path, filesystem=self.files, format="parquet")

    def parts(self, path: str, rows: int, columns: Sequence[str] | None = None) -> "Parts":
        """Return the rows of the Parquet files of a path in parts of at most so many rows."""
        return Parts(self.read(path), rows, columns)

    def folders(self, path: str) -> list[str]:
        """Return the names of the folders in a path."""
        return sorted(each.base_name for each in self._list(path) if not each.is_file)

    def landed(self, table: str) -> str:
        """Return the path of a landed table, given as `schema.name`.

        Raises:
            PipelineError: The table was not landed.
        """
        schema, name = table.split(".")
        folder = self._current("landing")
        if folder is None or name not in self.folders(f"{folder}/{schema}"):
            raise PipelineError(f"{table} is not in the lake {self.address}: land it first")
        return f"{folder}/{schema}/{name}"

    @property
    def build(self) -> "Build":
        """The last build that succeeded.

        Raises:
            PipelineError: There is none.
        """
        folder = self._current("builds")
        if folder is None:
            raise PipelineError(f"no warehouse was built in the lake {self.address}")
        return Build(self, folder)

    @contextmanager
    def landing(self) -> Iterator[str]:
        """Yield the path of an empty folder, which replaces the landed tables at the end.

        If the block fails or is killed, the landed tables stay as they were.
        """
        with self._new("landing") as folder:
            yield folder
        self._clean("landing")

    @contextmanager
    def building(self) -> Iterator[str]:
        """Yield the path of an empty folder, which is the last build at the end of the block.

        A reader sees one build, whole. If the block fails or is killed, the last build stays. The
        build before stays for its readers until the next one. One block has to run at a time.

        Raises:
            PipelineError: Another block has run meanwhile.
        """
        with self._new("builds") as folder:
            yield folder

    @contextmanager
    def scored(self, name: str) -> Iterator[str]:
        """Yield the path of a missing folder for the results of a step; remove it at the end."""
        folder = f"scored/{name}"
        self._remove(folder)
        try:
            yield folder
        finally:
            self._remove(folder)

    def remove(self, *, dry_run: bool = False) -> int:
        """Remove everything in the lake, or only count; return the number of files."""
        with self._reached():
            return sum(self._remove(name, dry_run=dry_run) for name in _OURS)

    def read_note(self, name: str) -> Mapping[str, Any]:
        """Return a small JSON object; empty if it is missing."""
        with (
            self._reached(),
            suppress(FileNotFoundError),
            self.files.open_input_stream(f"{name}.json") as file,
        ):
            return dict(json.loads(file.read()))
        return {}

    def write_note(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a small JSON object; a reader sees the old one or the new one."""
        data = json.dumps(content).encode()
        if self._is_store:
            with self.files.open_output_stream(f"{name}.json") as file:
                file.write(data)
            return
        with replaced_whole(self.folder / f"{name}.json") as draft:
            draft.write_bytes(data)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say which lake it is if files cannot be read or written."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise PipelineError(f"the lake {self.address} cannot be used: {error}") from error

    def _current(self, kind: str) -> str | None:
        name = self.read_note(kind).get("current")
        return f"{kind}/{name}" if name else None

    @contextmanager
    def _new(self, kind: str) -> Iterator[str]:
        name = secrets.token_hex(8)
        folder = f"{kind}/{name}"
        with self._reached():
            self._clean(kind)
            self.files.create_dir(folder)
            self.files.open_output_stream(f"{folder}/{_MARK}").close()
        yield folder
        if not self.files.get_file_info(f"{folder}/{_MARK}").is_file:
            raise PipelineError(
                f"another build in the lake {self.address} has removed this one: let one build run "
                "at a time"
            )
        self.write_note(kind, {"current": name})

    def _clean(self, kind: str) -> None:
        """Remove the folders of a kind that are not the current one."""
        current = self._current(kind)
        for folder in [f"{kind}/{name}" for name in self.folders(kind)]:
            if folder != current:
                self._remove(folder)

    def _remove(self, path: str, *, dry_run: bool = False) -> int:
        """Remove a file, or a folder with all in it; return the number of files."""
        from pyarrow import fs

        found = self.files.get_file_info(path)
        if found.type == fs.FileType.NotFound:
            return 0
        files = 1 if found.is_file else sum(e.is_file for e in self._list(path, recursive=True))
        if not dry_run:
            (self.files.delete_file if found.is_file else self.files.delete_dir)(path)
        return files

    def _list(self, path: str, *, recursive: bool = False) -> "list[fs.FileInfo]":
        from pyarrow import fs

        where = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
        return list(self.files.get_file_info(where))


@dataclass(frozen=True)
class Parts:
    """The rows of some Parquet files as frames; each iteration reads the files again.

    Args:
        files: The files as a dataset of Arrow.
        rows: The most rows of a frame.
        columns: The columns of the frames; all by default.
    """

    files: Any
    rows: int
    columns: Sequence[str] | None = None

    def __iter__(self) -> Iterator["pd.DataFrame"]:
        """Yield the frames; few are in memory at once."""
        batches = self.files.to_batches(
            columns=self.columns, batch_size=self.rows, batch_readahead=2, fragment_readahead=1
        )
        for batch in batches:
            if batch.num_rows:
                yield batch.to_pandas(date_as_object=False)


class Build:
    """A build of the warehouse; its files do not change.

    Args:
        lake: The lake.
        folder: The path of the build's folder in it.
    """

    def __init__(self, lake: Lake, folder: str) -> None:
        self.lake = lake
        self.folder = folder

    def marts(self) -> list[str]:
        """Return the names of the marts."""
        return self.lake.folders(f"{self.folder}/warehouse")

    def uri(self, mart: str) -> str:
        """Return the address of a mart."""
        return self.lake.uri(f"{self.folder}/warehouse/{mart}")

    def has(self, table: str) -> bool:
        """Return whether the build has a table, given as `schema.name`."""
        schema, name = table.split(".")
        return name in self.lake.folders(f"{self.folder}/{schema}")

    def read(self, table: str) -> Any:
        """Return a table, given as `schema.name`, as a dataset of Arrow."""
        return self.lake.read(f"{self.folder}/{table.replace('.', '/')}")

    def note_published(self, table_id: int) -> None:
        """Note that PostgreSQL has the marts of this build, its features as this table."""
        self.lake.write_note("published", {"build": self.folder, "features": table_id})

    def is_published(self, table_id: int) -> bool:
        """Return whether this build was published, and its features are still this table."""
        note = self.lake.read_note("published")
        return note == {"build": self.folder, "features": table_id}
