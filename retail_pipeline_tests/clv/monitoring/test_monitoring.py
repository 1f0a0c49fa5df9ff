"""Monitoring: sums of effects, importance of features in use, drift and outcomes as counted."""

from collections.abc import Iterator
from datetime import date
from typing import Self
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    AssetSelection,
    Definitions,
    ExecuteInProcessResult,
    MetadataValue,
    define_asset_job,
)
from hypothesis import given
from hypothesis import strategies as st

from retail_pipeline import generation as state
from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.definitions import build_clv
from retail_pipeline.clv.evaluation.metrics import groups_by_rank
from retail_pipeline.clv.models.base import (
    ValueModel,
    predictions,
)
from retail_pipeline.clv.monitoring import (
    importance,
    reasons,
    stability,
)
from retail_pipeline.clv.monitoring.feature_groups import (
    put_together,
    taken_apart,
)
from retail_pipeline.dagster_support.check_results import NOTHING_YET
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline_tests.clv import world
from retail_pipeline_tests.clv.test_assets import AS_OF, ENTRIES, FEATURES, HORIZON, fill
from retail_pipeline_tests.conftest import fresh_database

TODAY = dataset.population(dataset.prepare_features(FEATURES), AS_OF)


class Formula(ValueModel):
    """A model that is a formula of the features."""

    name = "formula"

    def __init__(self, formula: str) -> None:
        super().__init__(90)
        self.formula = formula

    def fit(self, frame: pd.DataFrame) -> Self:
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        return predictions(frame, frame.eval(self.formula).to_numpy(float), 1.0, 0.5)

    def parameters(self) -> dict:
        return {}

    def restore(self, parameters: dict) -> Self:
        return self


def test_customers_taken_apart_are_put_together_again() -> None:
    again = put_together(taken_apart(TODAY))
    numbers = TODAY.select_dtypes("number").columns
    pd.testing.assert_frame_equal(again[numbers], TODAY[numbers], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "formula",
    [
        "purchase_days * mean_purchase_value",
        "mean_purchase_value * purchase_days / (recency_days + age_days)",
        "net_amount_90d + 3 * purchase_days_365d + returns",
    ],
)
def test_effects_add_up_to_the_prediction_less_the_typical_one(formula: str) -> None:
    model = Formula(formula)
    everyone = TODAY.assign(returns=7.0)
    against = reasons.reference(model, everyone)
    moved = reasons.effects(model, everyone, against)
    value = model.predict(everyone)["predicted_value"].to_numpy()
    np.testing.assert_allclose(moved.sum(axis=1), value - against.prediction, atol=1e-6)


def test_effects_of_a_product_are_shapley_values() -> None:
    model = Formula("purchase_days * mean_purchase_value")
    against = reasons.reference(model, TODAY)
    assert [group.name for group in against.groups] == ["frequency", "value per purchase"]
    often, usually = TODAY["purchase_days"].to_numpy(), TODAY["purchase_days"].median()
    much, mostly = TODAY["mean_purchase_value"].to_numpy(), TODAY["mean_purchase_value"].median()
    frequency, unit = reasons.effects(model, TODAY, against).T
    np.testing.assert_allclose(frequency, (often - usually) * (much + mostly) / 2, atol=1e-6)
    np.testing.assert_allclose(unit, (much - mostly) * (often + usually) / 2, atol=1e-6)


def test_reasons_say_in_words_what_moved_a_prediction() -> None:
    model = Formula("10 * purchase_days + 0 * age_days")
    today = TODAY.assign(purchase_days=[5.0, 1.0, *[2.0] * (len(TODAY) - 2)])
    against = reasons.reference(model, today)
    found = reasons.explain(model, today, against, "GBP").set_index("customer_id")
    best, least = today["customer_id"].iloc[0], today["customer_id"].iloc[1]
    reason = "+30 GBP: bought on 5 days in all (typical: 2 days)"
    assert found.loc[best, "explanation"] == reason
    reason = "-10 GBP: bought on 1 day in all (typical: 2 days)"
    assert found.loc[least, "explanation"] == reason
    assert set(found.index) == {best, least}  # no other group has an effect


