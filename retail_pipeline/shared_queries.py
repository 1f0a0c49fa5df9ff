"""Questions to the tables that several stages ask, so that they get one answer."""

from typing import Final

from retail_pipeline.postgres import Database

PAST_CUTOFFS: Final = (
    "horizon_days = %(horizon)s and cutoff_date + horizon_days <= %(as_of)s "
    "and cutoff_date > %(as_of)s::date - %(horizon)s - interval '12 months'"
)
"""Rows of a backtest that a run shows: the latest twelve months with an outcome. Older ones stay in
the tables; the choice of the model does not count them either."""


def currency(database: Database) -> str:
    """Return the ISO code of the amounts, or nothing where they are in none or in several."""
    found = database.query(
        "select distinct currency from warehouse.revenue_daily where currency is not null"
    )
    return str(found["currency"].iloc[0]) if len(found) == 1 else ""
