"""What lies in the landing tables and what was kept aside, as numbers.

SQL over `transactional.*` and `quality.rejected_records` only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from psycopg import sql

from retail_pipeline.ingestion.specs import LANDING_LAYER
from retail_pipeline.postgres import Database


@dataclass(frozen=True)
class Landed:
    """A stream's rows in its table, and its records that have none: kept aside, kept out."""

    rows: int
    rejected: int
    suppressed: int = 0


@dataclass(frozen=True)
class LandedMoney:
    """Lines and exact amounts of the landed transactions; returns are positive."""

    lines: int
    sales_amount: Decimal
    returns_amount: Decimal

    @property
    def net_amount(self) -> Decimal:
        """Sales less returns."""
        return self.sales_amount - self.returns_amount


def count_landed(database: Database, stream: str, key: Sequence[str]) -> Landed:
    """Count a stream's rows, rejected and suppressed records; versions of one record count once.

    Args:
        database: The warehouse.
        stream: The stream.
        key: Its primary key's columns.
    """
    table = sql.Identifier(LANDING_LAYER, stream)
    same = sql.SQL(" and ").join(
        sql.SQL("t.{}::text = r.record ->> {}").format(sql.Identifier(name), name) for name in key
    )
    identity = sql.SQL("coalesce({}, r.record_hash)").format(
        sql.SQL(" || '/' || ").join(sql.SQL("(r.record ->> {})").format(name) for name in key)
    )
    with database.connect() as connection:
        rows = connection.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
        rejected = connection.execute(
            sql.SQL(
                "select count(distinct {identity}) from quality.rejected_records r "
                "where r.stream = {stream} and not exists (select from {table} t where {same})"
            ).format(identity=identity, stream=stream, table=table, same=same)
        ).fetchone()
        suppressed = connection.execute(
            "select count(*) from quality.suppressed_records where stream = %s", [stream]
        ).fetchone()
    assert rows is not None and rejected is not None and suppressed is not None
    return Landed(rows[0], rejected[0], suppressed[0])


def count_rejected(database: Database, stream: str) -> int:
    """Count what was kept aside of a stream: records, and single lines of records."""
    with database.connect() as connection:
        row = connection.execute(
            "select count(*) from quality.rejected_records "
            "where stream = %(stream)s or starts_with(stream, %(stream)s || '.')",
            {"stream": stream},
        ).fetchone()
    assert row is not None
    return row[0]


def sum_transactions(database: Database) -> LandedMoney:
    """Add up the landed transactions' lines, exactly."""
    with database.connect() as connection:
        row = connection.execute(
            "select count(*), coalesce(sum(amount) filter (where type = 'sale'), 0), "
            "coalesce(-sum(amount) filter (where type = 'return'), 0) "
            f"from {LANDING_LAYER}.transactions, lateral (select (line ->> 'amount')::numeric "
            "from jsonb_array_elements(items) as line) as lines(amount)"
        ).fetchone()
    assert row is not None
    return LandedMoney(*row)


def read_by(database: Database, job_id: int) -> str | None:
    """Return who read in a sync of the embedded engine; None where it does not know the job."""
    found = database.query("select reader from quality.sync_jobs where job_id = %s", [job_id])
    return None if found.empty else found["reader"].iloc[0]