def test_typical_is_one_value_for_all_customers_of_a_run() -> None:
    model = Formula("900 - 300 * recency_days / age_days")
    today = TODAY.assign(purchase_days=2.0, age_days=[100.0, 400.0, *[200.0] * (len(TODAY) - 2)])
    today["recency_days"] = 0.6 * today["age_days"]
    today.loc[:1, "recency_days"] = [10.0, 100.0]
    against = reasons.reference(model, today)
    found = reasons.explain(model, today, against, "GBP")["explanation"].tolist()
    assert found == [
        "+150 GBP: last bought 10 days ago, 10% of the time as a customer (typical: 60%)",
        "+105 GBP: last bought 100 days ago, 25% of the time as a customer (typical: 60%)",
    ]


@pytest.mark.parametrize(("sign", "explained"), [(-1, [0, 1]), (1, [])])
def test_no_reason_says_that_returns_brought_money(sign: int, explained: list[int]) -> None:
    model = Formula(f"500 + {sign} * 100 * returns_rate + 0 * purchase_days")
    rates = [0.5, 0.0, *[0.1] * (len(TODAY) - 2)]
    today = TODAY.assign(returns_rate=rates)
    found = reasons.explain(model, today, reasons.reference(model, today), "GBP")
    assert found["customer_id"].tolist() == today["customer_id"].iloc[explained].tolist()
    assert not explained or found["explanation"].iloc[0] == (
        "-40 GBP: returned 50% of the value bought (typical: 10%)"
    )


def test_importance_names_what_a_model_reads_and_nothing_else() -> None:
    model = Formula("purchase_days * 50 + 0.01 * recency_days")
    actual = (
        model.predict(TODAY)["predicted_value"].to_numpy()
        * np.tile([0.9, 1.1], len(TODAY) // 2 + 1)[: len(TODAY)]
    )
    table = importance.importance(model, TODAY, actual).set_index("feature_group")
    # Recency is measured as a share of the age, so both have an effect.
    assert set(table.index) == {"frequency", "recency", "lifetime"}
    assert table.loc["frequency", "deviance_increase"] > 10
    assert table["deviance_increase"].drop("frequency").abs().max() < 0.05
    assert table.loc["frequency", "gini_loss"] > 0.3


def test_the_stability_index_is_that_of_the_textbook() -> None:
    reference = np.repeat(np.arange(10.0), 1000)
    same = stability.of_numbers(reference, reference)
    assert same.index == 0
    moved = np.concatenate([reference[reference > 0], np.full(1000, 9.0)])
    found = stability.of_numbers(moved, reference)
    # Half a customer is added to each bin, because (0 - .1) ln(0 / .1) is not finite.
    p, q = np.array([0.5, 2000.5]) / 10005, 1000.5 / 10005
    assert found.index == pytest.approx(float(np.sum((p - q) * np.log(p / q))), rel=1e-9)
    assert found.index >= max(stability.CHANGED, found.chance)
    assert [each["share"] for each in found.bins] == [0.0, *[0.1] * 8, 0.2]


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=60),
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=60),
)
def test_a_stability_index_is_never_negative_and_shares_add_up(now: list, then: list) -> None:
    current, reference = np.array(now, dtype=float), np.array(then, dtype=float)
    found = stability.of_numbers(current, reference)
    assert found.index >= 0 and np.isfinite(found.index)
    for share in ("share", "reference_share"):
        assert sum(float(each[share]) for each in found.bins) == pytest.approx(1, abs=1e-4)


def test_chance_is_distinguished_from_change_in_small_populations() -> None:
    random = np.random.default_rng(5)
    draws = [
        stability.of_numbers(random.lognormal(size=60), random.lognormal(size=60))
        for _ in range(300)
    ]
    below = np.mean([each.index < each.chance for each in draws])
    assert 0.88 <= below <= 0.99
    assert np.mean([each.index >= stability.CHANGED for each in draws]) > 0.3
    changed = [each.index >= max(stability.CHANGED, each.chance) for each in draws]
    assert np.mean(changed) < 0.12


def test_texts_are_compared_by_value_with_bins_for_others_and_for_none() -> None:
    reference = pd.Series(["GB"] * 80 + ["FR"] * 20)
    found = stability.of_texts(pd.Series(["GB"] * 80 + ["DE"] * 10 + [None] * 10), reference)
    assert {each["bin"]: each["share"] for each in found.bins} == {
        "GB": 0.8,
        "FR": 0.0,
        stability.OTHERS: 0.1,
        stability.MISSING: 0.1,
    }


