"""The assets read real tables, write a file, and show image, date and numbers as metadata."""

import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from subprocess import run
from time import sleep

import numpy as np
import pandas as pd
import pytest
from dagster import AssetKey, DagsterInstance, Failure, materialize

from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.figures import queries
from retail_pipeline.figures.assets import build_figures, figures
from retail_pipeline.figures.queries import Tables
from retail_pipeline.figures.registry import FIGURES, figure
from retail_pipeline.generation import begin
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings

AS_OF = date(2011, 6, 1)
KEY = ["customer_id", "as_of_date", "horizon_days"]
NAMES = {each.name for each in FIGURES}
OF_PAST_OUTCOMES = {
    "predicted_against_actual",
    "gain_curve",
    "residuals",
    "interval_coverage",
    "activity_reliability",
    "bias_by_cutoff",
    "next_order_calibration",
    "model_comparison",
    "model_differences",
}


@pytest.fixture
def served(database: Database) -> Iterator[Database]:
    """The name of a database after a run: 20 customers, one model, no complete outcome yet."""
    begin(database, source_id="test", as_of=AS_OF, run_id="a run")
    database.execute(
        "create table warehouse.revenue_daily (date_day date, sales_amount numeric, "
        "returns_amount numeric, net_amount numeric, orders integer, currency text)"
    )
    database.execute(
        "insert into warehouse.revenue_daily select d, 10, 1, 9, 1, 'GBP' "
        "from generate_series(date '2011-03-01', date '2011-05-31', '1 day') d"
    )
    database.execute(
        "create table warehouse.cohort_retention as select date '2011-03-01' as cohort_month, m "
        "as months_since, 20 as cohort_customers, 20 / (m + 1) as active_customers, "
        "100 as net_amount from generate_series(0, 2) m"
    )
    database.execute(
        "create table warehouse.dim_products as select 'p' as product_id, 'tea' as product_category"
    )
    database.execute(
        "create table warehouse.fct_transaction_items as select 'p' as product_id, "
        "cast(d as date) as date_day, 9::numeric as net_amount, false as is_excluded "
        "from generate_series(timestamptz '2009-06-01', '2011-05-31', '1 day') d"
    )
    add_customers(database)
    database.publish("clv.predictions", predictions(), KEY)
    database.execute(
        "insert into clv.model_versions (model_version, model_name, status, validated, trained_at, "
        "training_rows, data_version, as_of_date, horizon_days) values ('v1', 'last_window', "
        "'champion', true, now(), 20, 'test', '2011-06-01', 30)"
    )
    database.execute(
        "insert into clv.segments select as_of_date, horizon_days, segment, count(*), "
        "sum(predicted_value), 1, 1, avg(predicted_value), .5 "
        "from clv.predictions group by 1, 2, 3"
    )
    database.execute(
        "insert into clv.totals (as_of_date, horizon_days, grouping, group_value, customers, "
        "predicted_value, lower_80, upper_80, expected_orders, expected_buyers, actual_before, "
        "model_version) select '2011-06-01', 30, grouping, name, 20, 190, 150, 240, 20, 10, 9, 'v1'"
        " from (values ('all', 'all'), ('country', 'France')) as t (grouping, name)"
    )
    yield database


def add_customers(database: Database) -> None:
    """Add 20 customers: customer i buys for i on each i-th day from 1 March to 31 May 2011."""
    database.execute(
        "create table warehouse.customer_day_entries as select 'c' || i as customer_id, "
        "cast(d as date) as date_day, cast(d as date) as known_date, cast(i as numeric) "
        "as net_amount from generate_series(0, 19) i cross join "
        "generate_series(date '2011-03-01', date '2011-05-31', '1 day') d "
        "where extract(doy from d)::integer % (i + 1) = 0"
    )
    database.execute(
        "create table warehouse.customer_days as select customer_id, date_day, net_amount, "
        "net_amount > 0 as is_purchase from warehouse.customer_day_entries"
    )
    database.execute(
        "create table warehouse.fct_transactions as select customer_id || date_day as "
        "transaction_id, 'sale' as transaction_type, net_amount + 1 as net_amount, "
        "1::numeric as excluded_net_amount, false as is_excluded from warehouse.customer_days"
    )
    database.execute(
        "create table warehouse.customer_rfm as select customer_id, "
        "date '2011-06-01' - max(date_day) as recency_days, count(*) as frequency, "
        "sum(net_amount) as monetary, 3 as r_score, case when count(*) > 9 then 5 else 1 end as "
        "f_score, case when count(*) > 9 then 'Loyal customers' else 'About to sleep' end as "
        "rfm_segment from warehouse.customer_days group by customer_id"
    )


