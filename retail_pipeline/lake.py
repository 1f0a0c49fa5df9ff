"""The lake: the folder of Parquet files that Spark reads and writes (RETAIL_LAKE).

`landing/<schema>/<table>` are tables landed from PostgreSQL. `warehouse/<table>` are the marts, a
link to the last build in `builds`. `scored` holds results of workers until the driver reads them.
Everything is made again by the next run, so all of it can be removed when no run is at work.
"""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retail_pipeline.files import locked

if TYPE_CHECKING:
    import pandas as pd


class Lake:
    """The lake in a folder, which the driver and all workers have at the same path.

    Args:
        folder: The folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mart(self, name: str) -> Path:
        """Return the folder of a mart."""
        return self.folder / "warehouse" / name

    def marts(self) -> list[str]:
        """Return the names of the marts of the last build."""
        return sorted(path.name for path in (self.folder / "warehouse").iterdir() if path.is_dir())

    def has(self, table: str) -> bool:
        """Return whether the last build has a table, given as `schema.name`."""
        return self._path(table).is_dir()

    def built(self, table: str) -> Any:
        """Return a table of the last build, given as `schema.name`, as a dataset of Arrow."""
        import pyarrow.dataset as ds

        return ds.dataset(self._path(table), format="parquet")

    def _path(self, table: str) -> Path:
        # A build has a folder of each schema; `warehouse` is a link to the last build's.
        return (self.folder / "warehouse").resolve().parent.joinpath(*table.split("."))

    def note_published(self, table_id: int) -> None:
        """Note that PostgreSQL has the marts of the last build, its features as this table."""
        build = (self.folder / "warehouse").resolve().parent.name
        (self.folder / "published").write_text(f"{build} {table_id}")

    def is_published(self, table_id: int) -> bool:
        """Return whether the last build was published, and its features are still this table."""
        note = self.folder / "published"
        build = (self.folder / "warehouse").resolve().parent.name
        return note.is_file() and note.read_text() == f"{build} {table_id}"

    def landed(self, table: str) -> Path:
        """Return the folder of a landed table, given as `schema.name`."""
        return self.folder.joinpath("landing", *table.split("."))

    @contextmanager
    def landing(self) -> Iterator[Path]:
        """Yield an empty folder, which replaces the landed tables at the end of the block.

        If the block fails, the landed tables stay as they were.
        """
        draft, old = self.folder / "landing.draft", self.folder / "landing.old"
        _remove(draft, old)
        draft.mkdir(parents=True)
        try:
            yield draft
            if (self.folder / "landing").exists():
                (self.folder / "landing").replace(old)
            draft.replace(self.folder / "landing")
        finally:
            _remove(draft, old)

    @contextmanager
    def building(self, name: str) -> Iterator[Path]:
        """Yield an empty folder; at the end of the block, the link `name` leads to `name` in it.

        A reader sees one build, whole. If the block fails or is killed, the link stays as it was.
        One block runs at a time. The build before stays for its readers until the next one.
        """
        builds = self.folder.absolute() / "builds" / name
        builds.mkdir(parents=True, exist_ok=True)
        with locked(builds / "lock"):
            link = self.folder.absolute() / name
            _remove(*(each for each in builds.glob("*/") if each != link.resolve().parent))
            folder = builds / secrets.token_hex(8)
            folder.mkdir()
            yield folder
            draft = folder / "link"
            draft.symlink_to(Path("builds", name, folder.name, name))
            draft.replace(link)

    @contextmanager
    def scored(self, name: str) -> Iterator[Path]:
        """Yield an empty folder for the results of a step, and remove it at the end."""
        folder = self.folder / "scored" / name
        _remove(folder)
        try:
            yield folder
        finally:
            _remove(folder)

    def remove(self, *, dry_run: bool = False) -> int:
        """Remove everything in the lake, or only count; return the number of files."""
        folders = [part for part in self.folder.glob("*/") if not part.is_symlink()]
        links = [part for part in self.folder.glob("*") if part.is_symlink()]
        files = sum(path.is_file() for folder in folders for path in folder.rglob("*"))
        if not dry_run:
            _remove(*links, *folders)
        return files


def read_parquet(folder: Path, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Return the Parquet files of a folder, or some columns of them, as a frame."""
    import pyarrow.dataset as ds

    found = ds.dataset(folder, format="parquet").to_table(columns=columns)
    return found.to_pandas(date_as_object=False, self_destruct=True)


def parquet_parts(folder: Path, rows: int) -> Iterator["pd.DataFrame"]:
    """Yield the rows of the Parquet files of a folder, at most so many at once."""
    import pyarrow.dataset as ds

    for batch in ds.dataset(folder, format="parquet").to_batches(batch_size=rows):
        if batch.num_rows:
            yield batch.to_pandas(date_as_object=False)


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
