"""Numbers of *Customers* and *Can we trust it?*, against SQL that was written apart from them."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from retail_pipeline.bi.applying import apply_bundle
from retail_pipeline.bi.asking import question
from retail_pipeline.bi.superset import Superset
from retail_pipeline.build import build_definitions
from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database, Role
from retail_pipeline.settings import Settings, SimulatorSource
from retail_pipeline_tests.bi.superset_client import SupersetUser
from retail_pipeline_tests.conftest import fresh_database

HORIZON = 90
DATES = (date(2024, 3, 1), date(2024, 12, 1))

pytestmark = pytest.mark.timeout(1800)

Row = dict[str, Any]


@pytest.fixture(scope="module")
def shop(
    superset: Superset,
    server_url: str,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Database]:
    """A shop of 400 customers, served at two dates, the first of which has come due."""
    with fresh_database(server_url, migrated_template, "whole_shop") as database:
        home = tmp_path_factory.mktemp("shop")
        settings = Settings(home=home, database_url=database.url, source=SimulatorSource(400))
        definitions = build_definitions(settings)
        job = definitions.resolve_job_def("pipeline")
        shown = dg.AssetSelection.all() - dg.AssetSelection.groups("figures")
        keys = shown.resolve(definitions.resolve_asset_graph())
        selection = list(keys & job.asset_layer.executable_asset_keys)
        instance = dg.DagsterInstance.ephemeral()
        for day in DATES:
            window = {"as_of": day.isoformat(), "horizon_days": HORIZON}
            config = {"resources": {"run_window": {"config": window}}}
            done = job.execute_in_process(
                instance=instance, run_config=config, asset_selection=selection
            )
            assert done.success
        yield database


@pytest.fixture(scope="module")
def boards(superset: Superset, shop: Database) -> Iterator["Boards"]:
    apply_bundle(superset, shop)
    with listener(0) as free:
        port = int(free.getsockname()[1])
    superset.start(port)
    yield Boards(SupersetUser(superset, "viewer"))
    superset.stop()


class Boards:
    """The charts of the two dashboards, as the viewer gets them."""

    def __init__(self, viewer: SupersetUser) -> None:
        self.viewer = viewer
        self.charts: dict[str, Row] = {}
        for slug in ("customers", "trust"):
            board = viewer.get(f"/api/v1/dashboard/{slug}").json()["result"]
            for chart in viewer.get(f"/api/v1/dashboard/{slug}/charts").json()["result"]:
                self.charts[chart["slice_name"]] = question(chart["form_data"], board["id"])

    def rows(self, chart: str, **equal: str) -> list[Row]:
        """Return the rows of a chart, under more filters."""
        asked = self.charts[next(each for each in self.charts if each.startswith(chart))]
        (query,) = asked["queries"]
        more = [{"col": name, "op": "==", "val": value} for name, value in equal.items()]
        asked = {**asked, "queries": [{**query, "filters": [*query["filters"], *more]}]}
        answer = self.viewer.send("POST", "/api/v1/chart/data", **asked)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["result"][0]["data"])

    def number(self, chart: str, **equal: str) -> float:
        """Return the only number of a chart."""
        (row,) = self.rows(chart, **equal)
        (value,) = row.values()
        return float(value)


def sql(shop: Database, statement: str) -> list[Row]:
    found = shop.query(statement, {"now": DATES[-1], "then": DATES[0], "horizon": HORIZON})
    return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]


NOW = "from clv.predictions where as_of_date = %(now)s and horizon_days = %(horizon)s"


@pytest.mark.parametrize(
    ("chart", "filters", "statement"),
    [
        ("Predicted total", {}, f"select sum(predicted_value) as n {NOW}"),
        ("Expected to buy", {}, f"select sum(probability_active) as n {NOW}"),
        (
            "Their value",
            {"segment": "high value, active"},
            f"select sum(predicted_value) as n {NOW} and segment = 'high value, active'",
        ),
        (
            "Customers",
            {"country": "United Kingdom"},
            f"select count(*) as n {NOW} and customer_id in (select customer_id "
            "from warehouse.fct_transactions where country = 'United Kingdom')",
        ),
        (
            "Mean value",
            {"cohort": "2023"},
            f"select avg(predicted_value) as n {NOW} and customer_id in ("
            "select customer_id from warehouse.customer_days where is_purchase group by 1 "
            "having extract(year from min(date_day)) = 2023)",
        ),
        (
            "Checks not passed",
            {},
            "select count(*) as n from clv.check_results where outcome not in "
            "('passed', 'not run')",
        ),
        (
            "Money left out",
            {},
            "select coalesce(sum(abs(net_amount)) filter (where is_excluded), 0) "
            "/ sum(abs(net_amount)) as n from warehouse.fct_transaction_items",
        ),
    ],
)
def test_a_number_is_what_the_tables_say(
    boards: Boards, shop: Database, chart: str, filters: dict[str, str], statement: str
) -> None:
    assert boards.number(chart, **filters) == pytest.approx(float(sql(shop, statement)[0]["n"]))


def test_segments_show_their_change_since_the_date_before(boards: Boards, shop: Database) -> None:
    expected = sql(
        shop,
        "select segment, count(*) filter (where as_of_date = %(now)s) as customers, "
        "sum(predicted_value) filter (where as_of_date = %(now)s) as value, "
        "sum(predicted_value) filter (where as_of_date = %(then)s) as before "
        "from clv.predictions where horizon_days = %(horizon)s group by 1 "
        "having bool_or(as_of_date = %(now)s)",
    )
    sizes = {row["segment"]: row for row in boards.rows("Segments: size")}
    changes = {row["segment"]: row for row in boards.rows("Segments: what to do")}
    assert len(expected) > 3 and len(sizes) == len(expected)
    for row in expected:
        shown = sizes[row["segment"]]
        assert shown["customers"] == row["customers"]
        assert shown["predicted_value"] == pytest.approx(float(row["value"]))
        change = changes[row["segment"]]
        assert change["action"].endswith(".")
        if pd.isna(row["before"]):
            assert change["value_change"] is None
        else:
            expected_change = float(row["value"]) / float(row["before"]) - 1
            assert change["value_change"] == pytest.approx(expected_change)


def test_the_late_are_all_of_high_value_who_are_overdue(boards: Boards, shop: Database) -> None:
    expected = sql(
        shop,
        "select p.customer_id, days_overdue, %(now)s::date - max(date_day) as since_last "
        "from clv.predictions as p inner join warehouse.customer_days as c using (customer_id) "
        "where as_of_date = %(now)s and horizon_days = %(horizon)s and is_purchase "
        "and clv_decile >= 9 and days_overdue > 0 group by 1, 2",
    )
    shown = {row["customer_id"]: row for row in boards.rows("Customers of high value")}
    assert expected and shown.keys() == {row["customer_id"] for row in expected}
    for row in expected:
        found = shown[row["customer_id"]]
        assert found["reasons"] and found["days_late"] == row["days_overdue"] < row["since_last"]


def test_past_predictions_are_held_against_what_customers_spent(
    boards: Boards, shop: Database
) -> None:
    (expected,) = sql(
        shop,
        "select sum(predicted_value) as predicted, sum(greatest(spent.amount, 0)) as actual "
        "from clv.predictions left join (select customer_id, sum(net_amount) as amount "
        "from warehouse.customer_days where date_day >= %(then)s "
        "and date_day < %(then)s::date + %(horizon)s::integer group by 1) as spent "
        "using (customer_id) where as_of_date = %(then)s and horizon_days = %(horizon)s",
    )
    (shown,) = boards.rows("Served predictions")
    assert shown["served_on"] == DATES[0].isoformat()
    assert shown["predicted_value"] == pytest.approx(float(expected["predicted"]))
    assert shown["realised_value"] == pytest.approx(float(expected["actual"]))


def test_errors_of_totals_and_coverage_follow_from_the_backtest(
    boards: Boards, shop: Database
) -> None:
    expected = sql(
        shop,
        "select cutoff_date::text as day, sum(predicted_value) / sum(actual_value) - 1 as bias, "
        "avg((actual_value between lower_80 and upper_80)::integer) as coverage "
        "from clv.backtest_predictions where horizon_days = %(horizon)s and model_name = ("
        f"select min(model_name) {NOW}) and cutoff_date + horizon_days <= %(now)s "
        "and cutoff_date > %(now)s::date - %(horizon)s - interval '12 months' group by 1",
    )
    (serves,) = {row["m"] for row in sql(shop, f"select distinct model_name as m {NOW}")}
    for chart, metric in (("Were past totals", "bias"), ("Outcomes inside", "coverage_80")):
        shown = boards.rows(chart, model_name=serves)
        assert len(shown) == len(expected) > 1
        values = sorted(row[metric] for row in shown)
        assert values == pytest.approx(
            sorted(float(r[metric.removesuffix("_80")]) for r in expected)
        )


def test_a_customers_page_says_the_range_in_words(boards: Boards, shop: Database) -> None:
    above = sql(shop, f"select customer_id, predicted_value {NOW} and predicted_value > upper_80")
    within = sql(
        shop, f"select customer_id, lower_80, upper_80 {NOW} and predicted_value <= upper_80"
    )
    assert above and within
    for row, words in ((above[0], "The predicted value lies above"), (within[0], "8 times in 10")):
        facts = boards.rows("The customer in words", chosen_customer=row["customer_id"])
        found = {each["subject"]: each["fact"] for each in facts}
        assert len(facts) == 9 and words in found["Range"]
    assert "lies above" not in found["Range"]


def test_every_chart_answers_and_none_is_cut(boards: Boards) -> None:
    for name, asked in boards.charts.items():
        answer = boards.viewer.send("POST", "/api/v1/chart/data", **asked)
        assert answer.status_code == 200, (name, answer.text)
        assert all(each["rowcount"] for each in answer.json()["result"]) or "empty" in name, name


def test_the_reader_sees_rejected_lines_as_counts_alone(shop: Database) -> None:
    shop.execute(
        "insert into quality.rejected_records (stream, record_hash, record, reason) "
        "values ('users', 'h', '{\"email\": \"x@example.org\"}', 'no id for x@example.org')"
    )
    found = shop.as_role(Role.READER).query("select * from clv.rejected_lines")
    shop.execute("delete from quality.rejected_records where record_hash = 'h'")
    assert found["lines"].tolist() == [1] and "x@example.org" not in found.to_string()
