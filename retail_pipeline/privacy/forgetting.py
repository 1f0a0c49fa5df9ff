"""Removing a person from everything that the pipeline keeps, and seeing to it that nobody returns.

The order: one transaction over the warehouse database (suppression list, landing, rejected records,
dbt's tables, customer value), then the space that the rows had, Dagster's storage, files. Each step
may be repeated; a second call finishes what a first one could not. What it needs for that (details
of the person, the tables to rewrite) is kept in `quality.unfinished_forgets` from the transaction
to the end.

What happens to totals: the person's rows are gone at once, aggregates over many people keep the old
totals until the next build, which leaves the person's revenue out; models and figures follow in the
same run.
"""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.ingestion.specs import load_folder
from retail_pipeline.postgres import (
    Database,
    open_database,
)
from retail_pipeline.postgres.open import sibling_url
from retail_pipeline.postgres.scratch import drop_abandoned
from retail_pipeline.privacy.suppression import (
    FILE_LINES,
    FILE_LINES_TEXT,
    SuppressionKey,
    enter_suppressed,
    remove_landed,
)
from retail_pipeline.settings import (
    PROJECT_ROOT,
    Settings,
)

REDACTED = "[forgotten]"

_CUSTOMER_COLUMNS = ("customer_id", "user_id")
_PERSONAL_COLUMNS = ("name", "email", "phone", "address")
_SHORTEST_TERM = 4
"""Shorter names and numbers are found everywhere by chance; the id is looked for at any length."""

_OWN_SCHEMAS = ("quality", "public")
_DAGSTER_IDENTITIES = (
    *("run_id", "asset_key", "step_key", "dagster_event_type", "partition", "snapshot_id"),
    *(
        "job_origin_id",
        "selector_id",
        "repository_origin_id",
        "origin_id",
        "materialization_run_id",
    ),
)
_STRUCTURE = ("__class__", "__enum__", "tags", "step_key", "run_id", "pipeline_name", "job_name")
"""Keys of Dagster's serialized events under which no data stands."""

_UNSEARCHED = (
    *(Path("postgres") / "data", Path("postgres") / "credentials.json"),
    *(Path("dagster") / "dagster.yaml", Path("suppression.key")),
)
"""Under `RETAIL_HOME`: what the server reads of its own, and settings, whose numbers are no ids."""


@dataclass
class Person:
    """What is known of a person, and how mentions are found in text."""

    customer_id: str
    details: set[str] = field(default_factory=set)
    transactions: set[str] = field(default_factory=set)

    def pattern(self) -> re.Pattern[str]:
        """Return what finds the id as a word of its own, and the details anywhere."""
        terms = {form for term in self.details for form in _written(term)}
        ids = "|".join(sorted(map(re.escape, _written(self.customer_id)), reverse=True))
        word = rf"(?<![\w\-])(?<!\w\.)(?:{ids})(?![\w\-])(?!\.\w)"
        return re.compile("|".join([word, *sorted(map(re.escape, terms), key=len, reverse=True)]))


@dataclass(frozen=True)
class Removed:
    """How much was removed in one place: rows of a table, mentions in a file, a whole database."""

    place: str
    what: str
    count: int


def forget(settings: Settings, customer_id: str, *, while_running: bool = False) -> list[Removed]:
    """Remove a customer everywhere and keep them out of all syncs to come; idempotent.

    Args:
        settings: Where the database, the key and the files are.
        customer_id: The id, verbatim.
        while_running: Go on although Dagster lists a run at work (one that died, say).

    Returns:
        What was removed, in order; nothing where the person was not there.

    Raises:
        UsageError: The id is empty.
        PipelineError: A run is at work, the suppression list belongs to another key, or a session
            holds a table for too long: calling it again finishes.
    """
    if not customer_id.strip():
        raise UsageError("the customer's id is empty")
    database = open_database(settings)
    dagster = _dagster(database)
    if dagster is not None and not while_running:
        _refuse_while_running(dagster)
    key = SuppressionKey.of(settings, create=True)
    person = Person(customer_id)
    abandoned = [Removed(name, "database", 1) for name in drop_abandoned(database)]
    rows = _remove_rows(database, key, person)
    _free_space(database, rows.tables)
    pattern = person.pattern()
    removed = abandoned + rows.removed
    if dagster is not None:
        removed += _redact_dagster(dagster, pattern, rewrite_all=rows.are_resumed)
    removed += _redact_files(settings.home, pattern)
    _finish(database, key.digest(customer_id))
    return removed


