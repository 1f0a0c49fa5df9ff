"""`forget` asks first and says what it does not reach; a customer can be taken back."""

from datetime import date
from pathlib import Path

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.cli.command import DONE, WRONG_USE, Cli
from retail_pipeline_tests.warehouse.landing import land


def test_forget_removes_only_when_it_may(database: Database, tmp_path: Path) -> None:
    land(database, "users", [{"user_id": "K17", "name": "Ada Quill"}, {"user_id": "K18"}])
    cli = Cli({"RETAIL_HOME": str(tmp_path), "RETAIL_DATABASE_URL": database.url})

    def users() -> list[str]:
        return sorted(database.query("select user_id from transactional.users")["user_id"])

    refused = cli("forget", "K17")
    assert (refused.returncode, users()) == (WRONG_USE, ["K17", "K18"])
    assert "--yes" in refused.stderr

    dry = cli("forget", "K17", "--dry-run")
    assert (dry.returncode, users()) == (DONE, ["K17", "K18"])
    assert "1 rows     transactional.users" in dry.stdout
    assert database.query("select 1 from quality.suppressed_customers").empty

    done = cli("forget", "K17", "--yes")
    assert (done.returncode, users()) == (DONE, ["K18"])
    assert "no data of this customer were found" in cli("forget", "K17", "--yes").stdout


@pytest.fixture
def cli(database: Database, tmp_path: Path) -> Cli:
    return Cli({"RETAIL_HOME": str(tmp_path), "RETAIL_DATABASE_URL": database.url})


def test_an_unknown_id_is_suppressed_only_when_confirmed(database: Database, cli: Cli) -> None:
    refused = cli("forget", "typo")
    assert refused.returncode == WRONG_USE
    assert "No data of typo were found. Suppress them in later syncs?" in refused.stderr
    assert "--yes" in refused.stderr
    assert database.query("select 1 from quality.suppressed_customers").empty
    assert cli("forget", "typo", "--yes").returncode == DONE
    assert len(database.query("select 1 from quality.suppressed_customers")) == 1


def test_the_forgotten_are_listed_by_hash_and_can_be_taken_back(
    database: Database, cli: Cli
) -> None:
    cli("forget", "K17", "--yes")
    listed = cli("forget", "--list").stdout
    [digest] = database.query("select customer_hash from quality.suppressed_customers").iloc[:, 0]
    assert listed.splitlines()[0].split() == [digest[:12], f"{date.today()}"]
    assert "1 forgotten customer;" in listed
    assert cli("forget", "K17", "--undo").returncode == WRONG_USE
    assert cli("forget", "K18", "--undo", "--yes").returncode == WRONG_USE
    back = cli("forget", "--undo", "K17", "--yes")
    assert (back.returncode, "land this customer again" in back.stdout) == (DONE, True)
    assert database.query("select 1 from quality.suppressed_customers").empty
    assert cli("forget").returncode == WRONG_USE


def test_places_that_are_not_reached_are_listed(
    database: Database, cli: Cli, tmp_path: Path
) -> None:
    for statement in (
        "create role forget_stranger",
        "grant forget_stranger to current_user",
        "create schema theirs",
        "grant create on schema theirs to forget_stranger",
        "create table theirs.copies as select 'K17'::text as customer_id",
        "alter table theirs.copies owner to forget_stranger",
    ):
        database.execute(statement)
    (tmp_path / "old.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    try:
        printed = cli("forget", "K17", "--yes", RETAIL_SOURCE="https://shop.example").stdout
    finally:
        database.execute("drop schema theirs cascade")
        database.execute("drop role forget_stranger")
    places = [each.removeprefix("Not reached: ") for each in printed.splitlines() if "Not " in each]
    assert places == [
        "the table theirs.copies, which belongs to forget_stranger",
        "the source https://shop.example, which still has the customer",
        "backups, and files of your own (exports, `evaluate --output`)",
        "the write-ahead log of your PostgreSQL server, which is overwritten in time",
        f"the file {tmp_path}/old.7z, which cannot be searched",
    ]
