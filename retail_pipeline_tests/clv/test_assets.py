"""The assets on a real PostgreSQL: numbers equal to the plain functions, metadata, checks."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSelection,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    define_asset_job,
)

from retail_pipeline import generation as state
from retail_pipeline.clv.data import dataset, sampling, tables
from retail_pipeline.clv.data.assets import training_set
from retail_pipeline.clv.data.sampling import TrainingSample
from retail_pipeline.clv.definitions import build_clv
from retail_pipeline.clv.evaluation import promotion
from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.clv.models import registry
from retail_pipeline.clv.models.baselines import LastWindow
from retail_pipeline.clv.serving import score
from retail_pipeline.clv.serving.valuation import value_customers
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline_tests.clv import world
from retail_pipeline_tests.conftest import fresh_database

AS_OF = date(2021, 3, 1)
HORIZON = 90
ENTRIES = world.entries(customers=150)
FEATURES = world.features(ENTRIES, world.month_starts(AS_OF, months=8))


SERVED = AssetSelection.assets(
    *("clv/training_set", "clv/candidates", "clv/backtest_summary", "clv/model"),
    *("clv/predictions", "clv/totals", "clv/segments", "clv/rfm_segments", "clv/segment_changes"),
)
UNKNOWN_SEASON = {"last_year_was_predicted_well": "WARN"}
"""The history of these tests is too short for a cut-off a year before."""

CHECKS = SERVED - SERVED.without_checks()


def fill(database: Database, entries: pd.DataFrame, features: pd.DataFrame) -> None:
    """Write the marts that customer value reads, as dbt would; no product has a known cost."""
    database.execute(
        "create table if not exists warehouse.fct_transaction_items (customer_id text, "
        "product_id text, quantity numeric, net_amount numeric, is_excluded boolean, "
        "transacted_at timestamptz, recorded_at timestamptz, "
        "date_day date generated always as ((transacted_at at time zone 'UTC')::date) "
        "stored, "
        "known_date date generated always as "
        "((greatest(transacted_at, recorded_at) at time zone 'UTC')::date) stored)"
    )
    database.execute(
        "create table if not exists warehouse.product_costs (product_id text, cost numeric, "
        "known_from date, sold_from date, sold_until date)"
    )
    days = ["as_of_date", "cohort_month", "first_purchase_date", "last_purchase_date"]
    typed = features.assign(
        **{name: features[name].dt.date for name in days},
        channel=pd.array([None] * len(features), "string"),
    )
    database.publish(
        "warehouse.customer_features", typed, ["customer_id", "as_of_date"], create=True
    )
    dated = entries.assign(
        date_day=entries["date_day"].dt.date, known_date=entries["known_date"].dt.date
    )
    database.publish(
        "warehouse.customer_day_entries",
        dated,
        ["customer_id", "date_day", "known_date"],
        create=True,
    )
    frame = dataset.prepare_features(features)
    frame["label"] = np.where(frame["purchase_days"] > 2, "Loyal customers", "Promising")
    now = frame["as_of_date"].max()
    before = frame.loc[frame["as_of_date"] < now, "as_of_date"].max()
    then = frame[frame["as_of_date"] == before].set_index("customer_id")["label"]
    rfm = frame[frame["as_of_date"] == now]
    database.publish(
        "warehouse.customer_rfm",
        rfm[["customer_id", "recency_days"]].assign(
            as_of_date=now.date(),
            rfm_segment=rfm["label"].astype("string"),
            previous_rfm_segment=rfm["customer_id"].map(then).astype("string"),
            previous_as_of_date=(now if pd.isna(before) else before).date(),
        ),
        ["customer_id"],
        replace_where="true",
        create=True,
    )


def run(
    database: Database,
    as_of: date = AS_OF,
    selection: AssetSelection | None = None,
    instance: DagsterInstance | None = None,
    tags: dict[str, str] | None = None,
    settings: Settings | None = None,
    **window: Any,
) -> ExecuteInProcessResult:
    state.begin(database, source_id="test", as_of=as_of, run_id="test")
    job = define_asset_job("clv", SERVED if selection is None else selection)
    resources = {
        "database": database,
        "settings": settings or Settings(),
        "run_window": RunWindow(**{"horizon_days": HORIZON, **window}),
    }
    definitions = Definitions.merge(build_clv(), Definitions(jobs=[job], resources=resources))
    return definitions.resolve_job_def("clv").execute_in_process(
        instance=instance, tags=tags, raise_on_error=False
    )


def materialization(result: ExecuteInProcessResult, name: str) -> AssetMaterialization:
    events = result.get_asset_materialization_events()
    wanted = [e for e in events if e.asset_key == AssetKey(["clv", name]) and e.partition is None]
    return wanted[-1].materialization


def failed_checks(result: ExecuteInProcessResult) -> dict[str, str]:
    checks = result.get_asset_check_evaluations()
    assert len(checks) == 11
    return {check.check_name: str(check.severity.value) for check in checks if not check.passed}


@pytest.fixture(scope="module")
def template(server_url: str, migrated_template: str) -> Iterator[str]:
    """The name of a database after one run."""
    with fresh_database(server_url, migrated_template) as database:
        fill(database, ENTRIES, FEATURES)
        assert run(database).success
        yield database.name


@pytest.fixture
def ran(server_url: str, template: str) -> Iterator[Database]:
    """A copy of a database after one run."""
    with fresh_database(server_url, template) as database:
        yield database


def test_the_assets_equal_the_plain_functions(database: Database) -> None:
    fill(database, ENTRIES, FEATURES)
    instance = DagsterInstance.ephemeral()
    result = run(database, instance=instance)
    expected = value_customers(FEATURES, ENTRIES, AS_OF, HORIZON)

    served = database.read("clv.predictions", where="true order by customer_id")
    pd.testing.assert_frame_equal(
        served[expected.predictions.columns.tolist()],
        expected.predictions,
        check_exact=True,
        check_dtype=False,
    )
    backtest = database.read("clv.backtest_predictions", where="true order by 1, 2, 4")
    pd.testing.assert_frame_equal(
        backtest[expected.backtest.predictions.columns],
        expected.backtest.predictions.sort_values(
            ["model_name", "cutoff_date", "customer_id"], ignore_index=True
        ),
        check_exact=True,
        check_dtype=False,
    )
    decision = database.read("clv.model_decisions").iloc[0]
    assert decision["reason"] == expected.decision.reason
    assert decision["model_version"] == served["model_version"].iloc[0]
    champion = database.read("clv.model_versions", where="status = 'champion'").iloc[0]
    assert champion["model_version"] == decision["model_version"] and champion["validated"]
    assert champion["data_version"] == "test@2021-03-01#1"
    assert database.read("clv.segments")["customers"].sum() == len(served)
    assert len(database.read("clv.training_set")) == len(expected.training_set)

    interpretable = database.query(
        "select model_name, count(coefficient) as coefficients, count(customers) as nodes "
        "from clv.model_terms join clv.model_versions using (model_version, model_name) "
        "group by 1 order by 1"
    )
    assert interpretable["model_name"].tolist() == ["decision_tree", "linear_regression"]
    assert interpretable["nodes"][0] > 2 and interpretable["coefficients"][1] > 20
    metrics = database.read("clv.backtest_metrics")
    assert metrics["brier_score"].between(0, 1).all()
    assert metrics["reliability_gap"].between(0, 1).all()
    dated = metrics["model_name"].str.contains("nbd")
    assert (metrics["next_order_loss_50"].notna() == dated).all()
    for text in metrics.loc[dated, "next_order_pit"]:
        assert sum(json.loads(text)) == pytest.approx(1, abs=1e-5)

    assert failed_checks(result) == UNKNOWN_SEASON
    for name in (
        *("training_set", "candidates", "backtest_summary", "model", "predictions"),
        *("segments", "rfm_segments", "segment_changes"),
    ):
        metadata = materialization(result, name).metadata
        assert metadata["dagster/row_count"].value
        assert metadata["seconds"].value is not None
        columns = metadata["dagster/column_schema"].value.columns
        described = [c for c in columns if name != "training_set" or "future" in c.name]
        assert all(column.description for column in described)
    decided = materialization(result, "model").metadata
    assert "| pareto_nbd_gamma_gamma |" in decided["leaderboard"].value
    served = metrics[metrics["model_name"] == decided["champion"].value]
    for cutoff, bias in zip(served["cutoff_date"], served["bias"], strict=True):
        assert f"| {cutoff:%Y-%m-%d} |" in decided["bias_by_cutoff"].value
        assert str(round(bias, 3)) in decided["bias_by_cutoff"].value
    groups = database.read("clv.totals", where="grouping = 'segment'")
    assert materialization(result, "totals").metadata["segments"].value.count("●") == len(groups)


def test_an_asset_is_a_function_that_a_test_can_call(database: Database) -> None:
    fill(database, ENTRIES, FEATURES)
    state.begin(database, source_id="test", as_of=AS_OF, run_id="test")
    done = training_set(database=database, run_window=RunWindow(horizon_days=HORIZON))
    assert done.metadata["dagster/row_count"] == len(database.read("clv.training_set"))


def test_a_second_run_changes_nothing_and_a_later_date_adds(ran: Database) -> None:
    later = date(2021, 3, 15)
    columns = ["customer_id", "predicted_value", "upper_80", "model_version"]
    first = ran.read("clv.predictions", columns, where="true order by 1")
    run(ran)
    again = ran.read("clv.predictions", columns, where="true order by 1")
    pd.testing.assert_frame_equal(again, first)
    fill(ran, ENTRIES.iloc[:0], world.features(ENTRIES, [later]))
    run(ran, later)
    dates = ran.read("clv.predictions", ["as_of_date"])["as_of_date"]
    assert {day.date() for day in dates} == {AS_OF, later}
    assert (ran.read("clv.model_versions")["status"] == "champion").sum() == 1


def test_an_unchanged_run_tests_no_cutoff_again_and_changed_rows_do(ran: Database) -> None:
    columns = [*METRICS, "fit_seconds"]
    before = ran.read("clv.backtest_metrics", columns, where="true order by 1, 2")
    again = run(ran)
    summary = materialization(again, "backtest_summary").metadata
    cutoffs = ran.read("clv.backtest_metrics", ["cutoff_date"])["cutoff_date"].nunique()
    assert (summary["tested"].value, summary["reused"].value) == (0, cutoffs)
    # Equal seconds show that nothing was fitted again.
    pd.testing.assert_frame_equal(
        ran.read("clv.backtest_metrics", columns, where="true order by 1, 2"), before
    )

    ran.execute(
        "delete from clv.backtest_predictions where cutoff_date = '2020-10-01' "
        "and customer_id = 'c0001'"
    )
    repaired = materialization(run(ran), "backtest_summary").metadata
    assert repaired["tested"].value == 1
    ran.execute(
        "update warehouse.customer_day_entries set net_amount = net_amount + 0.01 "
        "where customer_id = 'c0001'"
    )
    changed = run(ran)
    assert materialization(changed, "backtest_summary").metadata["reused"].value == 0


def test_the_partitions_are_the_cutoffs_and_one_alone_can_be_tested(database: Database) -> None:
    fill(database, ENTRIES, FEATURES)
    instance = DagsterInstance.ephemeral()
    run(database, instance=instance)
    order = "true order by 1, 2"
    before = database.read("clv.backtest_metrics", where=order)
    cutoffs = {day.date().isoformat() for day in before["cutoff_date"]}
    assert set(instance.get_dynamic_partitions("cutoff")) == cutoffs
    assert instance.get_materialized_partitions(AssetKey(["clv", "backtest"])) == cutoffs

    database.execute("update clv.backtest_metrics set mae = -1")
    alone = run(
        database,
        selection=AssetSelection.assets("clv/backtest"),
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": "2020-10-01",
            "dagster/asset_partition_range_end": "2020-11-01",
        },
    )
    assert alone.success
    after = database.read("clv.backtest_metrics", where=order)
    repaired = after["cutoff_date"].isin([pd.Timestamp("2020-10-01"), pd.Timestamp("2020-11-01")])
    assert (after["mae"] == -1).equals(~repaired)
    same = before.columns.difference(["fit_seconds", "mae"])
    pd.testing.assert_frame_equal(after[same], before[same])


def test_a_pin_overrules_the_rule_until_it_is_taken_away(ran: Database) -> None:
    ruled = promotion.load_serving(ran, AS_OF, HORIZON).model_version
    other = registry.candidate_versions(ran, AS_OF, HORIZON)["last_window"]
    assert ruled != other
    follow = AssetSelection.assets("clv/model").downstream() & SERVED

    assert promotion.pin(ran, other, datetime.now(UTC)) == HORIZON
    assert materialization(run(ran, selection=follow), "model").metadata["pinned"].value
    served = ran.read("clv.predictions")["model_version"].unique().tolist()
    champion = ran.read("clv.model_versions", where="status = 'champion'")
    assert served == champion["model_version"].tolist() == [other]
    reason = ran.query("select reason from clv.model_decisions order by decided_at desc")
    assert "pinned since" in reason["reason"][0] and "the rule says" in reason["reason"][0]
    assert promotion.previous_version(ran, HORIZON) == ruled

    assert promotion.unpin(ran) == [HORIZON]
    run(ran, selection=follow)
    assert ran.read("clv.predictions")["model_version"].unique().tolist() == [ruled]
    with pytest.raises(UsageError, match="no model version 'nothing'"):
        promotion.pin(ran, "nothing", datetime.now(UTC))


def test_values_are_discounted_and_margins_need_costs(
    ran: Database,
) -> None:
    discounted = ["discount_rate", "discounted_value", "predicted_margin", "discounted_margin"]
    columns = ["customer_id", "segment", "predicted_value", *discounted, "is_extrapolated"]
    plain = ran.read("clv.predictions", columns, where="true order by customer_id")
    assert plain["discounted_value"].equals(plain["predicted_value"])
    assert plain["predicted_margin"].isna().all() and plain["discounted_margin"].isna().all()
    assert not plain["is_extrapolated"].any() and (plain["discount_rate"] == 0).all()

    ran.execute(
        "insert into warehouse.fct_transaction_items select customer_id, 'cup', 1, net_amount, "
        "false, date_day, known_date from warehouse.customer_day_entries; "
        "insert into warehouse.product_costs values ('cup', 5, '2020-01-01', null, null)"
    )
    assert failed_checks(run(ran, discount_rate=0.1)) == UNKNOWN_SEASON
    worthy = ran.read("clv.predictions", columns, where="true order by customer_id")
    assert worthy["predicted_value"].equals(plain["predicted_value"])
    factor = worthy["discounted_value"] / worthy["predicted_value"]
    assert factor.between(1.1 ** (-HORIZON / 365.25), 1, inclusive="neither").all()
    share = worthy["predicted_margin"] / worthy["predicted_value"]
    assert share.between(0, 1, inclusive="neither").all() and share.max() - share.min() < 1e-12
    assert (worthy["discounted_margin"] / worthy["discounted_value"]).to_numpy() == pytest.approx(
        share.to_numpy()
    )
    stored = ran.read("clv.segments", ["segment", *discounted[1:]]).set_index("segment")
    sums = worthy.groupby("segment")[discounted[1:]].sum()
    pd.testing.assert_frame_equal(stored.sort_index(), sums)
    assert promotion.served_discount_rate(ran, HORIZON) == 0.1

    far = run(ran, horizon_days=730)
    assert far.success and "outcomes_are_complete" in failed_checks(far)
    beyond = ran.query(
        "select bool_and(p.is_extrapolated) as predictions, "
        "bool_and(v.is_extrapolated) as version, bool_or(v.validated) as validated "
        "from clv.predictions as p join clv.model_versions as v using (model_version) "
        "where p.horizon_days = 730"
    ).iloc[0]
    assert beyond["predictions"] and beyond["version"] and not beyond["validated"]
    within = ran.query(
        "select bool_or(is_extrapolated) from clv.model_versions where horizon_days = 90"
    )
    assert not within.iloc[0, 0]


def test_thin_data_warns_and_serves(database: Database) -> None:
    few = ENTRIES[ENTRIES["customer_id"].isin(ENTRIES["customer_id"].unique()[:30])]
    fill(database, few, world.features(few, [date(2020, 4, 1), date(2020, 5, 1)]))
    result = run(database, date(2020, 5, 1))
    assert result.success
    decision = database.read("clv.model_decisions").iloc[0]
    assert not decision["validated"] and "no past cut-off" in decision["reason"]
    assert "linear_regression" in decision["numbers"]
    warned = failed_checks(result)
    assert set(warned.values()) == {"WARN"}
    thin = {"history_carries_the_horizon", "outcomes_are_complete", *UNKNOWN_SEASON}
    assert {"champion_beats_last_window", *thin} <= set(warned)
    totals = database.read("clv.totals", where="\"grouping\" = 'all'").iloc[0]
    assert totals["lower_80"] < totals["predicted_value"] < totals["upper_80"]
    assert totals["customers"] == 30


def test_the_checks_see_harm(ran: Database) -> None:
    harms = {
        "champion_beats_last_window": "update clv.model_decisions set numbers = jsonb_set("
        "numbers, '{leaderboard}', (select jsonb_agg(case when model->>'model_name' = "
        "'last_window' then model || '{\"tweedie_deviance\": 0}' else model end) "
        "from jsonb_array_elements(numbers->'leaderboard') as model))",
        "total_is_near_the_recent_past": "update clv.predictions set predicted_value = 9e9, "
        "upper_80 = 1e10",
        "predictions_are_possible": "update clv.predictions set predicted_value = 'NaN' "
        "where customer_id = 'c0003'",
        "everyone_is_scored": "delete from clv.predictions where customer_id = 'c0001'",
        "intervals_cover_four_in_five": "update clv.backtest_metrics set above_80 = 0.5",
        "intervals_say_something": "update clv.predictions set lower_80 = 0, upper_80 = 1e12",
        "last_year_was_predicted_well": "update clv.totals set predicted_year_ago = 150",
        "outcomes_are_complete": "update clv.training_set set future_value = -1",
        "segments_bring_what_they_say": "update clv.segments set past_mean_value = 0 "
        "where segment like 'high %'",
    }
    checks = CHECKS
    ran.execute(
        "update clv.totals set predicted_year_ago = 100, actual_year_ago = 100, "
        "model_year_ago = regexp_replace(model_version, '-[^-]*$', '')"
    )
    seen: set[str] = set()
    for check, harm in harms.items():
        ran.execute(harm)
        failed = set(failed_checks(run(ran, selection=checks)))
        assert failed - seen == {check}
        seen |= failed


def test_equal_outcomes_are_nothing_to_rank(ran: Database) -> None:
    ran.execute(
        "update clv.model_decisions set numbers = jsonb_set(numbers, '{leaderboard}', "
        "(select jsonb_agg(model || '{\"normalized_gini\": null}') "
        "from jsonb_array_elements(numbers->'leaderboard') as model))"
    )
    checks = run(ran, selection=CHECKS)
    [description] = [
        check.description
        for check in checks.get_asset_check_evaluations()
        if check.check_name == "champion_beats_last_window"
    ]
    assert description == "all outcomes were equal: no ranking of customers can be measured"


def test_parts_on_all_cores_equal_one_part(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, ENTRIES, FEATURES)
    model = LastWindow(HORIZON)
    [(whole, _)] = score.scored_parts(database, model, AS_OF, 0.1)
    everybody = score.labels(database, model, AS_OF)
    [served] = score.score_tables(database, model, AS_OF, 0.1)
    monkeypatch.setattr(sampling, "MOST_CUSTOMERS", 40)
    parts = [part for part, _ in score.scored_parts(database, model, AS_OF, 0.1)]
    sizes = [len(part) for part in parts]
    assert len(sizes) == -(-len(whole) // 40)
    assert max(sizes) - min(sizes) <= 1
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True)
    pd.testing.assert_frame_equal(
        pd.concat(score.score_tables(database, model, AS_OF, 0.1), ignore_index=True),
        served,
        check_exact=True,
    )
    assert (whole["discounted_value"] <= whole["predicted_value"]).all()
    again = score.labels(database, model, AS_OF)
    pd.testing.assert_frame_equal(again, everybody, check_exact=True)
    with pytest.raises(PipelineError, match="no customer has a purchase before 1999-01-01"):
        score.scored_parts(database, model, date(1999, 1, 1), 0.0)


def test_tables_and_frames_hand_models_the_same_customers(database: Database) -> None:
    fill(database, ENTRIES, FEATURES)
    ids = ENTRIES[["customer_id"]].drop_duplicates()
    database.publish("warehouse.dim_customers", ids, ["customer_id"], create=True)
    four = TrainingSample(4)
    features = tables.features(database, [AS_OF], four)
    entries = tables.entries(database, AS_OF, four)
    everything = tables.features(database, [AS_OF], TrainingSample(1))
    pd.testing.assert_frame_equal(features, four.chosen(everything))
    pd.testing.assert_frame_equal(
        entries, four.chosen(tables.entries(database, AS_OF, TrainingSample(1)))
    )
    assert 0 < len(features) < len(everything) / 2


def test_the_purchase_model_is_tracked_from_the_latest_cutoff_on(ran: Database) -> None:
    ran.execute(
        "create table warehouse.customer_days as select customer_id, date_day, "
        "sum(net_amount) > 0 as is_purchase from warehouse.customer_day_entries "
        "where date_day < '2021-03-01' and known_date < '2021-03-01' group by 1, 2"
    )
    assert run(ran, selection=AssetSelection.assets("clv/purchase_tracking")).success
    weeks = ran.read("clv.purchase_tracking", where="true order by week_start")
    days = ran.read("warehouse.customer_days", where="is_purchase")
    first = days.groupby("customer_id")["date_day"].transform("min")
    cutoff = pd.Timestamp("2020-12-01")
    known = days[(first < cutoff) & (days["date_day"] > first)]
    end = weeks["week_start"].max() + pd.Timedelta(days=7)
    assert set(weeks["cutoff_date"]) == {cutoff}
    assert set(weeks["customers"]) == {days.loc[first < cutoff, "customer_id"].nunique()}
    assert weeks["actual_orders"].sum() == (known["date_day"] < end).sum()
    fitted = weeks[weeks["week_start"] < cutoff]
    assert fitted["expected_orders"].sum() == pytest.approx(fitted["actual_orders"].sum(), rel=0.1)
    histories = ran.read("clv.recency_frequency")
    assert histories["probability_alive"].between(0, 1).all() and len(histories) > 50
    for table in ("purchase_tracking", "recency_frequency"):
        ran.execute(f"update clv.{table} set as_of_date = as_of_date - 30")
    assert run(ran, selection=AssetSelection.assets("clv/purchase_tracking")).success
    pd.testing.assert_frame_equal(
        weeks, ran.read("clv.purchase_tracking", where="true order by week_start")
    )
    assert len(ran.read("clv.recency_frequency")) == len(histories), "none of an earlier date"


def test_without_a_repeat_purchase_no_model_is_tracked(database: Database) -> None:
    once = ENTRIES.drop_duplicates("customer_id")
    fill(database, once, world.features(once, world.month_starts(AS_OF, months=8)))
    ran = run(database, selection=SERVED | AssetSelection.assets("clv/purchase_tracking"))
    assert ran.success
    assert database.read("clv.purchase_tracking").empty
    assert database.read("clv.recency_frequency").empty


def test_totals_in_parts_count_each_customer_once(
    ran: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tables.customers_of_part(ran, AS_OF, HORIZON, (None, None))
    monkeypatch.setattr(sampling, "MOST_CUSTOMERS", 40)
    ids = tables.parts(ran, AS_OF)
    parts = [tables.customers_of_part(ran, AS_OF, HORIZON, part) for part in ids]
    assert len(parts) > 1
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    everybody = ran.read("clv.totals", where="grouping = 'all'").iloc[0]
    for name in ("predicted_value", "expected_orders", "actual_before"):
        assert whole[name].sum() == pytest.approx(everybody[name], abs=0.01)
        assert whole[name].sum() > 0
    for name in ("segment", "country", "channel", "cohort_year"):
        groups = ran.read("clv.totals", where=f"grouping = '{name}'")
        assert whole[name].value_counts().to_dict() == dict(
            zip(groups["group_value"], groups["customers"], strict=True)
        )
