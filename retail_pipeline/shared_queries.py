"""Queries that several stages share."""

from typing import Final

from retail_pipeline.postgres import Database

PAST_CUTOFFS: Final = (
    "horizon_days = %(horizon)s and cutoff_date + horizon_days <= %(as_of)s "
    "and cutoff_date > %(as_of)s::date - %(horizon)s - interval '12 months'"
)
"""Condition on backtest rows: cut-offs of the latest twelve months with a complete outcome. Older
rows stay in the tables but count neither in reports nor in the choice of the model."""


def currency(database: Database) -> str:
    """Return the currency of the amounts as ISO code; empty if there is none or more than one."""
    found = database.query(
        "select distinct currency from warehouse.revenue_daily where currency is not null"
    )
    return str(found["currency"].iloc[0]) if len(found) == 1 else ""
