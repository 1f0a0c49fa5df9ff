"""The models on awkward data: each predicts or abstains by name, and the valuation goes on."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from retail_pipeline.clv.data import dataset
from retail_pipeline.clv.models.base import AbstainError
from retail_pipeline.clv.models.baselines import Mean
from retail_pipeline.clv.models.boosted import BoostedParetoNBD
from retail_pipeline.clv.models.linear import LinearRegression
from retail_pipeline.clv.models.registry import MODELS, content_of, restore
from retail_pipeline.clv.models.terms import terms
from retail_pipeline.clv.models.tree_arrays import (
    Bins,
    Trees,
)
from retail_pipeline.clv.models.trees import (
    DecisionTree,
    RandomForest,
)
from retail_pipeline.clv.serving.valuation import (
    Valuation,
    value_customers,
)
from retail_pipeline.errors import PipelineError
from retail_pipeline_tests.clv import world

AS_OF = date(2021, 3, 1)
HORIZON = 90
NEEDS_NO_PAST = {"mean", "last_window"}


def valued(entries: pd.DataFrame, as_of: date = AS_OF, horizon_days: int = HORIZON) -> Valuation:
    dates = [
        day
        for day in world.month_starts(as_of, months=8)
        if (entries["date_day"] < pd.Timestamp(day)).any()
    ]
    return value_customers(world.features(entries, dates), entries, as_of, horizon_days)


def sound(valuation: Valuation) -> set[str]:
    """Check every model that was fitted; return the names of those that abstained."""
    abstained = set()
    for candidate in valuation.candidates:
        frame = valuation.predictions_of(candidate.model_name)
        if frame is None:
            assert str(candidate.abstention)
            abstained.add(candidate.model_name)
            continue
        numbers = frame.select_dtypes("number")
        assert np.isfinite(numbers).all(axis=None) and (numbers >= 0).all(axis=None)
        assert (frame["lower_80"] <= frame["upper_80"]).all()
        assert (frame["probability_active"] <= 1).all()
    assert valuation.decision.model_name not in abstained
    return abstained


def of_one(amounts: list[float], start: str = "2020-06-01") -> pd.DataFrame:
    days = pd.Timestamp(start) + np.arange(len(amounts)) * world.DAY
    frame = pd.DataFrame({"customer_id": "one", "date_day": days, "net_amount": amounts})
    return frame.assign(known_date=frame["date_day"])


@pytest.fixture(scope="module")
def entries() -> pd.DataFrame:
    return world.entries(customers=150)


def test_one_customer() -> None:
    assert sound(valued(of_one([10.0]))) == set(MODELS) - NEEDS_NO_PAST
    sound(valued(of_one([10.0, 20.0, 5.0])))


def test_a_stored_model_of_other_features_is_refused_and_its_own_predict_the_same(
    entries: pd.DataFrame,
) -> None:
    valuation = valued(entries)
    fitted = [c.model for c in valuation.candidates if c.model is not None]
    with_features = 0
    for model in fitted:
        content = content_of(model, AS_OF)
        assert restore(content).parameters() == content["parameters"]
        names = content["parameters"].get("features")
        if names:
            content["parameters"]["features"] = [*names[1:], names[0]]
            with pytest.raises(PipelineError, match="another release"):
                restore(content)
            with_features += 1
    assert with_features >= 4, [model.name for model in fitted]


def test_nobody_came_back(entries: pd.DataFrame) -> None:
    abstained = sound(valued(entries.drop_duplicates("customer_id")))
    assert {"pareto_nbd_gamma_gamma", "bg_nbd_gamma_gamma", "boosted_pareto_nbd"} <= abstained


@pytest.mark.parametrize(
    ("amounts", "value", "orders"),
    [
        ([[100.0]] * 20, 0.0, 0.0),
        ([[100.0, 50.0, 0.0], [30.0]], 1 / 4 * HORIZON * 60.0, 1 / 4 * HORIZON),
        ([[100.0, 50.0], [30.0, -500.0]], 0.0, 1 / 4 * HORIZON),
    ],
    ids=["nobody came back", "one purchase in four days", "returned more than bought"],
)
def test_without_past_outcomes_the_average_counts_what_followed_a_first_purchase(
    amounts: list[list[float]], value: float, orders: float
) -> None:
    """A first purchase counts in no rate, as every customer has exactly one, at age 0."""
    entries = pd.concat(
        of_one(each, "2021-02-27").assign(customer_id=f"c{number}")
        for number, each in enumerate(amounts)
    )
    frame = dataset.prepare_features(world.features(entries, [AS_OF]))
    labeled = frame.iloc[:0].assign(future_value=0.0, future_orders=0.0)
    model = Mean(HORIZON).fit(dataset.learning_frame(labeled, frame))
    assert (model.value_, model.orders_) == pytest.approx((value, orders))
    assert model.active_ == pytest.approx(1 - np.exp(-orders))


def test_trees_abstain_where_no_buyer_is_left_of_many_rows() -> None:
    rows = 2 * DecisionTree.MOST_ROWS
    frame = pd.DataFrame(
        {"as_of_date": AS_OF, "future_value": np.zeros(rows), "mean_purchase_value": 9.0}
    )
    frame.loc[1, "future_value"] = 9.0  # the fit uses every second row, and not this one
    frame["future_orders"] = np.sign(frame["future_value"])
    for model in (DecisionTree, RandomForest):
        with pytest.raises(AbstainError, match=f"of the {model.MOST_ROWS} past customers"):
            model(HORIZON).fit(frame)


def test_only_returns() -> None:
    with pytest.raises(PipelineError, match="no customer has a purchase"):
        value_customers(
            world.features(of_one([5.0]), [AS_OF]).iloc[:0], of_one([-5.0]), AS_OF, HORIZON
        )


def test_everyone_bought_on_one_day(entries: pd.DataFrame) -> None:
    day = pd.Timestamp("2020-06-01")
    same = entries.drop_duplicates("customer_id").assign(date_day=day, known_date=day)
    assert "pareto_nbd_gamma_gamma" in sound(valued(same))


@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_the_currency_does_not_matter(entries: pd.DataFrame, scale: float) -> None:
    days = entries.assign(net_amount=entries["net_amount"].round(0))
    plain, scaled = (valued(days.assign(net_amount=days["net_amount"] * s)) for s in (1.0, scale))
    assert sound(scaled) == sound(plain)
    for name in ("mean", "pareto_nbd_gamma_gamma"):
        a, b = plain.predictions_of(name), scaled.predictions_of(name)
        assert a is not None and b is not None
        assert b["predicted_value"].sum() / scale == pytest.approx(
            a["predicted_value"].sum(), rel=0.02
        )


def test_ten_thousand_orders_of_one_customer(entries: pd.DataFrame) -> None:
    days = pd.date_range(end="2021-02-28", periods=10_000)
    many = pd.DataFrame({"customer_id": "busy", "date_day": days, "net_amount": 10.0})
    both = pd.concat([entries, many.assign(known_date=days)], ignore_index=True)
    valuation = valued(both)
    sound(valuation)
    pareto = valuation.predictions_of("pareto_nbd_gamma_gamma")
    assert pareto is not None
    busy = pareto.set_index("customer_id").loc["busy"]
    assert busy["expected_orders"] > 80


def test_five_days_of_history(entries: pd.DataFrame) -> None:
    sound(valued(entries, as_of=date(2020, 1, 6), horizon_days=180))


def test_a_horizon_longer_than_the_history(entries: pd.DataFrame) -> None:
    abstained = sound(valued(entries, horizon_days=1095))
    assert {"boosted_pareto_nbd", "random_forest", "linear_regression"} <= abstained


def test_one_huge_wholesaler_moves_nobody_else(entries: pd.DataFrame) -> None:
    huge = of_one([1e7] * 60, "2020-06-01").iloc[::4]
    valuation = valued(pd.concat([entries, huge], ignore_index=True))
    sound(valuation)
    boosted = valuation.predictions_of("boosted_pareto_nbd")
    alone = valued(entries).predictions_of("boosted_pareto_nbd")
    assert boosted is not None and alone is not None
    others = boosted[boosted["customer_id"] != "one"]["predicted_value"]
    assert 0.4 < others.median() / alone["predicted_value"].median() < 2.5


def test_without_product_data(entries: pd.DataFrame) -> None:
    features = world.features(entries, world.month_starts(AS_OF, months=8))
    features["distinct_products"] = np.nan
    sound(value_customers(features, entries, AS_OF, HORIZON))


def test_one_cohort(entries: pd.DataFrame) -> None:
    first = entries.groupby("customer_id")["date_day"].transform("min")
    shifted = entries["date_day"] - (first - world.START)
    sound(valued(entries.assign(date_day=shifted, known_date=shifted)))


def test_the_combination_keeps_the_total_of_the_incumbent(entries: pd.DataFrame) -> None:
    valuation = valued(entries)
    ours, theirs = (
        valuation.predictions_of(name) for name in ("boosted_pareto_nbd", "pareto_nbd_gamma_gamma")
    )
    assert ours is not None and theirs is not None
    assert ours["predicted_value"].sum() == pytest.approx(theirs["predicted_value"].sum())
    assert not np.allclose(ours["predicted_value"], theirs["predicted_value"])
    boosted = next(c.model for c in valuation.candidates if c.model_name == "boosted_pareto_nbd")
    assert isinstance(boosted, BoostedParetoNBD)
    # A row's prediction is its own: the rest of the frame does not matter.
    part = boosted.predict(valuation.population.iloc[:7])["predicted_value"]
    assert part.to_numpy() == pytest.approx(ours["predicted_value"].to_numpy()[:7], rel=1e-12)


def test_the_readable_models_can_be_read_to_their_predictions(entries: pd.DataFrame) -> None:
    valuation = valued(entries)
    models = {c.model_name: c.model for c in valuation.candidates}
    regression, tree = models["linear_regression"], models["decision_tree"]
    assert isinstance(regression, LinearRegression) and isinstance(tree, DecisionTree)
    rows = valuation.population

    scaled = (regression._design(rows).to_numpy() - regression.mean_) / regression.scale_
    said = terms(regression).set_index("feature")["coefficient"]
    root = np.maximum(said["intercept"] + scaled @ said.iloc[1:].to_numpy(), 0.0)
    assert root**2 * regression.value_level_ * regression.unit_ == pytest.approx(
        regression.predict(rows)["predicted_value"].to_numpy()
    )

    nodes = terms(tree).set_index("term_number")
    assert nodes.loc[0, "customers"] == tree.training_rows_ == len(valuation.training_set)
    assert nodes.loc[0, "mean_value"] == pytest.approx(valuation.training_set.future_value.mean())
    children = {(row.parent_number, row.branch): number for number, row in nodes.iterrows()}

    def leaf(row: pd.Series) -> float:
        node = 0
        while nodes.loc[node, "feature"] is not None:
            yes = np.float32(row[nodes.loc[node, "feature"]]) <= nodes.loc[node, "threshold"]
            node = children[node, "yes" if yes else "no"]
        return nodes.loc[node, "mean_value"]

    by_hand = [leaf(row) for _, row in rows.iterrows()]
    assert tree.predict(rows)["predicted_value"].to_numpy() == pytest.approx(np.array(by_hand))
    assert terms(models["mean"]).empty


def test_trees_predict_what_scikit_learn_predicts() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    random = np.random.default_rng(4)
    design = random.normal(size=(800, 4))
    design[random.random(design.shape) < 0.1] = np.nan
    target = random.poisson(np.exp(np.nan_to_num(design[:, 0]))).astype(float)
    coded = Bins.fit(design).code(design)
    model = HistGradientBoostingRegressor(loss="poisson", max_iter=20).fit(coded, target)
    trees = Trees.restore(Trees.of_boosting(model).parameters())
    level = float(np.ravel(model._baseline_prediction)[0])
    assert np.exp(level + trees.sums(coded)) == pytest.approx(model.predict(coded), rel=1e-12)