def predictions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(20)],
            "as_of_date": AS_OF,
            "horizon_days": 30,
            "predicted_value": np.arange(20.0),
            "lower_80": 0.0,
            "upper_80": 100.0,
            "expected_orders": 1.0,
            "probability_active": 0.5,
            "clv_decile": 1,
            "segment": "high value, active",
            "model_name": "last_window",
            "model_version": "v1",
            "predicted_at": pd.Timestamp("2011-06-01", tz="UTC"),
        }
    )


def add_backtest(database: Database, cutoff: date) -> None:
    frame = predictions().rename(columns={"as_of_date": "cutoff_date"})
    frame = frame.assign(cutoff_date=cutoff, actual_value=np.arange(20.0))
    columns = ["model_name", "cutoff_date", "horizon_days", "customer_id", "predicted_value"]
    columns += ["lower_80", "upper_80", "expected_orders", "probability_active", "actual_value"]
    database.publish("clv.backtest_predictions", frame[columns], columns[:4])
    metrics = pd.DataFrame(
        {
            "model_name": ["last_window", "mean"],
            "cutoff_date": cutoff,
            "horizon_days": 30,
            "customers": 20,
            "mae_over_mean": [0.7, 1.2],
            "normalized_gini": [0.8, None],
            "tweedie_deviance": [2.0, 9.0],
            "bias": [1.0, 1.1],
            "next_order_pit": [[0.2, 0.0] * 5, None],
            "as_of_date": AS_OF,
        }
    )
    database.publish("clv.backtest_metrics", metrics, ["model_name", "cutoff_date", "horizon_days"])


