"""Random schedules of arrivals in a shop's feed: late, corrected and repeated records.

A schedule changes the landing tables as a sync would; it does not read the warehouse.
"""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from retail_pipeline.postgres import Database
from retail_pipeline_tests.warehouse.landing import line, transaction

Record = dict[str, Any]
_START = datetime(2023, 1, 1, tzinfo=UTC)
_CUSTOMERS = 12
_PRODUCTS = ["P1", "P2", "P3", "P4", "P5", "POST", "TEST9", None]


class Schedule:
    """A feed that is delivered step by step.

    Args:
        database: The database in which it lands.
        seed: The seed of all random choices.
    """

    def __init__(self, database: Database, seed: int) -> None:
        self._database = database
        self._dice = random.Random(seed)
        self._known: dict[str, Record] = {}
        self._numbers = 0
        self.as_of = date(2023, 5, 1) + timedelta(days=self._dice.randrange(60))

    def first_sync(self) -> None:
        """Deliver the history up to the as-of date."""
        for _ in range(self._dice.randrange(30, 60)):
            self._deliver(self._sale())
        self._change_products()

    def next_sync(self) -> None:
        """Move the as-of date by some days, perhaps none, and deliver what arrives then."""
        dice = self._dice
        self.as_of += timedelta(days=dice.choice([0, 1, 1, 7, 20, 45]))
        arrivals = [
            (self._new_sales, 0.8),
            (self._late_returns, 0.7),
            (self._corrections, 0.6),
            (self._redeliveries, 0.5),
            (self._deletions, 0.2),
            (self._change_products, 0.3),
        ]
        for arrive, chance in arrivals:
            if dice.random() < chance:
                arrive()

    def _new_sales(self) -> None:
        for _ in range(self._dice.randrange(1, 6)):
            self._deliver(self._sale(since=20))

    def _late_returns(self) -> None:
        """Deliver returns of the last 60 days that are recorded only now."""
        sales = [r for r in self._known.values() if r["type"] == "sale" and r["items"]]
        for sale in self._dice.sample(sales, min(len(sales), self._dice.randrange(1, 4))):
            first = sale["items"][0]
            back = {**first, "quantity": -first["quantity"], "amount": -first["amount"]}
            at = self._moment(since=60)
            known = self._now() if self._dice.random() < 0.8 else at
            self._deliver(
                {
                    **sale,
                    "transaction_id": f"R{self._next()}",
                    "type": "return",
                    "transacted_at": at,
                    "recorded_at": known,
                    "updated_at": known,
                    "items": [back],
                }
            )

    def _corrections(self) -> None:
        """Change lines, customers or times of records, sometimes with an unchanged `updated_at`."""
        dice = self._dice
        for record in dice.sample(list(self._known.values()), dice.randrange(1, 4)):
            changes: Record = dice.choice(
                [
                    {"items": self._lines()},
                    {"items": []},
                    {"user_id": f"K{dice.randrange(_CUSTOMERS)}"},
                    {"user_id": None},
                    {"transacted_at": self._moment(since=90)},
                    {"country": "Italy", "channel": "store"},
                    {},
                ]
            )
            at = record["updated_at"] if dice.random() < 0.3 else self._now()
            self._deliver({**record, **changes, "updated_at": at})

    def _redeliveries(self) -> None:
        """Deliver the same records again; some destinations then rewrite the row."""
        for record in self._dice.sample(list(self._known.values()), 3):
            self._deliver(record)

    def _deletions(self) -> None:
        """Forget a person, or delete records from the landing table."""
        names = self._dice.sample(sorted(self._known), 2)
        if self._dice.random() < 0.5:
            user = self._known[names[0]]["user_id"]
            names = [k for k, r in self._known.items() if r["user_id"] == user]
        for name in names[: len(self._known) - 10]:
            del self._known[name]
            self._database.execute(
                "delete from transactional.transactions where transaction_id = %s", [name]
            )

    def _change_products(self) -> None:
        """Add a product, change a category or move a user."""
        product = self._dice.choice(_PRODUCTS[:5])
        recorded = self._moment()
        category = self._dice.choice(["C1", "C2", None])
        self._replace(
            "products",
            "product_id",
            {
                "product_id": product,
                "category": category,
                "recorded_at": recorded,
                "updated_at": self._now(),
            },
        )
        user = f"K{self._dice.randrange(_CUSTOMERS)}"
        self._replace(
            "users", "user_id", {"user_id": user, "country": category, "updated_at": self._now()}
        )

    def _sale(self, since: int | None = None) -> Record:
        dice = self._dice
        at = self._moment(since)
        late = dice.choice([0, 0, 0, 1, 20, 60])
        known = min(at + timedelta(days=late), self._now())
        made = transaction(f"T{self._next()}", f"K{dice.randrange(_CUSTOMERS)}", "", self._lines())
        return {
            **made,
            "transacted_at": at,
            "recorded_at": known,
            "updated_at": known,
            "channel": dice.choice(["web", "store", None]),
        }

    def _lines(self) -> list[Record]:
        dice = self._dice
        return [
            line(
                dice.randrange(-200, 9000) / 100,
                product_id=dice.choice(_PRODUCTS),
                quantity=dice.randrange(1, 4),
            )
            for _ in range(dice.randrange(0, 4))
        ]

    def _deliver(self, record: Record) -> None:
        self._known[record["transaction_id"]] = record
        self._replace("transactions", "transaction_id", record)

    def _replace(self, stream: str, key: str, record: Record) -> None:
        values = {
            "_airbyte_raw_id": f"{self._dice.random()}",
            "_airbyte_extracted_at": self._now(),
            "_airbyte_meta": {},
            "_airbyte_generation_id": 1,
            **record,
        }
        row = [Jsonb(v) if isinstance(v, dict | list) else v for v in values.values()]
        with self._database.connect() as connection:
            connection.execute(
                f"delete from transactional.{stream} where {key} = %s", [record[key]]
            )
            connection.execute(
                f"insert into transactional.{stream} ({', '.join(values)}) "
                f"values ({', '.join(['%s'] * len(row))})",
                row,
            )

    def _moment(self, since: int | None = None) -> datetime:
        """Return a time before the as-of date, at most `since` days before it."""
        days = (self._now() - _START).days
        days = self._dice.randrange(max(days - since, 0) if since else 0, days)
        # Few distinct times, so that there are ties.
        return _START + timedelta(days=days, hours=self._dice.choice([0, 9, 23]))

    def _now(self) -> datetime:
        return datetime(self.as_of.year, self.as_of.month, self.as_of.day, tzinfo=UTC)

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers
