"""The embedded server is shared, starts once, recovers from a crash and is closed to others."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres.server import EmbeddedServer

START = """
import sys
from pathlib import Path
from retail_pipeline.postgres.server import EmbeddedServer
print(EmbeddedServer(Path(sys.argv[1])).start())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "postgres")
    yield server
    server.remove()


def postmaster_pid(server: EmbeddedServer) -> int:
    return int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def test_processes_that_start_it_at_once_share_one_server(server: EmbeddedServer) -> None:
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(server.folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    urls = {start.communicate(timeout=120)[0].strip() for start in starts}
    assert urls == {server.running_url()}


def test_a_killed_server_comes_back_with_every_committed_row(server: EmbeddedServer) -> None:
    with psycopg.connect(server.start()) as connection:
        connection.execute("create table kept as select generate_series(1, 1000) as n")
    os.kill(postmaster_pid(server), signal.SIGKILL)

    with psycopg.connect(server.start()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1000,)


def test_a_new_table_is_written_once(server: EmbeddedServer) -> None:
    url = server.start()
    with psycopg.connect(url) as connection:
        connection.execute("create table new as select generate_series(1, 500000) as n")
    with psycopg.connect(url) as connection:
        before = connection.execute("select pg_current_wal_insert_lsn()").fetchone()
        connection.execute("select count(*) from new")
        logged = connection.execute(
            "select pg_current_wal_insert_lsn() - %s, pg_table_size('new')", before
        ).fetchone()
    assert logged is not None
    assert logged[0] < logged[1] / 10


def test_it_listens_on_loopback_only_and_keeps_its_password_to_the_owner(
    server: EmbeddedServer,
) -> None:
    url = server.start()
    mode = stat.S_IMODE((server.folder / "credentials.json").stat().st_mode)
    assert mode == 0o600
    with psycopg.connect(url) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("127.0.0.1",)
    password = psycopg.conninfo.conninfo_to_dict(url)["password"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(str(password), "wrong"))


def test_stop_is_true_once_and_start_works_again(server: EmbeddedServer) -> None:
    server.start()
    assert server.stop()
    assert not server.stop()
    assert server.start() == server.running_url()


@pytest.mark.parametrize(
    ("kept", "said"),
    [(None, "is missing"), ('{"port": [forgotten]}', "cannot be read"), ("[]", "cannot be read")],
)
def test_a_database_without_its_credentials_is_refused_and_kept(
    server: EmbeddedServer, kept: str | None, said: str
) -> None:
    with psycopg.connect(server.start()) as connection:
        connection.execute("create table kept as select 1 as n")
    server.stop()
    file = server.folder / "credentials.json"
    credentials = file.read_text()
    file.unlink()
    if kept is not None:
        file.write_text(kept)
    for _ in range(2):
        with pytest.raises(PipelineError, match=rf"credentials\.json {said}.*reset"):
            server.start()
    assert server.expected_url()
    assert not server.stop()

    file.write_text(credentials)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("select n from kept").fetchone() == (1,)


def test_a_folder_that_is_no_database_is_refused_and_kept(server: EmbeddedServer) -> None:
    kept = server.folder / "data" / "base" / "1"
    kept.parent.mkdir(parents=True)
    kept.write_text("rows")
    with pytest.raises(PipelineError, match="data is not empty, but PG_VERSION is missing"):
        server.start()
    assert kept.read_text() == "rows"


def test_a_set_up_that_was_killed_is_made_anew(server: EmbeddedServer) -> None:
    (server.folder / "data").mkdir(parents=True)
    (server.folder / "data.draft").mkdir()
    (server.folder / "data.draft" / "PG_VERSION").write_text("18")
    assert server.start() == server.running_url()
    assert not (server.folder / "data.draft").exists()


def test_a_new_server_of_a_folder_has_the_address_of_the_old_one_but_for_the_password(
    server: EmbeddedServer,
) -> None:
    before = psycopg.conninfo.conninfo_to_dict(server.start())
    server.remove()
    after = psycopg.conninfo.conninfo_to_dict(server.start())
    assert before.pop("password") != after.pop("password")
    assert before == after