def draw(
    database: Database, home: Path, horizon_days: int = 30, names: Collection[str] = NAMES
) -> dict[str, dict]:
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            [figures],
            selection=[AssetKey(["figures", name]) for name in names],
            instance=instance,
            resources={
                "database": database,
                "settings": Settings(home=home),
                "run_window": RunWindow(horizon_days=horizon_days),
            },
        )
        return {
            event.asset_key.path[-1]: {
                k: v.value for k, v in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }


def test_every_figure_is_kept_and_shown_even_without_a_past_outcome(
    served: Database, tmp_path: Path
):
    shown = draw(served, tmp_path)
    assert set(shown) == NAMES
    for name, metadata in shown.items():
        path = tmp_path / "figures" / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        assert metadata["path"] == str(path)
        assert metadata["figure"].startswith("![")
        assert metadata["as_of_date"] == "2011-06-01"
        assert metadata["source"].count(".") >= 1
        assert (metadata["rows_drawn"] == 0) == ("drawn" in metadata)
    assert shown["revenue_over_time"]["net_revenue"] == 92 * 9
    assert shown["segments"]["predicted_value"] == 190.0
    assert shown["total_with_range"]["upper_80"] == 240.0
    assert shown["value_by_group"]["top_group"] == "France"
    for name in OF_PAST_OUTCOMES - {"next_order_calibration"}:
        assert "No past prediction" in shown[name]["drawn"]
    assert "No predicted date" in shown["next_order_calibration"]["drawn"]
    assert "No served prediction" in shown["realised_against_predicted"]["drawn"]
    assert "no earlier month" in shown["segment_movement"]["drawn"]


def test_the_backtest_of_the_served_model_over_the_runs_cutoffs_is_drawn(
    served: Database, tmp_path: Path
):
    for cutoff in (date(2010, 5, 1), date(2010, 6, 1), date(2011, 5, 1), date(2011, 5, 3)):
        add_backtest(served, cutoff)  # the first is too old, the last has no complete outcome
    shown = draw(served, tmp_path, names=OF_PAST_OUTCOMES)
    assert shown["predicted_against_actual"]["model_name"] == "last_window"
    assert shown["predicted_against_actual"]["customer_outcomes"] == 40
    assert shown["model_comparison"]["cutoffs"] == 2
    assert shown["model_comparison"]["validated"] == "yes"
    assert shown["model_comparison"]["best_by_deviance"] == "last_window"
    assert shown["gain_curve"]["cutoffs"] == 2
    assert shown["next_order_calibration"]["share_in_earlier_half"] == pytest.approx(0.6)
    assert shown["bias_by_cutoff"]["mean_bias"] == 1.0
    assert all("drawn" not in shown[name] for name in OF_PAST_OUTCOMES)


def test_counts_and_sums_are_those_of_the_rows(served: Database):
    tables = Tables(served, AS_OF, 30)
    days = served.read("warehouse.customer_days")
    buys = days[days["is_purchase"]].sort_values(["customer_id", "date_day"])
    gaps = buys.groupby("customer_id")["date_day"].diff().dropna().dt.days.value_counts()
    found = tables.purchase_gaps.frame.set_index("gap_days")["gaps"]
    pd.testing.assert_series_equal(
        found.sort_index(), gaps.sort_index(), check_names=False, check_index_type=False
    )
    orders = tables.order_values
    assert orders["amount"].sum() == days["net_amount"].sum()
    assert orders.loc[orders["step"].isna(), "orders"].sum() == (days["net_amount"] == 0).sum()
    assert (
        orders.loc[orders["step"] == 100, "amount"].sum()
        == days.loc[days["net_amount"] == 10, "net_amount"].sum()
    )
    groups = tables.revenue_concentration
    sums = groups.groupby("kind")[["customers", "value"]].sum()
    assert sums.loc["past"].tolist() == [20, days["net_amount"].sum()]
    assert sums.loc["predicted"].tolist() == [20, 190]
    cells = tables.rfm_map
    assert cells["customers"].sum() == 20
    assert cells["monetary"].sum() == days["net_amount"].sum()
    assert tables.purchase_gaps.customers == 20
    assert tables.purchase_gaps.single == (days.groupby("customer_id").size() == 1).sum()


def test_realised_values_of_complete_horizons_are_summed_over_deciles(
    served: Database,
):
    served.execute(
        "insert into clv.realised_predictions select d, 30, 'served', decile, 'last_window', 2, "
        "10 * decile, 8 * decile, 1, 1.5, 1, '2011-06-01' "
        "from generate_series(1, 10) decile, (values (date '2011-04-01'), ('2011-05-03')) as t (d)"
    )
    found = Tables(served, AS_OF, 30).realised_against_predicted.frame
    assert found["as_of_date"].tolist() == [pd.Timestamp("2011-04-01")]
    columns = ["customers", "predicted_value", "actual_value", "inside"]
    assert found[columns].iloc[0].tolist() == [20, 550, 440, 10]


def test_drift_and_importance_are_those_of_the_run(served: Database, tmp_path: Path):
    served.execute(
        "insert into clv.drift select d, 30, 'training', 'orders', false, date '2011-04-01', 20, "
        "20, .3, .1, 1, 2, '[]' from (values (date '2011-06-01'), ('2011-05-01')) as t (d)"
    )
    served.execute(
        "insert into clv.feature_importance select d, 30, 'recency', 'last_window', "
        "date '2011-04-01', 20, 5, .3, .1, .1 "
        "from (values (date '2011-06-01'), ('2011-05-01')) as t (d)"
    )
    shown = draw(served, tmp_path, names={"drift", "feature_importance"})
    assert shown["drift"]["rows_drawn"] == 1
    later = Tables(served, date(2011, 6, 2), 30).feature_importance
    assert later["feature_group"].tolist() == ["recency"], "as measured last"
    assert later["as_of_date"].tolist() == [pd.Timestamp(AS_OF)], "not the date of the run"
    assert Tables(served, date(2011, 4, 1), 30).feature_importance.empty
    assert shown["drift"]["largest_index"] == 0.3
    assert shown["feature_importance"]["most_important"] == "recency"


def test_terms_are_read_by_date_with_the_reason_of_an_abstention(served: Database):
    served.execute(
        "insert into clv.model_versions (model_version, model_name, status, trained_at, "
        "training_rows, data_version, as_of_date, horizon_days) select 'l' || n, "
        "'linear_regression', 'challenger', now() + n * interval '1 hour', 20, 'test', "
        "'2011-06-01', 30 from generate_series(1, 2) n"
    )
    served.execute(
        "insert into clv.model_terms (model_version, term_number, model_name, feature, coefficient)"
        " select 'l' || n, n, 'linear_regression', 'orders', n from generate_series(1, 2) n"
    )
    served.execute(
        "insert into clv.abstentions values ('decision_tree', '2011-06-01', 30, 'too few rows')"
    )
    for day in (AS_OF, date(2011, 6, 2)):  # no model was fitted at the second
        fit = Tables(served, day, 30).coefficients
        assert fit.terms["coefficient"].tolist() == [2.0], "of the version trained last"
        assert (fit.abstention, fit.as_of) == (None, AS_OF)
        fit = Tables(served, day, 30).decision_tree
        assert fit.terms.empty
        assert (fit.abstention, fit.as_of) == ("too few rows", AS_OF)
    before = date(2011, 5, 1)
    assert Tables(served, before, 30).decision_tree.as_of == before


def test_an_earlier_fit_is_shown_under_its_own_date(served: Database):
    served.execute(
        "insert into clv.model_versions (model_version, model_name, status, trained_at, "
        "training_rows, data_version, as_of_date, horizon_days) values "
        "('l', 'linear_regression', 'challenger', now(), 20, 'test', '2011-05-01', 30)"
    )
    served.execute(
        "insert into clv.model_terms (model_version, term_number, model_name, feature, coefficient)"
        " values ('l', 1, 'linear_regression', 'orders', 1)"
    )
    served.execute(
        "insert into clv.abstentions values ('decision_tree', '2011-05-02', 30, 'too few rows')"
    )
    served.execute(
        "insert into clv.feature_importance values "
        "('2011-05-03', 30, 'recency', 'last_window', '2011-04-01', 20, 5, .3, .1, .1)"
    )
    tables = Tables(served, AS_OF, 30)
    for name, day in (("coefficients", 1), ("decision_tree", 2), ("feature_importance", 3)):
        words = " ".join(text.get_text() for text in figure(name).draw(tables).figure.texts)
        assert f"as of {day}\u00a0May\u00a02011." in words
        assert "Jun" not in words


def test_beyond_the_limit_a_fixed_sample_of_customers_stands_for_all(
    served: Database, monkeypatch: pytest.MonkeyPatch
):
    for cutoff in (date(2011, 3, 1), date(2011, 4, 1)):
        add_backtest(served, cutoff)
    whole = Tables(served, AS_OF, 30).outcomes
    assert (len(whole.frame), whole.sampled) == (40, 1)
    monkeypatch.setattr(queries, "MOST_OUTCOMES", 20)
    once, again = (Tables(served, AS_OF, 30).outcomes for _ in range(2))
    assert once.sampled == 2
    assert 0 < len(once.frame) < 40
    assert sorted(once.frame["customer_id"]) == sorted(again.frame["customer_id"])
    assert (once.frame.groupby("customer_id").size() == 2).all(), "at all cut-offs, or at none"


def test_a_horizon_that_was_not_predicted_is_an_error_with_its_remedy(
    served: Database, tmp_path: Path
):
    with pytest.raises(Failure, match=r"figures/segments: .* materialize clv/predictions"):
        draw(served, tmp_path, horizon_days=7, names={"segments"})


def test_a_figure_that_fails_is_named_and_the_others_are_kept(served: Database, tmp_path: Path):
    served.execute("drop table warehouse.cohort_retention")
    with pytest.raises(Failure, match=r"^figures/cohort_retention, ") as failed:
        draw(served, tmp_path)
    of_the_table = {"cohort_retention", "cohort_value"}
    named = {key.partition("/")[2] for key in failed.value.metadata["failed_assets"].value}
    assert named == of_the_table
    kept = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert kept == NAMES - of_the_table


@pytest.mark.parametrize("table", ["warehouse.cohort_retention", "quality.source_state"])
def test_a_lost_database_asks_for_a_retry(served: Database, tmp_path: Path, table: str):
    """The session that waits for a locked table of a figure or of the step is ended."""
    end = (
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' "
        f"and query ilike '%{table.partition('.')[2]}%' and datname = current_database()"
    )
    with served.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(f"lock table {table}")
        drawing = pool.submit(draw, served, tmp_path, names={"cohort_retention"})
        while not drawing.done() and served.query(end).empty:
            sleep(0.05)
        other.rollback()
        assert drawing.result().keys() == {"cohort_retention"}


def test_each_figure_has_owner_kind_group_and_description():
    specs = [spec for each in build_figures().assets or [] for spec in each.specs]
    assert {spec.key.path[-1] for spec in specs} == NAMES
    for spec in specs:
        assert spec.key.path[0] == spec.group_name == "figures"
        assert spec.owners == ["team:data-science"]
        assert spec.kinds == {"matplotlib"}
        assert spec.description
        assert list(spec.deps)


def test_each_figure_says_how_to_read_it_as_its_page_in_the_docs_does() -> None:
    docs = Path(__file__).parents[2] / "docs" / "figures.md"
    rows = [line.split(" | ") for line in docs.read_text().splitlines() if line.startswith("| `")]
    documented = {cells[0].strip("| `"): cells[-1].removesuffix(" |") for cells in rows}
    assert documented == {each.name: each.how_to_read for each in FIGURES}
    assert all(documented.values())


def test_loading_the_assets_imports_no_matplotlib():
    code = (
        "import sys; from retail_pipeline.figures.assets import build_figures; build_figures(); "
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'PIL')))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
