"""The files of the dashboards: what they must agree on, among themselves and with the database."""

import re
from pathlib import Path

import pytest
import yaml

from retail_pipeline.bi.applying import validate
from retail_pipeline.bi.bundle import BundleError, load_bundle
from retail_pipeline.bi.reader_login import reader_login
from retail_pipeline.figures.monitoring import CALENDAR
from retail_pipeline.postgres import Database, Role
from retail_pipeline_tests.bi.small_bundle import FILES, make_table, write


def test_ids_stay_the_same() -> None:
    """Another id would be another chart: what people linked to would be gone."""
    ids = {path: each.uuid for path, each in load_bundle().charts.items()}
    assert ids["business/net_revenue_by_month"] == "0b2e9b95-af11-5102-889c-0044d2e95747"
    assert len(set(ids.values())) == len(ids)


def test_each_object_is_rendered_with_what_the_importer_joins(tmp_path: Path) -> None:
    bundle = load_bundle(write(tmp_path))
    texts = bundle.rendered("postgresql+psycopg2://who:XXXXXXXXXX@host/db", "GBP")
    rendered = {path: yaml.safe_load(text) for path, text in texts.items()}
    dataset, dashboard = rendered["datasets/days.yaml"], rendered["dashboards/shop.yaml"]
    assert rendered["charts/total.yaml"]["dataset_uuid"] == dataset["uuid"]
    assert dataset["database_uuid"] == rendered["databases/warehouse.yaml"]["uuid"]
    assert dataset["metrics"][0]["currency"]["symbol"] == "GBP"
    charts = [each for each in dashboard["position"].values() if "CHART" in str(each)[:20]]
    assert {each["meta"]["uuid"] for each in charts} == {
        rendered[f"charts/{name}.yaml"]["uuid"] for name in ("total", "by_country")
    }
    filters = dashboard["metadata"]["native_filter_configuration"]
    assert filters[0]["targets"][0]["datasetUuid"] == dataset["uuid"]


def test_a_filter_leaves_out_charts_without_its_column(tmp_path: Path) -> None:
    months = """
schema: warehouse
table_name: months
columns: [{column_name: month}]
metrics: [{metric_name: revenue, expression: sum(net_amount)}]
"""
    total = FILES["charts/total.yaml"].replace("dataset: days", "dataset: months")
    board = FILES["dashboards/shop.yaml"].replace("filters:", "filters:\n  - {name: Period}")
    changes = {"datasets__months": months, "charts__total": total, "dashboards__shop": board}
    bundle = load_bundle(write(tmp_path, **changes))
    rendered = yaml.safe_load(bundle.rendered("postgresql://h/d")["dashboards/shop.yaml"])
    for each in rendered["metadata"]["native_filter_configuration"]:  # by time and by country
        assert each["scope"]["excluded"] == [1]  # the first chart of the layout, `total`


@pytest.mark.parametrize(("word", "d3format"), [("money", ",.0f"), ("money.2", ",.2f")])
def test_money_has_the_decimals_that_its_format_names(
    tmp_path: Path, word: str, d3format: str
) -> None:
    days = FILES["datasets/days.yaml"].replace("d3format: money", f"d3format: {word}")
    rendered = load_bundle(write(tmp_path, datasets__days=days)).rendered("postgresql://h/d", "GBP")
    (metric,) = yaml.safe_load(rendered["datasets/days.yaml"])["metrics"]
    assert (metric["d3format"], metric["currency"]["symbol"]) == (d3format, "GBP")


def test_a_filter_can_begin_with_the_first_value_by_a_metric(tmp_path: Path) -> None:
    country = "column: country, first: revenue, single: true}"
    shop = FILES["dashboards/shop.yaml"].replace("column: country}", country)
    bundle = load_bundle(write(tmp_path, dashboards__shop=shop))
    rendered = yaml.safe_load(bundle.rendered("postgresql://h/d")["dashboards/shop.yaml"])
    found = rendered["metadata"]["native_filter_configuration"][0]
    assert found["requiredFirst"] and found["sortMetric"] == "revenue"
    control = found["controlValues"]
    assert control["defaultToFirstItem"] and control["enableEmptyFilter"]
    assert not control["multiSelect"] and not control["sortAscending"]


