"""Discounting and margin: laws, closed forms, and costs as known before a date."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import hyperu

from retail_pipeline.clv.data import tables
from retail_pipeline.clv.models.base import ValueModel
from retail_pipeline.clv.models.baselines import LastWindow
from retail_pipeline.clv.models.bg_nbd import BGNBD
from retail_pipeline.clv.models.btyd import BGNBDGammaGamma, ParetoNBDGammaGamma
from retail_pipeline.clv.models.gamma_gamma import GammaGamma
from retail_pipeline.clv.models.pareto_nbd import ParetoNBD
from retail_pipeline.clv.models.purchases import Purchases
from retail_pipeline.clv.serving import margin
from retail_pipeline.clv.serving.discounting import (
    DAYS_PER_YEAR,
    discounted,
    present_value_factors,
)
from retail_pipeline.postgres import Database

AS_OF = date(2024, 7, 1)

rates = st.floats(0, 0.99)
horizons = st.integers(1, 1095)
histories = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 900), st.floats(0, 1)), min_size=1, max_size=5
)
shapes = st.floats(0.05, 20)
scales = st.floats(0.5, 500)


def rows(drawn: list[tuple[int, int, float]]) -> pd.DataFrame:
    """Return features of customers from purchase days, age, and recency as a share of the age."""
    frame = pd.DataFrame(drawn, columns=["purchase_days", "age_days", "silence"])
    frame["recency_days"] = np.floor(frame["age_days"] * frame["silence"])
    frame.loc[frame["purchase_days"] == 1, "recency_days"] = frame["age_days"]
    return frame.assign(total_net_amount=100.0, mean_purchase_value=50.0)


@st.composite
def models(draw: st.DrawFn) -> ValueModel:
    horizon = draw(horizons)
    kind = draw(st.sampled_from(["pareto", "bg", "even"]))
    if kind == "even":
        return LastWindow(horizon)
    model = (ParetoNBDGammaGamma if kind == "pareto" else BGNBDGammaGamma)(horizon)
    four = (draw(shapes), draw(scales), draw(shapes), draw(scales if kind == "pareto" else shapes))
    model.purchases_ = (ParetoNBD if kind == "pareto" else BGNBD)(*four)
    model.values_ = GammaGamma(2, 3, 60)
    return model


@given(models(), histories, rates, rates, st.floats(0, 1e6))
def test_present_value_lies_between_the_horizons_end_and_today_and_falls_with_the_rate(
    model: ValueModel,
    drawn: list[tuple[int, int, float]],
    one: float,
    other: float,
    value: float,
) -> None:
    frame = rows(drawn)
    predicted = pd.DataFrame({"predicted_value": value}, index=frame.index)
    low, high = (
        discounted(predicted, model, frame, rate)["discounted_value"].to_numpy()
        for rate in sorted([one, other])
    )
    rate = max(one, other)
    least = value * (1 + rate) ** (-model.horizon_days / DAYS_PER_YEAR)
    assert (high >= least * (1 - 1e-12)).all() and (low <= value).all()
    assert (high <= low * (1 + 1e-12)).all()


@given(models(), histories, st.floats(0, 1e9))
def test_at_rate_0_nothing_changes_by_a_bit(
    model: ValueModel, drawn: list[tuple[int, int, float]], value: float
) -> None:
    predicted = pd.DataFrame({"predicted_value": [value] * len(drawn)})
    frame = discounted(predicted, model, rows(drawn), 0.0)
    assert (frame["discounted_value"] == value).all() and (frame["discount_rate"] == 0).all()


@given(models(), histories, rates)
def test_whose_orders_come_sooner_loses_less(
    model: ValueModel, drawn: list[tuple[int, int, float]], rate: float
) -> None:
    """Expected orders never speed up, so no value is below that of an even spread."""
    frame = rows(drawn)
    even = present_value_factors(LastWindow(model.horizon_days), frame, rate)
    assert (present_value_factors(model, frame, rate) >= even - 1e-9).all()


@pytest.mark.parametrize("rate", [0.05, 0.15])
def test_over_an_endless_horizon_it_is_the_published_dert(rate: float) -> None:
    """Return DERT given alive, by its confluent hypergeometric function (Fader and others 2005)."""
    frame = rows([(3, 90, 0.5), (12, 400, 0.1), (1, 700, 1.0), (30, 365, 0.0)])
    model = ParetoNBDGammaGamma(horizon_days=200 * 365)
    model.purchases_ = process = ParetoNBD(r=0.55, alpha=74, s=0.61, beta=82)
    age = frame["age_days"].to_numpy(float)
    force = np.log1p(rate) / DAYS_PER_YEAR
    dert = (process.r + frame["purchase_days"] - 1) / (process.alpha + age)
    dert *= force ** (process.s - 1) * (process.beta + age) ** process.s
    dert *= hyperu(process.s, process.s, force * (process.beta + age))
    repeats = frame["purchase_days"].to_numpy(float) - 1
    history = Purchases(repeats, age - frame["recency_days"].to_numpy(float), age)
    orders = process.purchases_if_alive(history, model.horizon_days)
    present = orders * present_value_factors(model, frame, rate)
    assert present == pytest.approx(dert.to_numpy(), rel=2e-4)


sales_of = st.lists(
    st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(0, 2)), min_size=1, max_size=5),
    min_size=1,
    max_size=8,
)
"""Customers, their products: net amount, cost as a share of it."""


def sales(drawn: list[list[tuple[float, float]]]) -> pd.DataFrame:
    found = []
    for number, products in enumerate(drawn):
        net = np.array([amount for amount, _ in products])
        cost = np.array([amount * share for amount, share in products])
        squares = float(((net - cost) ** 2 / net).sum())
        found.append((f"c{number}", len(net), net.sum(), cost.sum(), squares))
    columns = ["customer_id", "products", "net_amount", "cost_of_goods", "squared_margin_over_net"]
    return pd.DataFrame(found, columns=columns)


def portfolio(table: pd.DataFrame) -> margin.Portfolio:
    found = margin.portfolio_of([table])
    assert found
    return found


def shares_of(table: pd.DataFrame) -> pd.Series:
    return margin.margin_shares(table, portfolio(table))


@given(sales_of)
def test_a_share_lies_between_the_customers_own_and_that_of_all(
    drawn: list[list[tuple[float, float]]],
) -> None:
    table = sales(drawn)
    shares = shares_of(table).to_numpy()
    own = (1 - table["cost_of_goods"] / table["net_amount"]).to_numpy()
    overall = np.full(len(own), portfolio(table).overall)
    assert np.isfinite(shares).all()
    assert (shares >= np.minimum(own, overall) - 1e-9).all()
    assert (shares <= np.maximum(own, overall) + 1e-9).all()


@given(sales_of, st.integers(0, 8))
def test_parts_and_order_of_rows_change_no_bit(
    drawn: list[list[tuple[float, float]]], first: int
) -> None:
    table = sales(drawn)
    parts = [table[first:], table[:first]]
    assert margin.portfolio_of(parts) == portfolio(table)


@given(sales_of, st.sampled_from([0.01, 100.0]))
def test_the_currency_is_of_no_concern(
    drawn: list[list[tuple[float, float]]], factor: float
) -> None:
    table = sales(drawn)
    money = ["net_amount", "cost_of_goods", "squared_margin_over_net"]
    again = shares_of(table.assign(**{name: table[name] * factor for name in money}))
    assert again.to_numpy() == pytest.approx(shares_of(table).to_numpy(), abs=1e-6)


def test_what_customers_keep_is_found_where_they_differ_and_not_where_only_products_do() -> None:
    random = np.random.default_rng(4)
    products = random.integers(1, 30, 400)
    spread = random.normal(0.5, 0.1, len(products))

    def shop(shares: np.ndarray) -> pd.DataFrame:
        noise = [random.normal(0, 0.1, count) for count in products]
        return sales(
            [[(10.0, 1 - own - e) for e in es] for own, es in zip(shares, noise, strict=True)]
        )

    table = shop(spread)
    found = shares_of(table).to_numpy()
    own = (1 - table["cost_of_goods"] / table["net_amount"]).to_numpy()
    # Equal variances: one's own share counts n / (n + 1).
    weight = (found - portfolio(table).overall) / (own - portfolio(table).overall)
    assert weight == pytest.approx(products / (products + 1), abs=0.06)
    assert np.mean((found - spread) ** 2) < np.mean((own - spread) ** 2)

    alike = shares_of(shop(np.full(len(products), 0.5)))
    assert alike.std() < 0.01


def test_no_known_cost_is_no_margin_and_who_has_bought_nothing_known_keeps_the_overall_share() -> (
    None
):
    predictions = pd.DataFrame(
        {"customer_id": ["c0", "new"], "predicted_value": [10.0, 20.0], "discounted_value": 5.0}
    )
    assert margin.with_margins(predictions, sales([]), None).equals(predictions)
    known = sales([[(100, 0.4)]])
    found = margin.with_margins(predictions, known, portfolio(known))
    assert found["predicted_margin"].tolist() == pytest.approx([6, 12])
    assert found["discounted_margin"].tolist() == pytest.approx([3, 3])


LINES = """
insert into warehouse.fct_transaction_items values
    ('a', 'cup', 2, 20, false, '2024-01-10', '2024-01-10'),
    ('a', 'cup', 1, 12, false, '2024-05-10', '2024-05-10'),
    ('a', 'cup', -1, -10, false, '2024-05-20', '2024-05-20'),
    ('a', 'jar', 1, 30, false, '2024-06-30 23:59+00', '2024-06-30'),
    ('a', 'postage', 1, 9, true, '2024-06-01', '2024-06-01'),
    ('a', 'unknown', 1, 500, false, '2024-06-01', '2024-06-01'),
    ('b', 'jar', 1, 30, false, '2024-06-01', '2024-06-01'),
    ('b', 'jar', -1, -30, false, '2024-06-02', '2024-06-02'),
    (null, 'jar', 1, 30, false, '2024-06-01', '2024-06-01'),
    ('c', 'jar', null, 30, false, '2024-06-01', '2024-06-01'),
    ('d', 'jar', 1, 30, false, '2024-07-01', '2024-06-01'),
    ('e', 'jar', 1, 30, false, '2024-06-01', '2024-07-01')
