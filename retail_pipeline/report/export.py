"""The current predictions as a table for other tools, with the names that e-mail tools use."""

from typing import Final

import pandas as pd

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database

_EXPORT: Final = """
select customer_id, predicted_value::float8 as predicted_clv, net_amount::float8 as historic_clv,
    expected_orders as predicted_number_of_orders,
    average_order_value::float8 as average_order_value, average_days_between_orders,
    1 - probability_active as churn_probability,
    next_order_median_date as expected_date_of_next_order, segment, as_of_date, horizon_days
from clv.customer_360 where predicted_value is not null
order by predicted_value desc, customer_id
"""

_FORMULA_STARTS: Final = tuple(
    "=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)


def read_export(database: Database) -> tuple[pd.DataFrame, str]:
    """Return one row per predicted customer, the most valuable first, and the date and horizon.

    Args:
        database: The warehouse, as the role scientist or reader.

    Raises:
        PipelineError: Nothing was predicted yet.
    """
    frame = database.query(_EXPORT)
    if frame.empty:
        raise PipelineError("nothing was predicted yet: run `retail-pipeline run`")
    as_of, horizon = frame["as_of_date"].iloc[0], frame["horizon_days"].iloc[0]
    words = f"as of {as_of:%Y-%m-%d}, over {horizon} days"
    return frame.drop(columns=["as_of_date", "horizon_days"]), words


def for_spreadsheets(texts: pd.Series) -> pd.Series:
    """Return texts that a spreadsheet does not run as formulas.

    A text that begins with `=`, `+`, `-`, `@`, a tab, a line break or an apostrophe gets an
    apostrophe in front. Removing one leading apostrophe gives the text back: `=1+1` is `'=1+1`.
    """
    risky = texts.str.startswith((*_FORMULA_STARTS, "'")).fillna(False).astype(bool)
    return texts.where(~risky, "'" + texts)