@dataclass(frozen=True)
class _Rows:
    """The rows of a person that are gone, and the tables to rewrite, those of earlier calls too."""

    removed: list[Removed]
    tables: list[str]
    are_resumed: bool


def _remove_rows(database: Database, key: SuppressionKey, person: Person) -> _Rows:
    with _connected(database) as connection:
        # Waits for syncs that are committing; those that are reading will find the list grown.
        connection.execute("lock table quality.source_state in exclusive mode")
        _suppress(connection, key, person.customer_id)
        tables = _tables(connection)
        left = _take_up(connection, key, person)
        _learn(connection, tables, person)
        removed = _remove_landed(connection, key, person)
        removed += _remove_rejected(connection, key, person)
        for name, columns in tables.items():
            if name[0] != "transactional":
                removed += _remove_from(connection, name, columns, person)
        removed += _redact_reasons(connection, person.pattern())
        removed = [each for each in removed if each.count]
        rewrite = sorted({each.place for each in removed}.union(left or ()))
        _keep_for_the_rest(connection, key, person, rewrite)
    return _Rows(removed, rewrite, are_resumed=left is not None)


@contextmanager
def _connected(
    database: Database, *, autocommit: bool = False, table: str | None = None
) -> Iterator[psycopg.Connection]:
    """Connect; a lock that nobody gives up in time becomes a message on who holds what.

    Args:
        database: Where.
        autocommit: As for `Database.connect`.
        table: The table that all of is asked for, so that even its readers are in the way.
    """
    try:
        with database.connect(autocommit=autocommit) as connection:
            yield connection
    except psycopg.errors.LockNotAvailable:
        raise PipelineError(
            f"the customer is not wholly forgotten yet: {_holder(database, table)}. Wait for its "
            "end, or end it, and run the same command again, which finishes the rest"
        ) from None


def _holder(database: Database, table: str | None) -> str:
    with database.connect() as connection:
        found = connection.execute(
            "select l.relation::regclass::text, a.pid, a.usename, "
            "coalesce(nullif(a.application_name, ''), 'no program named') "
            "from pg_locks l join pg_stat_activity a using (pid) "
            "join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p') "
            "where l.granted and a.datname = current_database() and pid <> pg_backend_pid() "
            "and case when %(table)s::text is null then l.mode <> 'AccessShareLock' "
            "else l.relation = to_regclass(%(table)s) end order by a.xact_start limit 1",
            {"table": table and sql.Identifier(*table.split(".")).as_string(connection)},
        ).fetchone()
    if found is None:
        return f"{table or 'a table'} was held by a session that has ended meanwhile"
    name, pid, user, program = found
    return f"{name} is held by session {pid} ({user}, {program})"


def _take_up(
    connection: psycopg.Connection, key: SuppressionKey, person: Person
) -> list[str] | None:
    """Learn what an earlier call kept for the rest; return its tables, None where it has ended."""
    row = connection.execute(
        "select details, tables from quality.unfinished_forgets where customer_hash = %s",
        [key.digest(person.customer_id)],
    ).fetchone()
    if row is None:
        return None
    details, tables = row
    person.details.update(details)
    return list(tables)


def _keep_for_the_rest(
    connection: psycopg.Connection, key: SuppressionKey, person: Person, tables: Sequence[str]
) -> None:
    connection.execute(
        "insert into quality.unfinished_forgets values (%s, %s, %s) "
        "on conflict (customer_hash) do update "
        "set details = excluded.details, tables = excluded.tables",
        [key.digest(person.customer_id), sorted(person.details), list(tables)],
    )


