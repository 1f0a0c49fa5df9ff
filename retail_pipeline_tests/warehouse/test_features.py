"""Features equal a plain computation; later facts change no earlier row."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.dbt_process import DbtWorker
from retail_pipeline_tests.warehouse.expected_features import expected_features
from retail_pipeline_tests.warehouse.landing import land, line, transaction

START = datetime(2023, 1, 1, tzinfo=UTC)
AS_OF = date(2024, 6, 15)
KEY = ["customer_id", "as_of_date"]

Record = dict[str, Any]


def _transactions(dice: random.Random) -> list[Record]:
    """Return two years of a small shop: late records, same-day and later returns, equal times."""
    transactions: list[Record] = []
    for number in range(260):
        sale = _sale(dice, number)
        transactions.append(sale)
        if dice.random() < 0.3:
            transactions.append(_return(dice, sale))
    return transactions


def _products(dice: random.Random) -> list[Record]:
    return [
        {
            "product_id": f"P{i}",
            "category": f"C{i % 4}" if i % 5 else None,
            "price": i + 1 if i % 6 else None,
            **_recorded(dice.choice([-10, 0, 300])),
        }
        for i in range(12)
    ]


def _users(dice: random.Random) -> list[Record]:
    return [
        {
            "user_id": f"K{i}",
            "country": dice.choice(["Norway", None]),
            "created_at": (START + timedelta(days=i)).isoformat(),
            **_recorded(i),
        }
        for i in range(35)
    ]


def _recorded(day: int) -> Record:
    at = (START + timedelta(days=day)).isoformat()
    return {"recorded_at": at, "updated_at": at}


def _changed(records: list[Record], **changes: Any) -> list[Record]:
    """Return the records, every third of 2024 changed."""
    updated = {"updated_at": (START + timedelta(days=400)).isoformat(), **changes}
    return [{**record, **updated} if n % 3 == 0 else record for n, record in enumerate(records)]


def _sale(dice: random.Random, number: int) -> Record:
    at = START + timedelta(days=dice.randrange(700), hours=dice.choice([0, 9, 23]), minutes=30)
    lines = [
        line(
            dice.randrange(1, 9000) / 100,
            product_id=dice.choice([None, *(f"P{i}" for i in range(14))]),
            quantity=dice.randrange(1, 5),
        )
        for _ in range(dice.randrange(1, 4))
    ]
    return transaction(
        f"T{number:04}",
        f"K{dice.randrange(40)}",
        at.isoformat(),
        lines,
        recorded_at=(at + timedelta(days=dice.choice([0, 0, 0, 0, 1, 20, 90]))).isoformat(),
        country=dice.choice(["France", "Spain", None]),
        channel=dice.choice(["web", "store"]),
    )


def _return(dice: random.Random, sale: Record) -> Record:
    at = datetime.fromisoformat(sale["transacted_at"]) + timedelta(days=dice.choice([0, 3, 40]))
    known = max(at, datetime.fromisoformat(sale["recorded_at"]))
    first = sale["items"][0]
    back = {**first, "quantity": -first["quantity"], "amount": -first["amount"]}
    return {
        **sale,
        "transaction_id": f"R{sale['transaction_id']}",
        "type": "return",
        "transacted_at": at.isoformat(),
        "recorded_at": (known + timedelta(days=dice.choice([0, 5]))).isoformat(),
        "items": [back],
    }


def _build(database: Database, dbt: DbtWorker, transactions: list[Record]) -> pd.DataFrame:
    database.execute("truncate transactional.transactions")
    land(database, "transactions", transactions)
    dbt.build(AS_OF, "--select", "+customer_features", tests=True)
    features = database.read("warehouse.customer_features")
    return features.sort_values(KEY, ignore_index=True)


@pytest.mark.parametrize("seed", [1])
def test_features_equal_a_plain_computation_and_obey_the_law_of_time(
    database: Database, dbt: DbtWorker, seed: int
) -> None:
    dice = random.Random(seed)
    transactions, products, users = _transactions(dice), _products(dice), _users(dice)
    land(database, "products", products)
    land(database, "users", users)
    dbt.build(AS_OF, "--select", "+product_versions", "+customer_versions")
    database.execute("truncate transactional.products, transactional.users")
    new_products = _changed(products, price=99, category="C9")
    new_users = _changed(users, country="EIRE")
    land(database, "products", new_products)
    land(database, "users", new_users)

    features = _build(database, dbt, transactions)
    dates = sorted(pd.to_datetime(features["as_of_date"]).dt.date.unique())
    assert dates[-1] == AS_OF
    assert all(day.day == 1 for day in dates[:-1])
    _assert_equal(
        features,
        expected_features(
            transactions,
            products + _only_new(new_products, products),
            users + _only_new(new_users, users),
            dates,
        ),
    )

    # Large changes of the records known from 2024 on keep the rows of 2023.
    turn = datetime(2024, 1, 1, tzinfo=UTC)
    later = [
        {**t, "user_id": "K1", "items": [line(1.0, quantity=1)], "country": "Italy", "type": "sale"}
        if datetime.fromisoformat(t["recorded_at"]) >= turn
        else t
        for t in transactions
    ]
    assert later != transactions
    changed = _build(database, dbt, later)
    until = pd.Timestamp(turn.date())
    pd.testing.assert_frame_equal(
        features[features["as_of_date"] <= until].reset_index(drop=True),
        changed[changed["as_of_date"] <= until].reset_index(drop=True),
    )


def _only_new(records: list[Record], before: list[Record]) -> list[Record]:
    return [record for record in records if record not in before]


def _assert_equal(features: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert set(features.columns) == set(expected.columns)
    expected = expected.sort_values(KEY, ignore_index=True)
    assert features[KEY].astype(str).equals(expected[KEY].astype(str))
    for name in features.columns.difference(KEY):
        actual, wanted = features[name], expected[name]
        if name.endswith(("_date", "_month")):
            assert (pd.to_datetime(actual) == pd.to_datetime(wanted)).all(), name
        elif name in ("country", "channel"):
            assert (actual.fillna("") == wanted.fillna("")).all(), name
        else:
            pd.testing.assert_series_equal(
                actual.astype(float), wanted.astype(float), check_exact=False, rtol=1e-9, atol=1e-9
            )
