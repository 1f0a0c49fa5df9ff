"""The numbers of the marts that the rules of plausibility need."""

from datetime import date
from typing import Any, Final

from retail_pipeline.postgres import Database
from retail_pipeline.retail_api.source.plausibility import SalesFacts, find_doubts
from retail_pipeline.wording import counted

_LINES: Final = "from warehouse.fct_transaction_items where not is_excluded"

_FACTS: Final = f"""
select count(customer_id) as lines, count(distinct customer_id) as customers,
    max(date_day) as last_day,
    count(*) filter (where date_day > %(today)s) as future_lines,
    count(*) filter (where is_priced) as priced_lines,
    count(*) filter (
        where is_priced and abs(amount - pieces * price) > 0.01 + 1e-6 * pieces * price
    )
    as unequal_lines,
    count(*) filter (where has_several) as several_pieces,
    count(*) filter (where has_several and abs(amount - price) <= 0.01 + 1e-6 * price)
        as unit_amounts
from (
    select customer_id, date_day, amount, pieces, price,
        pieces * price is not null as is_priced,
        pieces * price is not null and pieces not in (0, 1) and price > 0 as has_several
    from (
        select customer_id, date_day, abs(gross_amount) as amount,
            abs(quantity) as pieces, abs(unit_price) as price {_LINES}
    ) as counted
) as lines
"""

_TOP: Final = f"""
select customer_id, count(*) as lines {_LINES} and customer_id is not null
group by customer_id order by lines desc, customer_id limit 1
"""

_GAP: Final = f"""
select previous, day, lines_before from (
    select day, lag(day) over days as previous,
        (sum(lines) over days - lines)::bigint as lines_before
    from (select date_day as day, count(*) as lines {_LINES} group by 1) as counts
    window days as (order by day)
) as gaps where previous is not null order by day - previous desc, day limit 1
"""

_ORDERS: Final = f"""
select count(*) as products, count(*) filter (where lowest = highest) as one_amount from (
    select min(net_amount) as lowest, max(net_amount) as highest {_LINES}
        and transaction_type = 'sale' and net_amount > 0 and product_id is not null
    group by transaction_id having min(product_id) < max(product_id)
) as orders
"""

_CURRENCIES: Final = f"""
select currency, count(distinct transaction_id) as transactions {_LINES} group by 1 order by 2 desc
"""


def doubts(database: Database, as_of: date, today: date) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the sentence of each rule that finds a doubt, and the numbers of all rules.

    Args:
        database: The warehouse.
        as_of: The as-of date of the marts.
        today: The day of the check.
    """
    numbers = _row(database, _FACTS, {"today": today})
    if not numbers["lines"]:
        return {}, {}
    top, gap, orders = (_row(database, query) for query in (_TOP, _GAP, _ORDERS))
    currencies = database.query(_CURRENCIES)
    facts = SalesFacts(
        **{name: int(value) for name, value in numbers.items() if name != "last_day"},
        last_day=_day(numbers["last_day"]),
        top_customer=str(top["customer_id"]),
        top_customer_lines=int(top["lines"]),
        today=today,
        as_of=as_of,
        gap=(_day(gap["previous"]), _day(gap["day"])) if gap else None,
        lines_before_gap=int(gap["lines_before"]) if gap else 0,
        orders_of_products=int(orders["products"]),
        orders_of_one_amount=int(orders["one_amount"]),
        currencies=tuple(currencies["currency"].dropna()),
    )
    found = dict(find_doubts(facts))
    counts = dict(zip(currencies["currency"].fillna(""), currencies["transactions"], strict=True))
    if "" in counts and len(counts) > 1:
        found["currency_is_given"] = (
            f"{counted(int(counts.pop('')), 'transaction')} without a currency are counted as "
            f"{next(iter(counts))}, the currency of the others: correct them at the source if they "
            "have another"
        )
    shown = ("lines", "customers", "future_lines", "priced_lines", "unequal_lines", "unit_amounts")
    return found, {
        **{name: getattr(facts, name) for name in shown},
        "top_customer_lines": facts.top_customer_lines,
        "last_day": facts.last_day.isoformat(),
        "currencies": ", ".join(facts.currencies),
    }


def _row(
    database: Database, statement: str, params: dict[str, Any] | None = None
) -> dict[str, Any]:
    found = database.query(statement, params)
    return {str(name): found[name].iloc[0] for name in found if len(found)}


def _day(value: Any) -> date:
    return value.date() if hasattr(value, "date") else value
