"""`customer`: one customer on one screen, as text and as JSON, and who is unknown."""

import json

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.cli.command import DONE, FAILED, Cli


@pytest.fixture
def served(database: Database) -> Database:
    """Customers c1 to c3 of 100 to 300; c2 bought three times, c3 has no prediction of a gap."""
    for statement in (
        "create table warehouse.customer_days (customer_id text, date_day date, "
        "net_amount numeric, is_purchase boolean)",
        "insert into warehouse.customer_days values ('c2', '2024-01-05', 50, true), "
        "('c2', '2024-03-05', 40, true), ('c2', '2024-05-05', 30, true), "
        "('c2', '2024-05-09', -20, false), ('c2', '2024-07-01', 999, true), "
        "('c1', '2024-04-01', 10, true), ('returns', '2024-04-01', -10, false)",
        "insert into clv.predictions select 'c' || n, '2024-07-01', 180, 100 * n, 20, 250, 1.5, "
        "0.6, n, 'high value, active', 'best', 'best-1', now() from generate_series(1, 3) n",
        "insert into clv.predictions select 'c2', '2024-06-01', 180, 1, 0, 2, 1, 0.5, 1, 'old', "
        "'best', 'best-0', now() - interval '1 day'",
        "update clv.predictions set value_shape = 1, probability_alive = 0.75, days_overdue = 12, "
        "next_order_median_date = '2024-08-15' where customer_id = 'c2'",
        "update clv.predictions set value_shape = 1, probability_alive = 0.5, days_overdue = -1 "
        "where customer_id = 'c3'",
        "insert into clv.prediction_reasons values "
        "('c2', '2024-07-01', 180, 2, 'frequency', -5, '-5: few purchases [of all]'), "
        "('c2', '2024-07-01', 180, 1, 'recency', 9, '+9: bought lately')",
    ):
        database.execute(statement)
    return database


@pytest.mark.usefixtures("served")
def test_a_customer_is_one_screen(cli: Cli) -> None:
    done = cli("customer", "c2")
    assert done.returncode == DONE, done.stderr
    lines = done.stdout.splitlines()
    for words in (
        "3 days with a purchase, first 2024-01-05, last 2024-05-05; net amount 100,",
        "200 over 180 days, 80 % interval 20 to 250; 1.50 orders",
        "active within the horizon 60%, ever buying again 75%",
        "as likely as not by 2024-08-15; 12 days overdue",
        "2 of 3 customers, decile 2, segment high value, active",
        "best, version best-1",
    ):
        assert words in done.stdout
    assert lines[-2:] == [
        "Reasons        +9: bought lately",
        "               -5: few purchases [of all]",
    ]
    assert "lies above" not in done.stdout


def test_what_is_missing_or_odd_is_said_in_words(cli: Cli, served: Database) -> None:
    above = cli("customer", "c3").stdout
    assert "most such customers buy nothing, few buy much" in above
    assert "not overdue, 1 day left" in above and "reasons are kept for" in above
    older = cli("customer", "c1").stdout
    assert "ever buying again not predicted" in older
    assert "unknown: an earlier version made this prediction" in older
    served.execute("update clv.predictions set value_shape = 1")
    assert "unknown: best does not predict it" in cli("customer", "c1").stdout
    served.execute("update clv.predictions set probability_alive = 0.4")
    once = cli("customer", "c1").stdout
    assert "less likely than not within the horizon; ordered on one day only" in once
    assert "none: no day with a purchase" in cli("customer", "returns").stdout


@pytest.mark.usefixtures("served")
def test_json_has_the_same_numbers(cli: Cli) -> None:
    found = json.loads(cli("customer", "c2", "--json").stdout)
    assert (found["as_of_date"], found["horizon_days"], found["customers"]) == (
        "2024-07-01",
        180,
        3,
    )
    assert found["purchases"] == {
        "first_date": "2024-01-05",
        "last_date": "2024-05-05",
        "purchases": 3,
        "net_amount": 100.0,
    }
    prediction = found["prediction"]
    assert (prediction["rank"], prediction["upper_80"], prediction["days_overdue"]) == (2, 250, 12)
    assert prediction["next_order_median_date"] == "2024-08-15"
    assert [each["feature_group"] for each in found["reasons"]] == ["recency", "frequency"]


def test_an_unknown_customer_fails_with_one_message(cli: Cli, served: Database) -> None:
    unknown = cli("customer", "C2")
    assert unknown.returncode == FAILED and unknown.stdout == ""
    assert unknown.stderr.startswith("error: no customer 'C2' has an order before 2024-07-01")
    served.execute("delete from clv.predictions")
    assert "nothing was predicted yet" in cli("customer", "c2").stderr
