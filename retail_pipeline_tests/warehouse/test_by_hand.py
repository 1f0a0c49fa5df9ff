"""dbt's own command line, as analytics engineers use it."""

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from retail_pipeline import generation
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.address import read
from retail_pipeline.warehouse.project import PROJECT_FOLDER, dbt_program
from retail_pipeline.warehouse.run import dbt_build
from retail_pipeline_tests.warehouse.landing import land, line, transaction

AS_OF = date(2024, 4, 15)
Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def dbt(database: Database, tmp_path: Path) -> Dbt:
    """Return a function that runs dbt in the project with the variables of `dbt-env`."""
    generation.begin(database, source_id="test", as_of=AS_OF, run_id="run")
    printed = subprocess.run(
        [sys.executable, "-m", "retail_pipeline.cli", "dbt-env", "--drafts"],
        env={**os.environ, "RETAIL_HOME": str(tmp_path), "RETAIL_DATABASE_URL": database.url},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    variables = dict(
        shlex.split(text)[1].split("=", maxsplit=1) for text in printed.strip().splitlines()
    )
    password = read(database.url).get("password")
    if password:
        assert str(password) not in printed
        assert stat.S_IMODE(Path(variables["PGPASSFILE"]).stat().st_mode) == 0o600
    assert variables["RETAIL_DBT_AS_OF_DATE"] == str(AS_OF)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [dbt_program(), *arguments, "--target-path", str(tmp_path / "target")],
            cwd=PROJECT_FOLDER,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def _schemas(database: Database) -> set[str]:
    rows = database.query("select distinct table_schema as name from information_schema.tables")
    return set(rows["name"])


@pytest.mark.slow
def test_drafts_have_schemas_of_their_own_and_the_live_features_keep_their_dates(
    database: Database, dbt: Dbt
) -> None:
    at = "2024-01-01T10:00:00Z"
    land(database, "transactions", [transaction("T1", "K1", at, [line(2)])])
    dbt_build(database.url, "+customer_features", as_of=AS_OF)
    before = database.read("warehouse.customer_features")

    empty = dbt("build", "--empty", "--target", "dev")
    assert empty.returncode == 0, empty.stdout
    assert {"dev_staging", "dev_intermediate", "dev_warehouse"} <= _schemas(database)

    wrong = dbt("run", "--select", "int_as_of_dates+", "--vars", "{as_of_dates: [2024-03-01]}")
    assert wrong.returncode != 0
    assert "build with --target dev" in wrong.stdout
    assert database.read("warehouse.customer_features").equals(before)

    shown = dbt("show", "--select", "customer_features", "--limit", "1")
    assert "K1" in shown.stdout, shown.stdout


def test_no_mart_has_a_row_of_the_as_of_date_or_later(database: Database, dbt: Dbt) -> None:
    """Records that an API serves too early, or has recorded late, change no mart as of D."""
    late = {"recorded_at": "2024-04-15T00:00:00Z"}
    land(
        database,
        "transactions",
        [
            transaction("T1", "K1", "2024-01-01T10:00:00Z", [line(2)]),
            transaction("T2", "K1", "2024-04-15T00:00:00Z", [line(3)]),
            transaction("T3", "K2", "2024-01-02T10:00:00Z", [line(5)], **late),
        ],
    )
    built = dbt("build", "--exclude-resource-type", "unit_test")
    assert built.returncode == 0, built.stdout
    assert list(database.read("warehouse.fct_transactions")["transaction_id"]) == ["T1"]
    assert database.read("warehouse.dim_dates")["date_day"].max().date() == date(2024, 4, 14)
    assert database.read("warehouse.revenue_daily")["net_amount"].sum() == 2

    # The two checks find rows that a model would let through or lose.
    database.execute("update warehouse.fct_transactions set transacted_at = '2024-05-01'")
    database.execute("update warehouse.fct_transactions set gross_amount = 7, net_amount = 7")
    tested = dbt("test", "--select", "test_type:singular")
    for name in ("nothing_is_of_the_as_of_date_or_later", "gross_less_discount_is_net"):
        assert f"FAIL 1 {name}" in tested.stdout, tested.stdout
