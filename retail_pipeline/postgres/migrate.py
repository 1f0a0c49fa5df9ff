"""Applying the numbered SQL under `database/`: once each, in order, one process at a time."""

import hashlib
from pathlib import Path

import psycopg

from retail_pipeline.settings import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "database"
_LOCK = 7_203_417


def migrate(connection: psycopg.Connection) -> list[str]:
    """Apply each script that is new or was changed; return their names.

    The scripts are idempotent, so a changed one is simply applied again. All of it is one
    transaction of the caller's.

    Args:
        connection: An open connection of the database's owner, not in autocommit.
    """
    connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute("create schema if not exists quality")
    connection.execute(
        "create table if not exists quality.migrations "
        "(name text primary key, digest text not null, applied_at timestamptz not null)"
    )
    rows = connection.execute("select name, digest from quality.migrations").fetchall()
    done: dict[str, str] = dict(rows)
    applied = []
    for script in sorted(SCRIPTS.glob("[0-9]*.sql")):
        digest = _digest(script)
        if done.get(script.name) == digest:
            continue
        connection.execute(script.read_bytes())
        connection.execute(
            "insert into quality.migrations values (%s, %s, now()) "
            "on conflict (name) do update set digest = excluded.digest, applied_at = now()",
            [script.name, digest],
        )
        applied.append(script.name)
    return applied


def _digest(script: Path) -> str:
    return hashlib.sha256(script.read_bytes()).hexdigest()
