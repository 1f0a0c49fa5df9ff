"""The bundle against the database and against Superset: validation, differences, application."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from retail_pipeline.bi.bundle import ASSETS, MARK, Bundle, BundleError, Dataset, load_bundle
from retail_pipeline.bi.reader_login import reader_login
from retail_pipeline.bi.superset import Superset
from retail_pipeline.postgres import Database, address

_CURRENCY = (
    "select min(currency) from warehouse.fct_transactions having count(distinct currency) = 1"
)

_SHOWN_KEYS = 5
_MASK = "X" * 10  # Superset's sign for a password that is stored apart


@dataclass(frozen=True)
class Change:
    """A difference between Superset and the files: what is missing (+), too much (-), other (~)."""

    sign: str
    name: str
    keys: Sequence[str]

    def __str__(self) -> str:
        """One line, with the first keys that differ."""
        shown = ", ".join(self.keys[:_SHOWN_KEYS])
        more = f" and {len(self.keys) - _SHOWN_KEYS} more" if len(self.keys) > _SHOWN_KEYS else ""
        return f"{self.sign} {self.name}{': ' if shown else ''}{shown}{more}"


def apply_bundle(
    superset: Superset, database: Database, *, write: bool = True, folder: Path = ASSETS
) -> list[Change]:
    """Bring Superset to the state of the files, in one transaction; return what differed.

    Args:
        superset: An installed Superset.
        database: The database that the dashboards show, as its owner.
        write: Whether to keep the changes; without it they are only listed.
        folder: The folder of the files.

    Raises:
        BundleError: The files contradict each other or the database.
        PipelineError: Superset refused.
    """
    superset.refuse_missing()
    bundle = load_bundle(folder)
    url = reader_login(database)
    currency = validate(bundle, url)
    parts = address.read(url)
    masked = address.written({**parts, "password": _MASK})
    found = superset.run(
        "apply",
        files=bundle.rendered(masked.replace("://", "+psycopg2://", 1), currency),
        password=parts["password"],
        logins=superset.logins(),
        mark=MARK,
        write=write,
    )
    return [Change(**each) for each in found["changes"]]


def validate(bundle: Bundle, url: str) -> str | None:
    """Hold each data set to the tables as they are; return the data's currency if it is one.

    The database itself reads each column and computes each metric, over no rows, with the rights
    of the dashboards' login.

    Raises:
        BundleError: A table or column is missing, or an expression cannot be computed.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        datasets = bundle.datasets.values()
        problems = [line for each in datasets for line in _problems(each, connection)]
        if problems:
            raise BundleError(problems)
        found = connection.execute(_CURRENCY).fetchone()
    return found[0] if found else None


def _problems(dataset: Dataset, connection: psycopg.Connection) -> Iterator[str]:
    path = dataset.asset.path
    try:
        cursor = connection.execute(f"select * from {dataset.relation} limit 0")
    except psycopg.Error as error:
        yield f"{path}: {error.diag.message_primary}"
        return
    there = {column.name for column in cursor.description or ()}
    for name, column in dataset.columns.items():
        if name not in there and not column.get("expression"):
            yield f"{dataset.asset.at(name)}: the database has no column {name} there"
    for name, each in [*dataset.columns.items(), *dataset.metrics.items()]:
        if each.get("expression"):
            try:
                connection.execute(
                    f"select {each['expression']} from {dataset.relation} where false"
                )
            except psycopg.Error as error:
                yield f"{dataset.asset.at(name)}: {name}: {error.diag.message_primary}"