def _finish(database: Database, customer_hash: str) -> None:
    """Remove what was kept for the rest; a table that is truncated keeps no bytes of old rows."""
    with _connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("lock table quality.unfinished_forgets in access exclusive mode")
        others = cursor.execute(
            "select customer_hash, details, tables from quality.unfinished_forgets "
            "where customer_hash <> %s",
            [customer_hash],
        ).fetchall()
        cursor.execute("truncate quality.unfinished_forgets")
        cursor.executemany("insert into quality.unfinished_forgets values (%s, %s, %s)", others)


def _suppress(connection: psycopg.Connection, key: SuppressionKey, customer_id: str) -> None:
    others = connection.execute(
        "select count(*) from quality.suppressed_customers where key_id <> %s", [key.id]
    ).fetchone()
    if others != (0,):
        raise PipelineError(
            "the suppression key is not the one that earlier customers were forgotten with: set "
            "RETAIL_SUPPRESSION_KEY to the old one"
        )
    connection.execute(
        "insert into quality.suppressed_customers (customer_hash, key_id) values (%s, %s) "
        "on conflict do nothing",
        [key.digest(customer_id), key.id],
    )


def _tables(connection: psycopg.Connection) -> dict[tuple[str, str], list[str]]:
    """Return the columns of every table of the layers; of partitioned ones the parent alone."""
    rows = connection.execute(
        "select n.nspname, c.relname, array_agg(a.attname order by a.attnum) from pg_class c "
        "join pg_namespace n on n.oid = c.relnamespace "
        "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
        "where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_' "
        "and n.nspname <> 'information_schema' and n.nspname <> all(%s) "
        "group by 1, 2 order by 1, 2",
        [list(_OWN_SCHEMAS)],
    ).fetchall()
    return {(schema, name): columns for schema, name, columns in rows}


def _learn(
    connection: psycopg.Connection, tables: Mapping[tuple[str, str], list[str]], person: Person
) -> None:
    """Collect the details and transactions of a person before they are gone."""
    details = connection.execute(
        sql.SQL("select {} from transactional.users where user_id = %s").format(
            sql.SQL(", ").join(map(sql.Identifier, _PERSONAL_COLUMNS))
        ),
        [person.customer_id],
    ).fetchall()
    kept_aside = connection.execute(
        "select record from quality.rejected_records where record ->> 'user_id' = %s",
        [person.customer_id],
    ).fetchall()
    details += [tuple(record.get(name) for name in _PERSONAL_COLUMNS) for (record,) in kept_aside]
    person.details |= {
        str(value)
        for row in details
        for value in row
        if value and len(str(value)) >= _SHORTEST_TERM
    }
    for name, columns in tables.items():
        customer = next((c for c in _CUSTOMER_COLUMNS if c in columns), None)
        if customer and "transaction_id" in columns:
            rows = connection.execute(
                sql.SQL("select transaction_id from {} where {}::text = %s").format(
                    sql.Identifier(*name), sql.Identifier(customer)
                ),
                [person.customer_id],
            ).fetchall()
            person.transactions |= {str(row[0]) for row in rows}


def _remove_landed(
    connection: psycopg.Connection, key: SuppressionKey, person: Person
) -> list[Removed]:
    return [
        Removed(
            f"{landing.namespace}.{stream.name}",
            "rows",
            remove_landed(connection, key.digest, landing.namespace, stream, [person.customer_id]),
        )
        for landing in load_folder().connections.values()
        for stream in landing.streams
    ]


def _remove_rejected(
    connection: psycopg.Connection, key: SuppressionKey, person: Person
) -> list[Removed]:
    """Delete what was kept aside of a person: by id, e-mail address, transaction, or mention."""
    rows = connection.execute(
        "delete from quality.rejected_records where "
        "exists (select from jsonb_path_query(record, '$.**.user_id') as v "
        "where v #>> '{}' = %(id)s) or exists "
        "(select from jsonb_path_query(record, '$.**.customer_id') as v "
        "where v #>> '{}' = %(id)s) or record ->> 'email' = any(%(details)s) "
        "or record ->> 'transaction_id' = any(%(transactions)s) "
        "returning stream, record",
        {
            "id": person.customer_id,
            "details": list(person.details),
            "transactions": list(person.transactions),
        },
    ).fetchall()
    for landing in load_folder().connections.values():
        for stream in landing.streams:
            # Lines of a record are no records, and a file's bad lines never were served.
            records = [record for name, record in rows if name == stream.name]
            enter_suppressed(connection, key.digest, stream, records)
    lines = _remove_lines_without_columns(connection, person.pattern())
    return [Removed("quality.rejected_records", "rows", len(rows) + lines)]


