"""The embedded server is shared, starts once, recovers from a crash and is closed to others."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import copy2, which
from subprocess import run
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.account import choose_account, hand_over
from retail_pipeline.postgres.server import EmbeddedServer, binaries
from retail_pipeline_tests.damages import damage

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="root starts it as another account")

START = """
import sys
from pathlib import Path
from shutil import copy2, which
from subprocess import run
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


def test_a_folder_with_characters_of_a_shell_is_a_folder(tmp_path: Path) -> None:
    run = tmp_path / "code-of-the-name-ran"
    name = f"""ä b'c"d$(touch {run.name})`touch {run.name}`$HOME%e#f;g&h\\i(j)|k~l!"""
    server = EmbeddedServer(tmp_path / name)
    try:
        assert server.start() == server.running_url()
        assert server.stop()
    finally:
        server.remove()
    assert list(tmp_path.rglob(run.name)) == []


@pytest.mark.parametrize("way", ["emptied", "rubbish"])
def test_a_damaged_pid_file_is_named_at_once_with_the_remedy(
    server: EmbeddedServer, way: str
) -> None:
    server.start()
    server.stop()
    damage(server.folder / "data" / "postmaster.pid", way)
    started = time.monotonic()
    with pytest.raises(PipelineError, match=r"postmaster\.pid.* delete that file"):
        server.start()
    assert time.monotonic() - started < 30
    (server.folder / "data" / "postmaster.pid").unlink()
    assert server.start()


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


