"""The arguments of every process are visible to all accounts, so they contain no secret."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.address import read
from retail_pipeline.postgres.server import binaries
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.cli.command import DONE, WRONG_USE, Cli


@contextmanager
def arguments_of_processes() -> Iterator[set[bytes]]:
    """Yield the arguments of all processes that are seen on this machine during the block."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            for folder in Path("/proc").iterdir():
                with suppress(OSError):  # no process, or one that has ended
                    seen.add((folder / "cmdline").read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs Linux")
def test_no_command_shows_a_password_in_the_process_list(tmp_path: Path) -> None:
    api_key = "key-" * 8
    home = tmp_path / "home"
    cli = Cli({"RETAIL_HOME": str(home), "RETAIL_API_KEY": api_key, "RETAIL_DATABASE_URL": ""})
    dump = f"--file={tmp_path / 'retail.dump'}"
    wait = "select pg_sleep(0.3)"
    with arguments_of_processes() as seen:
        try:
            up = cli.run("up")
            ran = cli.run(
                *("run", "--source", "simulator:?customers=60&seed=1"),
                *("--select", 'kind:"airbyte" or key:"staging/*"'),
            )
            url = cli("db-url", "--without-password").stdout.strip()
            dagster = cli("db-url", "--dagster", "--without-password").stdout.strip()
            done = [
                up,
                ran,
                cli.run("psql", "-c", wait),
                cli.run("psql", "--role=owner", "-c", wait),
            ]
            done += [cli.run("exec", "pg_dump", dump, each) for each in (url, dagster)]
            address = cli("db-url").stdout.strip()
            roles = [Database(address).as_role(role).url for role in Role]
        finally:
            cli("down")
    assert [(each.returncode, each.stderr) for each in done if each.returncode != DONE] == []
    kept = json.loads((home / "postgres" / "credentials.json").read_text())
    passwords = {str(value) for name, value in kept.items() if name != "port"}
    passwords |= {read(each)["password"] for each in (address, *roles)}
    hidden = [each.encode() for word in {*passwords, api_key} for each in (word, quote(word))]
    shown = [line for line in seen if any(word in line for word in hidden)]
    assert shown == []
    for program in ("initdb", "pg_ctl", "psql", "pg_dump"):
        assert any(program.encode() in line for line in seen), program


def test_an_address_without_password_works_for_clients_of_libpq(cli: Cli, tmp_path: Path) -> None:
    addresses = {
        options: cli("db-url", *options).stdout.strip()
        for options in ((), ("--without-password",), ("--role", "reader"), ("--role", "loader"))
    }
    secret = read(addresses.pop(()))["password"]
    for printed in addresses.values():
        assert secret not in printed
        parts = read(printed)
        assert "password" not in parts
        assert Path(parts["passfile"]).stat().st_mode & 0o077 == 0
        bundled = subprocess.run(
            [binaries() / "psql", printed, "-Atc", "select current_user"],
            capture_output=True,
            text=True,
            check=True,
        )
        with Database(printed).connect() as connection:
            assert connection.execute("select current_user").fetchone() == (bundled.stdout.strip(),)
    shown = cli("db-url", "--role", "reader", "--with-password").stdout.strip()
    assert read(shown)["password"]


def test_psql_has_the_rights_of_its_role(cli: Cli) -> None:
    assert cli.run("psql", "-Atc", "select current_user").stdout == "retail_reader\n"
    refused = cli.run("psql", "-c", "select * from transactional.users")
    assert refused.returncode != DONE and "permission denied" in refused.stderr
    assert cli.run("psql", "--role", "owner", "-c", "table transactional.users").returncode == DONE
    assert cli("psql", "--role", "boss").returncode == WRONG_USE


def test_a_backup_is_restored_as_documented_by_an_owner_without_superusers_rights(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    [restore] = re.findall(r"exec pg_restore ((?:--[\w-]+ )+)\\", text)[:1]
    transformer = database.as_role(Role.TRANSFORMER)
    transformer.execute("create table warehouse.kept as select 1 as n")
    url, dump = cli("db-url", "--without-password").stdout.strip(), str(tmp_path / "retail.dump")
    dumped = cli.run("exec", "pg_dump", "--format=custom", f"--file={dump}", url)
    assert dumped.returncode == DONE, dumped.stderr
    transformer.execute("drop table warehouse.kept")
    restored = cli.run("exec", "pg_restore", *restore.split(), f"--dbname={url}", dump)
    assert (restored.returncode, restored.stderr) == (DONE, "")
    assert cli("db", "migrate").returncode == DONE
    assert transformer.query("select n from warehouse.kept")["n"].tolist() == [1]
    transformer.execute("drop table warehouse.kept")  # as its owner
    assert cli("db", "check").returncode == DONE