"""
COSTS = """
insert into warehouse.product_costs values
    ('cup', 4, '2024-01-01', null, '2024-05-01'),
    ('cup', 6, '2024-05-01', '2024-05-01', '2024-07-01'),
    ('cup', 9, '2024-07-01', '2024-07-01', null),
    ('jar', 10, '2024-06-15', null, null),
    ('late', 1, '2024-07-01', null, null),
    ('postage', 9, '2024-01-01', null, null)
"""


@pytest.fixture
def sold(database: Database) -> Database:
    """Lines that count and lines that do not, costs that change."""
    database.execute(
        "create table warehouse.fct_transaction_items (customer_id text, product_id text, "
        "quantity numeric, net_amount numeric, is_excluded boolean, transacted_at timestamptz, "
        "recorded_at timestamptz, "
        "date_day date generated always as ((transacted_at at time zone 'UTC')::date) "
        "stored, "
        "known_date date generated always as "
        "((greatest(transacted_at, recorded_at) at time zone 'UTC')::date) stored)"
    )
    database.execute(
        "create table warehouse.product_costs (product_id text, cost numeric, known_from date, "
        "sold_from date, sold_until date)"
    )
    database.execute(LINES)
    database.execute(COSTS)
    return database


def test_goods_cost_what_they_did_when_sold_and_returns_are_deducted(sold: Database) -> None:
    found = tables.costed_sales(sold, AS_OF)
    assert found["customer_id"].tolist() == ["a"]
    row = found.iloc[0]
    # Two cups at 4, one at 6, one back at 6; a jar at its first cost.
    assert (row["products"], row["net_amount"], row["cost_of_goods"]) == (2, 22 + 30, 8 + 10)
    assert row["squared_margin_over_net"] == pytest.approx(14**2 / 22 + 20**2 / 30)


later = st.dates(AS_OF, date(2025, 1, 1))
any_day = st.dates(date(2024, 1, 1), date(2025, 1, 1))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    customer=st.sampled_from(["a", "b", "new"]),
    product=st.sampled_from(["cup", "jar", "late", "unknown"]),
    known=later,
    happened=any_day,
    cost=st.integers(0, 1000),
    quantity=st.integers(-3, 3),
)
def test_what_becomes_known_on_or_after_the_date_changes_no_margin(
    sold: Database,
    customer: str,
    product: str,
    known: date,
    happened: date,
    cost: int,
    quantity: int,
) -> None:
    before = tables.costed_sales(sold, AS_OF)
    with sold.connect() as connection:
        connection.execute(
            "insert into warehouse.fct_transaction_items values (%s, %s, %s, 40, false, %s, %s)",
            [customer, product, quantity, happened, known],
        )
        connection.execute(
            "update warehouse.product_costs set sold_until = %s "
            "where product_id = %s and sold_until is null and known_from < %s",
            [known, product, known],
        )
        connection.execute(
            "insert into warehouse.product_costs select %(p)s, %(c)s, %(k)s, case when exists "
            "(select from warehouse.product_costs where product_id = %(p)s) then %(k)s::date end",
            {"p": product, "c": cost, "k": known},
        )
    after = tables.costed_sales(sold, AS_OF)
    pd.testing.assert_frame_equal(after, before, check_exact=True)