def test_drift_on_dashboards_leaves_out_what_the_figure_leaves_out() -> None:
    sql = load_bundle().datasets["drift_now"].asset.content["sql"]
    assert set(re.findall(r"'([a-z]+_[a-z0-9_]+)'", sql)) == CALENDAR


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        ("charts/total", "dataset: days", "dataset: dais", "charts/total.yaml:3: .*data set dais"),
        ("charts/total", "revenue", "revenues", "charts/total.yaml:4: .*no metric revenues"),
        ("charts/total", "metric: revenue", "metric: {label: x}", "total.yaml:4: .*define it in"),
        ("charts/by_country", "[country]", "[land]", "by_country.yaml:4: .*no column land"),
        ("charts/total", "viz_type: big_number_total\n", "", "charts/total.yaml lacks viz_type"),
        ("charts/total", "params: {metric", "params: {{metric", "charts/total.yaml:5: no YAML"),
        ("dashboards/shop", "total: 4", "totals: 4", "shop.yaml:7: there is no chart totals"),
        ("dashboards/shop", "total: 4, ", "", "charts/total.yaml: no dashboard shows"),
        ("dashboards/shop", "column: country", "column: land", "shop.yaml:4: .*no column land"),
        ("dashboards/shop", "country}", "country, first: sale}", "shop.yaml:4: .*no metric sale"),
        ("datasets/days", "columns:", "columns: [", "datasets/days.yaml:4: no YAML"),
    ],
)
def test_a_contradiction_is_named_with_file_and_line(
    tmp_path: Path, path: str, old: str, new: str, words: str
) -> None:
    text = FILES[f"{path}.yaml"]
    assert old in text
    folder = write(tmp_path, **{path.replace("/", "__"): text.replace(old, new)})
    with pytest.raises(BundleError, match=f"(?s)nothing was changed.*{words}"):
        load_bundle(folder)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path, charts__total="a: [", charts__by_country="b: [")
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize("path", ["datasets/days", "dashboards/shop"])
def test_two_files_of_one_object_are_refused(tmp_path: Path, path: str) -> None:
    again = {f"{path.replace('/', '__')}_again": FILES[f"{path}.yaml"]}
    with pytest.raises(BundleError, match=rf"{path}_again.yaml:2: {path}.yaml has the same"):
        load_bundle(write(tmp_path, **again))


def test_a_column_that_dbt_renamed_is_refused(database: Database, tmp_path: Path) -> None:
    make_table(database)
    bundle = load_bundle(write(tmp_path / "files"))
    url = reader_login(database)
    assert validate(bundle, url) == "GBP"
    transformer = database.as_role(Role.TRANSFORMER)
    transformer.execute("alter table warehouse.days rename column country to land")
    with pytest.raises(BundleError, match=r"datasets/days.yaml:5: .*no column country"):
        validate(bundle, url)
    transformer.execute("alter table warehouse.days rename column land to country")
    transformer.execute("alter table warehouse.days rename column net_amount to amount")
    with pytest.raises(BundleError, match=r'days.yaml:7: revenue: column "net_amount" does not'):
        validate(bundle, url)
    transformer.execute("drop table warehouse.days")
    with pytest.raises(BundleError, match=r'relation "warehouse.days" does not exist'):
        validate(bundle, url)


def test_a_table_that_a_reader_may_not_read_is_refused(database: Database, tmp_path: Path) -> None:
    make_table(database)
    users = """
schema: transactional
table_name: users
columns: [{column_name: email}]
"""
    bundle = load_bundle(write(tmp_path / "files", datasets__users=users))
    with pytest.raises(BundleError, match=r"datasets/users.yaml: permission denied"):
        validate(bundle, reader_login(database))


def test_two_currencies_are_shown_as_none(database: Database, tmp_path: Path) -> None:
    make_table(database)
    database.as_role(Role.TRANSFORMER).execute(
        "insert into warehouse.fct_transactions values ('EUR')"
    )
    bundle = load_bundle(write(tmp_path / "files"))
    assert validate(bundle, reader_login(database)) is None
