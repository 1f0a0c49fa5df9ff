"""`export` and the views: the latest date, the default horizon, ids that no spreadsheet runs."""

import io
from pathlib import Path

import pandas as pd
import pytest

from retail_pipeline.postgres import Database, Role
from retail_pipeline.report.export import for_spreadsheets
from retail_pipeline_tests.cli.command import DONE, FAILED, WRONG_USE, Cli

NAMES = [
    *("customer_id", "predicted_clv", "historic_clv", "predicted_number_of_orders"),
    *("average_order_value", "average_days_between_orders", "churn_probability"),
    *("expected_date_of_next_order", "segment"),
]
IDS = ["007", "=1+1", "'quoted", "only returns"]


@pytest.fixture
def served(database: Database) -> Database:
    """Three predicted customers and one without a prediction; other dates and horizons."""
    for statement in (
        "create table warehouse.dim_customers (customer_id text, country text, cohort_month date, "
        "first_purchase_date date, last_purchase_date date, purchase_days integer, "
        "orders integer, net_amount numeric)",
        "create table warehouse.customer_days (customer_id text, sales_amount numeric)",
        "create table warehouse.customer_rfm (customer_id text, rfm_segment text, "
        "r_score integer, f_score integer, m_score integer)",
        "insert into warehouse.dim_customers select id, 'France', '2024-01-01', '2024-01-01', "
        "'2024-03-01', 3, 4, 100 from unnest(%s::text[]) as id",
        "insert into warehouse.customer_days select id, part from unnest(%s::text[]) as id, "
        "(values (90), (30)) as parts (part)",
        "insert into clv.predictions select id, '2024-07-01', 180, 10 * n, 1, 25, 1.5, 0.6, 1, "
        "'high value, active', 'best', 'best-1', now() "
        "from unnest((%s::text[])[:3]) with ordinality as ids (id, n)",
    ):
        database.execute(statement, [IDS] if "%s" in statement else None)
    for day, horizon, later in (("2024-06-01", 180, 1), ("2024-07-01", 30, 2)):
        database.execute(
            "insert into clv.predictions select customer_id, %s, %s, 999, 1, 2, 1, 0.5, 1, 'old', "
            "'best', 'best-1', predicted_at + interval '1 hour' * %s from clv.predictions "
            "where as_of_date = '2024-07-01' and horizon_days = 180",
            [day, horizon, later],
        )
    database.execute("insert into clv.default_horizon (horizon_days) values (180)")
    database.execute(
        "update clv.predictions set next_order_median_date = '2024-08-15' where customer_id = '007'"
    )
    return database


@pytest.mark.usefixtures("served")
def test_a_csv_has_the_names_of_email_tools_and_no_formula(cli: Cli, tmp_path: Path) -> None:
    printed = cli("export")
    assert printed.returncode == DONE, printed.stderr
    file = tmp_path / "customers.csv"
    done = cli("export", "--output", str(file))
    assert file.read_text() == printed.stdout
    assert "3 customers as of 2024-07-01, over 180 days" in done.stderr
    rows = pd.read_csv(io.StringIO(printed.stdout), dtype={"customer_id": str})
    assert list(rows) == NAMES
    assert list(rows["customer_id"]) == ["''quoted", "'=1+1", "007"]
    last = rows.iloc[-1].to_dict()
    assert last == {
        "customer_id": "007",
        "predicted_clv": 10,
        "historic_clv": 100,
        "predicted_number_of_orders": 1.5,
        "average_order_value": 30,
        "average_days_between_orders": 30,
        "churn_probability": pytest.approx(0.4),
        "expected_date_of_next_order": "2024-08-15",
        "segment": "high value, active",
    }


@pytest.mark.usefixtures("served")
def test_parquet_has_the_ids_verbatim(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "customers"
    assert cli("export", "--output", str(file)).returncode == WRONG_USE
    assert cli("export", "--format", "parquet").returncode == WRONG_USE
    done = cli("export", "--output", str(file), "--format", "parquet")
    assert done.returncode == DONE, done.stderr
    rows = pd.read_parquet(file)
    assert list(rows) == NAMES
    assert set(rows["customer_id"]) == set(IDS[:3])


def test_an_apostrophe_in_front_is_reversible() -> None:
    ids = pd.Series(
        ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "'=1", "''", "\uff1d1", "a=1", "", "0"]
    )
    written = for_spreadsheets(ids)
    assert list(written.str.removeprefix("'")) == list(ids)
    assert not written.str.match(r"[=+\-@\t\r\n\uff1d]").any()
    assert list(written[-3:]) == list(ids[-3:])


def test_nothing_predicted_yet_is_one_sentence(cli: Cli, served: Database) -> None:
    served.execute("delete from clv.predictions")
    done = cli("export")
    assert done.returncode == FAILED
    assert "nothing was predicted yet" in done.stderr


def test_the_reader_sees_every_customer_once(served: Database) -> None:
    reader = served.as_role(Role.READER)
    view = reader.query("select * from clv.customer_360 order by customer_id")
    assert list(view["customer_id"]) == sorted(IDS)
    assert view["predicted_value"].isna().sum() == 1
    assert set(reader.query("select * from clv.current_predictions")["horizon_days"]) == {180}
    served.execute("drop table warehouse.dim_customers cascade")  # as dbt does after each build
    with pytest.raises(Exception, match="dim_customers"):  # until the next build
        reader.query("select * from clv.customer_360")
    served.execute(
        "create table warehouse.dim_customers as select 'A' as customer_id, "
        "null as country, null::date as cohort_month, null::date as first_purchase_date, "
        "null::date as last_purchase_date, 0 as purchase_days, 0 as orders, 0.0 as net_amount"
    )
    served.execute("grant select on warehouse.dim_customers to retail_reader")
    assert list(reader.query("select customer_id from clv.customer_360")["customer_id"]) == ["A"]