def _remove_lines_without_columns(connection: psycopg.Connection, pattern: re.Pattern[str]) -> int:
    """Delete the bad lines of a file that are kept as text and mention the person."""
    lines = connection.execute(
        "select record_hash, record ->> %(text)s from quality.rejected_records "
        "where stream = %(stream)s and record ->> %(text)s is not null",
        {"stream": FILE_LINES, "text": FILE_LINES_TEXT},
    ).fetchall()
    done = connection.execute(
        "delete from quality.rejected_records where stream = %s and record_hash = any(%s)",
        [FILE_LINES, [digest for digest, text in lines if pattern.search(text)]],
    )
    return done.rowcount


def _remove_from(
    connection: psycopg.Connection, name: tuple[str, str], columns: Sequence[str], person: Person
) -> list[Removed]:
    customers = [column for column in _CUSTOMER_COLUMNS if column in columns]
    if customers:
        column, values = customers[0], [person.customer_id]
    elif "transaction_id" in columns:
        column, values = "transaction_id", sorted(person.transactions)
    else:
        return []
    done = connection.execute(
        sql.SQL("delete from {} where {}::text = any(%s)").format(
            sql.Identifier(*name), sql.Identifier(column)
        ),
        [values],
    )
    return [Removed(".".join(name), "rows", done.rowcount)]


def _redact_reasons(connection: psycopg.Connection, pattern: re.Pattern[str]) -> list[Removed]:
    """Take mentions out of sentences that people read: reasons of failures and decisions."""
    tables = connection.execute(
        "select table_schema, table_name from information_schema.columns "
        "where column_name = 'reason' and data_type = 'text' "
        "and table_schema in ('quality', 'clv') order by 1, 2"
    ).fetchall()
    removed = []
    for table in tables:
        identifier = sql.Identifier(*table)
        rows = connection.execute(
            sql.SQL("select ctid::text, reason from {} where reason is not null").format(identifier)
        ).fetchall()
        hits = [
            (place, pattern.sub(REDACTED, text)) for place, text in rows if pattern.search(text)
        ]
        for place, text in hits:
            connection.execute(
                sql.SQL("update {} set reason = %s where ctid = %s::tid").format(identifier),
                [text, place],
            )
        removed.append(Removed(".".join(table), "mentions", len(hits)))
    return removed


def _free_space(database: Database, tables: Sequence[str]) -> None:
    """Rewrite the tables, so that the rows leave the files, and sample their statistics anew.

    A table that a build has dropped since an earlier call is passed by: its file is gone.
    """
    for table in tables:
        with _connected(database, autocommit=True, table=table) as connection:
            name = sql.Identifier(*table.split("."))
            found = connection.execute("select to_regclass(%s)", [name.as_string(connection)])
            if found.fetchone() != (None,):
                connection.execute(sql.SQL("vacuum (full, analyze) {}").format(name))


def _dagster(database: Database) -> Database | None:
    """Return Dagster's database beside the warehouse, if there is one."""
    name = f"{database.name}_dagster"
    with database.connect() as connection:
        found = connection.execute("select from pg_database where datname = %s", [name]).fetchone()
    return Database(sibling_url(database.url, name)) if found is not None else None


def _refuse_while_running(dagster: Database) -> None:
    with _connected(dagster) as connection:
        if connection.execute("select to_regclass('runs')").fetchone() == (None,):
            return
        rows = connection.execute(
            "select run_id from runs where status in ('STARTING', 'STARTED', 'CANCELING')"
        ).fetchall()
    if rows:
        raise PipelineError(
            f"the run {rows[0][0]} is at work and could write the person again: wait for its end, "
            "or, where it died, say --while-running"
        )