ASSETS = ("prediction_reasons", "feature_importance", "drift", "realised_predictions")
MONITORING_CHECKS = AssetSelection.checks(
    AssetCheckKey(AssetKey(["clv", "drift"]), "predictions_are_stable"),
    AssetCheckKey(AssetKey(["clv", "drift"]), "features_are_stable"),
    AssetCheckKey(AssetKey(["clv", "realised_predictions"]), "what_was_predicted_came"),
)
CHECKS = {"predictions_are_stable", "features_are_stable", "what_was_predicted_came"}


def run(
    database: Database, selection: AssetSelection, as_of: date = AS_OF
) -> ExecuteInProcessResult:
    state.begin(database, source_id="test", as_of=as_of, run_id=str(uuid4()))
    window = RunWindow(horizon_days=HORIZON)
    resources = {"database": database, "settings": Settings(), "run_window": window}
    job = define_asset_job("clv", selection)
    definitions = Definitions.merge(build_clv(), Definitions(jobs=[job], resources=resources))
    return definitions.resolve_job_def("clv").execute_in_process()


def only(*names: str) -> AssetSelection:
    return AssetSelection.assets(*(f"clv/{name}" for name in names))


@pytest.fixture(scope="module")
def served(server_url: str, migrated_template: str) -> Iterator[Database]:
    """A database after one run of all of customer value."""
    with fresh_database(server_url, migrated_template) as database:
        fill(database, ENTRIES, FEATURES)
        database.execute("create table warehouse.revenue_daily as select 'GBP' as currency")
        run(database, AssetSelection.groups("clv") - only("backtest", "purchase_tracking"))
        yield database


def metadata(result: ExecuteInProcessResult, name: str) -> dict[str, MetadataValue]:
    for event in result.get_asset_materialization_events():
        if event.asset_key == AssetKey(["clv", name]):
            return dict(event.materialization.metadata)
    raise AssertionError(name)


def test_a_run_explains_weighs_and_compares(served: Database) -> None:
    stored = served.read("clv.prediction_reasons", where="true order by customer_id, reason_rank")
    assert stored.groupby("customer_id").size().between(1, reasons.MOST_REASONS).all()
    assert stored["explanation"].str.contains(" GBP: ").all()
    sizes = stored["effect"].abs().groupby(stored["customer_id"])
    assert (sizes.diff().dropna() <= 1e-9).all()

    weight = served.read("clv.feature_importance", where="true order by deviance_increase desc")
    assert weight["cutoff_date"].max() == pd.Timestamp("2020-12-01")
    assert weight["deviance_increase"].iloc[0] > 0

    moved = served.read("clv.drift")
    assert set(moved["reference"]) == {"training", "previous"}
    assert {"predicted_value", "recency_days", "country"} <= set(moved["quantity"])
    served.execute("update clv.drift set stability_index = 9 where quantity = 'predicted_value'")
    stable = results(run(served, MONITORING_CHECKS))["predictions_are_stable"]
    assert (stable.passed, stable.description) == (True, NOTHING_YET)  # a first run

    run(served, only(*ASSETS))
    pd.testing.assert_frame_equal(
        served.read("clv.prediction_reasons", where="true order by customer_id, reason_rank"),
        stored,
    )


@pytest.mark.parametrize("name", ["feature_importance", "realised_predictions"])
def test_rows_of_before_stay_where_new_ones_cannot_be_written(served: Database, name: str) -> None:
    table = f"clv.{name}"
    before = served.read(table)
    served.execute(f"alter table {table} add constraint refused check (false) not valid")
    with pytest.raises(Exception, match="violates check constraint"):
        run(served, only(name))
    served.execute(f"alter table {table} drop constraint refused")
    assert len(before)
    pd.testing.assert_frame_equal(served.read(table), before)


