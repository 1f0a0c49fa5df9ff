"""The lake: the folder of Parquet files that Spark reads and writes (RETAIL_LAKE).

`landing/<schema>/<table>` are tables landed from PostgreSQL, `warehouse/<table>` the marts, and
`scored` holds results of workers until the driver has read them. Everything in it is made again by
the next run, so all of it can be removed when no run is at work.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
        parts = [part for part in self.folder.glob("*") if part.is_dir()]
        files = sum(path.is_file() for part in parts for path in part.rglob("*"))
        if not dry_run:
            _remove(*parts)
        return files


def read_parquet(folder: Path) -> "pd.DataFrame":
    """Return the Parquet files of a folder as a frame."""
    import pyarrow.parquet as pq

    return pq.read_table(folder).to_pandas(date_as_object=False)


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