def _redact_dagster(
    dagster: Database, pattern: re.Pattern[str], *, rewrite_all: bool
) -> list[Removed]:
    """Take mentions out of runs, events and ticks; their structure stays readable for Dagster.

    Args:
        dagster: Dagster's database.
        pattern: What finds mentions.
        rewrite_all: Rewrite tables without a mention too: an earlier call may have taken them out.
    """
    removed, rewrite = [], set()
    with _connected(dagster) as connection:
        columns = connection.execute(
            "select table_name, column_name from information_schema.columns "
            "where table_schema = 'public' and data_type in ('text', 'character varying') "
            "and column_name <> all(%s) order by 1, 2",
            [list(_DAGSTER_IDENTITIES)],
        ).fetchall()
        for table, column in columns:
            count = _redact_column(connection, table, column, pattern)
            if count:
                removed.append(Removed(f"dagster: {table}.{column}", "mentions", count))
            if count or rewrite_all:
                rewrite.add(table)
    _free_space(dagster, sorted(rewrite))
    return removed


def _redact_column(
    connection: psycopg.Connection, table: str, column: str, pattern: re.Pattern[str]
) -> int:
    names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
    count = 0
    with connection.cursor(f"mentions_{table}") as rows:
        rows.execute(
            sql.SQL("select ctid::text, {column} from {table} where {column} is not null").format(
                **names
            )
        )
        hits = [(place, text) for place, text in rows if pattern.search(text)]
    for place, text in hits:
        redacted = _redacted(text, pattern, structure=_STRUCTURE)
        if redacted != text:
            count += connection.execute(
                sql.SQL("update {table} set {column} = %s where ctid = %s::tid").format(**names),
                [redacted, place],
            ).rowcount
    return count


def _redacted(text: str, pattern: re.Pattern[str], *, structure: Collection[str] = ()) -> str:
    """Redact words; in a JSON document only the strings, so that numbers stay numbers.

    Args:
        text: A document or plain words.
        pattern: What finds mentions.
        structure: Keys of a document under which no data stands.
    """
    try:
        document = json.loads(text)
    except ValueError:
        return pattern.sub(REDACTED, text)
    changed = _redact_strings(document, pattern, structure)
    return text if changed == document else json.dumps(changed)


def _redact_strings(node: Any, pattern: re.Pattern[str], structure: Collection[str]) -> Any:
    if isinstance(node, str):
        # An image's letters match by chance only.
        return node if ";base64," in node else pattern.sub(REDACTED, node)
    if isinstance(node, list):
        return [_redact_strings(each, pattern, structure) for each in node]
    if isinstance(node, dict):
        return {
            name: value if name in structure else _redact_strings(value, pattern, structure)
            for name, value in node.items()
        }
    return node


def _redact_files(home: Path, pattern: re.Pattern[str]) -> list[Removed]:
    """Take mentions out of logs and artifacts, in place: a server goes on writing to its log."""
    removed = []
    for path in [*_files(home), *_files(PROJECT_ROOT / "dbt_project" / "logs")]:
        try:
            text = path.read_bytes().decode()
        except (UnicodeDecodeError, OSError):
            continue  # an image, or gone meanwhile
        redacted = _redacted(text, pattern) if pattern.search(text) else text
        if redacted != text:
            with path.open("r+b") as file:
                file.write(redacted.encode())
                file.truncate()
            count = len(pattern.findall(text)) - len(pattern.findall(redacted))
            removed.append(Removed(str(path), "mentions", count))
    return removed


def _files(folder: Path) -> Iterator[Path]:
    skipped = [str(folder / each) for each in _UNSEARCHED]
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if str(Path(place) / name) not in skipped]
        for name in names:
            if str(Path(place) / name) not in skipped:
                yield Path(place) / name


def _written(term: str) -> set[str]:
    """Return the forms that a text takes inside of JSON, and of JSON inside of JSON."""
    forms = {term}
    for ascii_only in (True, False):
        once = json.dumps(term, ensure_ascii=ascii_only)[1:-1]
        forms |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    return forms