@AS_ROOT
def test_code_in_the_database_cannot_write_files_of_root(server: EmbeddedServer) -> None:
    server.start()
    url = server.superuser_url()
    with TemporaryDirectory(dir="/tmp") as text, psycopg.connect(url) as connection:
        roots, shared = Path(text), Path(text) / "shared"
        shared.mkdir()
        shared.chmod(0o777)
        roots.chmod(0o755)
        connection.execute(f"copy (select 1) to program 'cat > {shared}/file'")
        writer = (shared / "file").stat().st_uid
        with pytest.raises(psycopg.errors.ExternalRoutineException):
            connection.execute(f"copy (select 1) to program 'cat > {roots}/file'")
        assert not (roots / "file").exists()
    assert writer != 0
    status = Path("/proc", str(postmaster_pid(server)), "status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(writer)] * 4
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapBnd"], 16) == 0
    assert fields["Groups"].strip() == ""


@AS_ROOT
@pytest.mark.parametrize(
    ("refused", "is_root"), [(("--mount",), False), (("--mount", "--reuid"), True)]
)
def test_where_a_machine_forbids_namespaces_the_account_is_told_and_the_data_move_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], is_root: bool
) -> None:
    """Root without `refused` options; afterwards the same folder on a machine that has them."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("unshare", "setpriv"):
        tests = "\n".join(f'case " $* " in *" {each} "*) exit 1;; esac' for each in refused)
        (programs / name).write_text(f'#!/bin/sh\n{tests}\nexec {which(name)} "$@"\n')
        (programs / name).chmod(0o755)
    with TemporaryDirectory(dir="/tmp") as home:
        Path(home).chmod(0o711)
        server = EmbeddedServer(Path(home) / "home" / "postgres")
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
            with psycopg.connect(server.start()) as connection:
                connection.execute("create table kept as select 1 as n")
            assert ("as root in a user namespace" in server.account()) is is_root
            assert ((server.folder / "data").stat().st_uid == 0) is is_root
        assert server.stop()
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("select n from kept").fetchone() == (1,)
        assert server.account() in {"the server runs as postgres", "the server runs as nobody"}
        assert 0 not in {each.stat().st_uid for each in (server.folder / "data").rglob("*")}
        assert {each.stat().st_uid for each in server.folder.iterdir() if each.is_file()} == {0}
        server.remove()
        assert not server.folder.exists()


@AS_ROOT
def test_programs_in_a_closed_folder_with_an_odd_name_can_be_run(tmp_path: Path) -> None:
    """Root's clone may lie in `/root`; the copied program runs with no library of the wheel."""
    programs = tmp_path / "it's a $(b) ü" / "site" / "wheel" / "install" / "bin"
    programs.mkdir(parents=True)
    copy2(binaries() / "postgres", programs)
    account = choose_account(tmp_path / "home" / "postgres" / "data", programs)
    assert "--mount" in account.prefix
    command = [*account.prefix, "sh", "-c", 'id -u; exec "$0" --version', programs / "postgres"]
    done = run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == [str(account.owner and account.owner[0]), "postgres"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_the_owner_is_no_superuser(server: EmbeddedServer) -> None:
    with psycopg.connect(server.start()) as connection:
        rights = connection.execute(
            "select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = current_user"
        ).fetchone()
        assert rights == (False, True, True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("copy (select 1) to program 'true'")


def as_of_earlier_version(server: EmbeddedServer) -> str:
    """Make the server's folder as earlier versions did, with a superuser as owner; return its URL.

    Dagster's database is beside the warehouse, and a person has a login.
    """
    port = int(psycopg.conninfo.conninfo_to_dict(server.start())["port"] or 0)
    server.stop()
    shutil.rmtree(server.folder / "data")
    data = server.folder / "data"
    data.mkdir(mode=0o700)
    account = choose_account(data, binaries())
    hand_over(account, data)
    with TemporaryDirectory(dir="/tmp") as folder:
        password = Path(folder) / "password"
        password.write_text("old")
        Path(folder).chmod(0o755)
        arguments = ("-U", "retail", "-A", "scram-sha-256", "--pwfile", str(password))
        done = server._run(account, "initdb", *arguments, "--locale=C", "-EUTF8")
    assert done.returncode == 0, done.stdout
    credentials = {"port": port, "password": "old"}
    (server.folder / "credentials.json").write_text(json.dumps(credentials))
    server._start()
    url = f"postgresql://retail:old@127.0.0.1:{port}/retail"
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        connection.execute("create database retail")
        connection.execute("create database retail_dagster")
    Database(url).migrate()
    for role in Role:
        Database(url).execute(f"drop role {role.value}_retail")
    database = Database(url)
    database.execute("insert into quality.suppressed_customers values ('hash', 'key')")
    database.execute("create role metabase login in role retail_reader")
    with psycopg.connect(url, dbname="retail_dagster") as connection:
        connection.execute("create table runs (id serial primary key, body text)")
        connection.execute("insert into runs (body) values ('kept')")
    return url


@pytest.mark.parametrize("is_running", [True, False])
def test_the_superuser_of_an_earlier_version_becomes_an_ordinary_owner(
    server: EmbeddedServer, is_running: bool
) -> None:
    url = as_of_earlier_version(server)
    if not is_running:
        server.stop()
    server = EmbeddedServer(server.folder)
    assert server.start() == url
    database = Database(url)
    assert database.migrate(repair=True) == []
    assert database.differences().lines() == []
    found = database.query(
        "select rolsuper as s, (select count(*) from quality.suppressed_customers) as n, "
        "(select string_agg(pg_get_userbyid(datdba), ' ') from pg_database "
        "where datname ~ '^retail') as owners from pg_roles where rolname = current_user"
    )
    assert found.to_numpy().tolist() == [[False, 1, "retail retail"]]
    for role in Role:
        assert database.as_role(role).query("select 1 as one")["one"].tolist() == [1]
    database.execute("alter role metabase connection limit 3")
    database.execute("create table quality.later (n int)")
    with psycopg.connect(url, dbname="retail_dagster") as connection:
        connection.execute("insert into runs (body) values ('new')")
        connection.execute("alter table runs add column tags text")
    with psycopg.connect(server.superuser_url()) as connection:
        logins = connection.execute("select rolname from pg_roles where rolsuper").fetchall()
    assert logins == [("postgres",)]


def test_an_interrupted_upgrade_is_repeated(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = as_of_earlier_version(server)
    connect, left = psycopg.connect, 0

    def lost(*arguments: Any, **options: Any) -> psycopg.Connection:
        nonlocal left
        left -= 1
        if left < 0:
            raise ConnectionError
        return connect(*arguments, **options)

    interrupted, done = 0, False
    while not done:
        left = interrupted
        with monkeypatch.context() as patched, suppress(ConnectionError):
            patched.setattr(psycopg, "connect", lost)
            done = EmbeddedServer(server.folder).start() == url
        interrupted += not done
    assert interrupted > 3
    with psycopg.connect(server.superuser_url()) as connection:
        lasting = connection.execute(
            "select rolname from pg_roles where rolcanlogin and rolsuper "
            "and coalesce(rolvaliduntil, 'infinity') > now() + interval '5 minutes'"
        )
        assert lasting.fetchall() == [("postgres",)]
