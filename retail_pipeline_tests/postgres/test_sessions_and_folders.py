"""Sessions have timeouts, and the server's folder is closed to other accounts."""

import os
import stat
from pathlib import Path

import pytest

from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.server import EmbeddedServer

BOUNDS = ("lock_timeout", "statement_timeout")


@pytest.mark.parametrize("role", [None, Role.LOADER, Role.SCIENTIST, Role.READER])
def test_every_session_has_an_end(database: Database, role: Role | None) -> None:
    ours = database.as_role(role) if role else database
    settings = "select name, setting::bigint as ms from pg_settings where name = any(array{})"
    statement = settings.format(list(BOUNDS))
    with ours.connect() as connection:
        plain = dict(connection.execute(statement).fetchall())
    columns = ours.query(statement)  # ADBC
    for found in (plain, dict(zip(columns["name"], columns["ms"], strict=True))):
        assert 0 < found["lock_timeout"] <= 60_000
        assert 0 < found["statement_timeout"] <= 6 * 3_600_000


def test_the_servers_folder_is_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    server = EmbeddedServer(tmp_path / "postgres")
    try:
        server.start()
        open_to_others = [
            path.name
            for path in (server.folder, server.folder / "data", server.folder / "credentials.json")
            if stat.S_IMODE(path.stat().st_mode) & 0o077
        ]
        assert open_to_others == []
    finally:
        os.umask(before)
        server.remove()
