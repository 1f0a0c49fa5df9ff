"""The simulator: statistics, determinism, the prefix law, faulty records, true rates."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ground_truth import GroundTruth
from retail_pipeline.retail_api.records import RetailRecords
from retail_pipeline.retail_api.simulator import DEFAULT_AS_OF, HISTORY_START, Simulation, simulate

STREAMS = ("products", "users", "transactions", "items")


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(customers=20_000, seed=11, until=DEFAULT_AS_OF)


def line_frame(records: RetailRecords) -> pd.DataFrame:
    header = records.transactions
    repeated = header.loc[header.index.repeat(header["line_count"])].reset_index(drop=True)
    return pd.concat([repeated, records.items], axis=1)


def customer_days(records: RetailRecords) -> pd.DataFrame:
    lines = line_frame(records)
    day = lines["transacted_at"].dt.floor("D")
    net = lines["amount"].groupby([lines["user_id"], day]).sum().round(2)
    return net.rename_axis(["customer_id", "day"]).reset_index(name="net")


@pytest.fixture(scope="module")
def purchases(simulation: Simulation) -> pd.DataFrame:
    days = customer_days(simulation.records)
    return days[days["net"] > 0]


def test_purchase_statistics_are_those_of_a_consumer_retailer(purchases: pd.DataFrame) -> None:
    count = purchases.groupby("customer_id").size()
    assert (count > 1).mean() == pytest.approx(0.57, abs=0.02)
    assert count.mean() == pytest.approx(3.9, abs=0.2)
    assert count.median() == 2
    assert count.quantile(0.9) == pytest.approx(10, abs=1)


def test_spending_statistics_are_those_of_a_consumer_retailer(purchases: pd.DataFrame) -> None:
    net, log_net = purchases["net"], np.log(purchases["net"])
    customer = purchases["customer_id"]
    total = net.groupby(customer).sum().sort_values(ascending=False)
    top = [total.head(len(total) * q // 100).sum() / total.sum() for q in (1, 10, 20)]
    assert top == pytest.approx([0.18, 0.55, 0.72], abs=0.03)
    assert net.mean() == pytest.approx(63, abs=4)
    assert net.std() / net.mean() == pytest.approx(1.35, abs=0.25)
    deviation = log_net - log_net.groupby(customer).transform("mean")
    repeats = customer.duplicated(keep=False)
    degrees = repeats.sum() - customer[repeats].nunique()
    assert np.sqrt((deviation[repeats] ** 2).sum() / degrees) == pytest.approx(0.65, abs=0.03)


def test_gaps_between_purchases_are_those_of_a_consumer_retailer(purchases: pd.DataFrame) -> None:
    ordered = purchases.sort_values(["customer_id", "day"])
    gap = ordered.groupby("customer_id")["day"].diff().dt.days
    assert gap.median() == pytest.approx(35, abs=3)
    by_customer = gap.groupby(ordered["customer_id"]).agg(["count", "mean", "std"])
    several = by_customer[by_customer["count"] >= 3]
    assert (several["std"] / several["mean"]).mean() == pytest.approx(0.79, abs=0.03)


def test_the_year_has_its_season(purchases: pd.DataFrame) -> None:
    by_month = purchases[purchases["day"].dt.year == 2024].groupby(purchases["day"].dt.month).size()
    assert by_month.idxmin() == 2
    assert by_month.idxmax() == 11
    assert by_month[11] / by_month[4] == pytest.approx(2.1, abs=0.3)


def test_size_counts_the_customers_at_the_default_date(simulation: Simulation) -> None:
    users = simulation.records.users
    assert len(users) == 20_000
    at_start = (users["recorded_at"] == pd.Timestamp(HISTORY_START)).sum()
    assert at_start == 0.35 * 20_000


def test_the_same_seed_is_the_same_retailer_and_another_is_not() -> None:
    first, same, other = (
        simulate(customers=300, seed=seed, until=DEFAULT_AS_OF).records for seed in (1, 1, 2)
    )
    for name in STREAMS:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(same, name))
    assert not first.transactions.equals(other.transactions)


@given(
    seed=st.integers(0, 10_000),
    customers=st.integers(1, 120),
    first=st.integers(1, 1_100),
    later=st.integers(0, 2_000),
)
@settings(max_examples=10, deadline=None)
def test_a_later_as_of_date_adds_records_and_changes_none(
    seed: int, customers: int, first: int, later: int
) -> None:
    as_of = HISTORY_START + timedelta(days=first)
    now = simulate(customers=customers, seed=seed, until=as_of).records
    much_later = simulate(
        customers=customers, seed=seed, until=as_of + timedelta(days=later)
    ).records
    then = much_later.before(as_of)
    for name in STREAMS:
        pd.testing.assert_frame_equal(getattr(now, name), getattr(then, name))


def test_every_record_is_known_before_the_as_of_date_and_in_order(simulation: Simulation) -> None:
    for name, key in (("products", "product_id"), ("users", "user_id")):
        frame = getattr(simulation.records, name)
        assert (frame["recorded_at"] < pd.Timestamp(DEFAULT_AS_OF)).all()
        assert frame[key].is_unique
        assert frame.sort_values(["updated_at", key]).index.equals(frame.index)
    header = simulation.records.transactions
    assert header["transaction_id"].is_unique
    assert header.sort_values(["updated_at", "transaction_id"]).index.equals(header.index)
    assert (header["updated_at"] == header["recorded_at"]).all()
    assert (header["transacted_at"] <= header["recorded_at"]).all()
    assert header["line_count"].sum() == len(simulation.records.items)


def test_new_customers_arrive_after_the_default_date() -> None:
    users = simulate(customers=1_000, seed=3, until=date(2028, 1, 1)).records.users
    assert len(users) == pytest.approx(1_000 + 3 * 325, rel=0.03)
    assert users["created_at"].max() > pd.Timestamp(2027, 12, 1)


def test_nobody_buys_before_signing_up(simulation: Simulation) -> None:
    users = simulation.records.users.set_index("user_id")["created_at"]
    header = simulation.records.transactions
    assert (header["transacted_at"].to_numpy() >= users[header["user_id"]].to_numpy()).all()


def test_money_adds_up_line_by_line(simulation: Simulation) -> None:
    lines = line_frame(simulation.records)
    expected = lines["quantity"] * lines["unit_price"] - lines["discount"]
    assert np.allclose(lines["amount"], expected, atol=1e-6)
    sale = lines["type"] == "sale"
    assert (lines.loc[sale, "discount"] >= 0).all()
    assert (lines.loc[sale, "amount"] >= 0).all()
    assert (lines.loc[~sale, "quantity"] < 0).all()
    assert (lines.loc[~sale, "amount"] <= 0).all()
    cents = lines["amount"] * 100
    assert np.allclose(cents, cents.round(), atol=1e-4)


def test_returns_are_two_to_three_percent_of_value_and_some_are_known_late(
    simulation: Simulation,
) -> None:
    lines = line_frame(simulation.records)
    normal = lines[lines["quantity"].abs() < 7_000]
    returned = normal.loc[normal["type"] == "return", "amount"].sum()
    sold = normal.loc[normal["type"] == "sale", "amount"].sum()
    assert 0.02 < -returned / sold < 0.03
    late = simulation.records.transactions.query("recorded_at > transacted_at")
    assert set(late["type"]) == {"return"}
    assert (late["recorded_at"] - late["transacted_at"]).between("1D", "6D").all()
    share = len(late) / (simulation.records.transactions["type"] == "return").sum()
    assert share == pytest.approx(0.1, abs=0.03)


def test_the_feed_has_the_dirt_of_real_feeds(simulation: Simulation) -> None:
    lines = line_frame(simulation.records)
    product = lines["product_id"].astype(str)
    share = {
        "test": product.str.startswith("TEST").mean(),
        "postage": (product == "POST").mean(),
        "lower case": (product != product.str.upper()).mean(),
        "zero price": (lines["unit_price"] == 0).mean(),
    }
    assert 0 < share["test"] < 0.001
    assert 0.002 < share["postage"] < 0.02
    assert 0.001 < share["lower case"] < 0.01
    assert 0 < share["zero price"] < 0.005
    known = simulation.records.products["product_id"]
    listed = product[~product.str.startswith("TEST")].str.upper()
    assert listed.isin(known).all()


def test_the_absurd_order_is_reversed_the_same_day(simulation: Simulation) -> None:
    absurd = line_frame(simulation.records).query("quantity.abs() > 7_000")
    assert absurd["quantity"].tolist() == [7_215, -7_215]
    assert absurd["amount"].sum() == 0
    assert absurd["transacted_at"].dt.date.nunique() == 1


def test_an_oracle_ranks_customers_well_and_is_unbiased(simulation: Simulation) -> None:
    as_of, horizon = date(2024, 7, 1), 180
    oracle = GroundTruth(simulation)
    truth = oracle.expected_value(as_of, horizon).set_index("customer_id")
    days = customer_days(simulation.records)
    end = pd.Timestamp(as_of) + pd.Timedelta(days=horizon)
    future = days[(days["day"] >= pd.Timestamp(as_of)) & (days["day"] < end)]
    value = future.groupby("customer_id")["net"].sum().clip(lower=0)
    value = value.reindex(truth.index, fill_value=0.0)
    assert normalized_gini(truth["expected_value"], value) > 0.88
    assert truth["expected_value"].sum() / value.sum() == pytest.approx(1, abs=0.1)
    active = oracle.is_active(as_of)[truth.index]
    assert truth["probability_active"].mean() == pytest.approx(active.mean(), abs=0.03)


def normalized_gini(predicted: pd.Series, actual: pd.Series) -> float:
    def gain(order: np.ndarray) -> float:
        return float(np.mean(np.cumsum(actual.to_numpy()[order])) / actual.sum() - 0.5)

    best = np.argsort(-actual.to_numpy(), kind="stable")
    return gain(np.argsort(-predicted.to_numpy(), kind="stable")) / gain(best)