def test_where_nothing_has_come_due_rows_of_before_go(
    database: Database,
) -> None:
    first = date(2020, 4, 1)
    fill(database, ENTRIES, world.features(ENTRIES, [first]))
    database.execute("create table warehouse.revenue_daily as select null::text as currency")
    run(
        database,
        AssetSelection.groups("clv") - only("backtest", "purchase_tracking", *ASSETS),
        first,
    )
    database.execute(
        "insert into clv.feature_importance values "
        f"('{first}', {HORIZON}, 'recency', 'mean', '2020-01-01', 70, 3, 0.4, 0.01, 0.2)"
    )
    database.execute(
        "insert into clv.realised_predictions values "
        f"('2019-01-01', {HORIZON}, 'backtest', 1, 'mean', 2, 15, 10, 1, 1.5, 1, '{first}')"
    )
    result = run(database, only(*ASSETS), first)
    for name in ("feature_importance", "drift", "realised_predictions"):
        assert metadata(result, name)["dagster/row_count"].value == 0
        assert database.read(f"clv.{name}").empty


def test_the_backtest_of_the_served_model_is_judged_by_decile(served: Database) -> None:
    name = served.read("clv.predictions")["model_name"].iloc[0]
    day = "2020-12-01"
    realised = served.read(
        "clv.realised_predictions", where=f"as_of_date = '{day}' order by clv_decile"
    )
    past = served.read(
        "clv.backtest_predictions",
        where="cutoff_date = %s and model_name = %s",
        params=[day, name],
    )
    deciles = groups_by_rank(past["predicted_value"].to_numpy())
    sums = past.groupby(deciles)[["actual_value", "predicted_value"]].sum()
    np.testing.assert_allclose(realised["realised_value"], sums["actual_value"])
    np.testing.assert_allclose(realised["predicted_value"], sums["predicted_value"])
    assert realised["origin"].unique().tolist() == ["backtest"]


def test_served_predictions_are_judged_when_due_and_once_more(served: Database) -> None:
    predicted = served.read("clv.predictions", where="true order by customer_id")
    due, between, later = date(2021, 5, 30), date(2021, 6, 10), date(2021, 7, 1)
    entries = dataset.prepare_entries(ENTRIES)
    actual = dataset.outcomes(entries, predicted["customer_id"], AS_OF, HORIZON)["future_value"]
    inside = (predicted["lower_80"] <= actual) & (actual <= predicted["upper_80"])
    for as_of, judged in ((due, due), (between, due), (later, later)):
        run(served, only("realised_predictions"), as_of)
        rows = served.read("clv.realised_predictions", where="origin = 'served'")
        assert set(rows["judged_at_date"]) == {pd.Timestamp(judged)}
        assert rows["realised_value"].sum() == pytest.approx(actual.sum())
        assert rows["predicted_value"].sum() == pytest.approx(predicted["predicted_value"].sum())
        assert rows["inside_80"].sum() == inside.sum()
    check = results(run(served, MONITORING_CHECKS, later))["what_was_predicted_came"]
    assert check.metadata["origin"].value == "served"
    served.execute("delete from clv.realised_predictions where origin = 'served'")
    served.execute("update quality.source_state set as_of = '2021-03-01'")


def results(result: ExecuteInProcessResult) -> dict[str, AssetCheckEvaluation]:
    checks = result.get_asset_check_evaluations()
    return {check.check_name: check for check in checks if check.check_name in CHECKS}


def test_the_checks_see_harm(served: Database) -> None:
    for check, harm in {
        "predictions_are_stable": "update clv.drift set stability_index = 9, "
        "reference = 'previous' where is_prediction",
        "features_are_stable": "update clv.drift set stability_index = 9 "
        "where quantity = 'mean_purchase_value' and reference = 'previous'",
        "what_was_predicted_came": "update clv.realised_predictions set realised_value = 0",
    }.items():
        served.execute(harm)
        seen = results(run(served, MONITORING_CHECKS))
        assert not seen[check].passed and seen[check].severity is AssetCheckSeverity.WARN
        assert ": " in str(seen[check].description)  # what to do
    served.execute("update clv.realised_predictions set predicted_value = 0")
    description = results(run(served, MONITORING_CHECKS))["what_was_predicted_came"].description
    assert description and description.startswith("all predictions of 2020-12-01 are 0")
    for table in ("drift", "realised_predictions"):
        served.execute(f"delete from clv.{table}")
    # As after a first run on a short history.
    quiet = results(run(served, MONITORING_CHECKS)).values()
    assert [(check.passed, check.description) for check in quiet] == [(True, NOTHING_YET)] * 3
