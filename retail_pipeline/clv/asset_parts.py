"""What all assets of this room share: how they are declared, which run they belong to, metadata.

No asset is defined here.
"""

import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableSchema,
    asset,
)

from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import read_state
from retail_pipeline.linear_algebra import with_working_memory
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

GROUP = "clv"
OWNER = "team:data-science"


def clv_asset(
    name: str, deps: Sequence[AssetKey], kinds: set[str], **options: Any
) -> Callable[[Callable[..., MaterializeResult]], AssetsDefinition]:
    """Return `asset` with what all assets of this room share; the docstring is the description."""
    declare = asset(
        key=AssetKey([GROUP, name]),
        deps=deps,
        group_name=GROUP,
        owners=[OWNER],
        kinds=kinds,
        **options,
    )
    return lambda build: declare(retried(with_working_memory(build)))


def window(database: Database, settings: Settings, run_window: RunWindow) -> tuple[date, int]:
    """Return the as-of date of the landed data and the run's horizon.

    Raises:
        PipelineError: Nothing was ingested, or the run asks for another date.
    """
    return run_window.landed_as_of(database), run_window.horizon(settings)


def result(
    database: Database, table: str, rows: int, started: float, **metadata: Any
) -> MaterializeResult:
    """Return the materialization: rows, as-of date, column schema, seconds and what is given."""
    return MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "dagster/column_schema": _schema(database, table),
            "dagster/table_name": table,
            "as_of": read_state(database).as_of.isoformat(),
            "seconds": round(time.monotonic() - started, 3),
            **metadata,
        }
    )


def served_predictions(database: Database, as_of: date, horizon_days: int) -> "pd.DataFrame":
    """Return the served predictions in the order of the customers.

    Raises:
        PipelineError: There are none.
    """
    served = database.read(
        "clv.predictions",
        [
            *("customer_id", "segment", "predicted_value", "probability_active"),
            *("discounted_value", "predicted_margin", "discounted_margin"),
            *("model_name", "model_version"),
        ],
        where="as_of_date = %s and horizon_days = %s",
        params=[as_of, horizon_days],
    )
    if served.empty:
        raise PipelineError(
            f"there are no predictions as of {as_of} for {horizon_days} days: "
            "materialize clv/predictions first"
        )
    return served.sort_values("customer_id", ignore_index=True)


def _schema(database: Database, table: str) -> TableSchema:
    """Return a table's columns with their comments; feature columns borrow the mart's."""
    columns = database.query(
        "select own.attname as name, format_type(own.atttypid, own.atttypmod) as type, "
        "coalesce(col_description(own.attrelid, own.attnum), "
        "col_description(mart.attrelid, mart.attnum)) as description "
        "from pg_attribute as own left join pg_attribute as mart "
        "on mart.attrelid = to_regclass('warehouse.customer_features') "
        "and mart.attname = own.attname "
        "where own.attrelid = %s::regclass and own.attnum > 0 and not own.attisdropped "
        "order by own.attnum",
        [table],
    )
    return TableSchema(
        [
            TableColumn(name=row["name"], type=row["type"], description=row["description"] or None)
            for row in columns.to_dict("records")
        ]
    )


def markdown(table: "pd.DataFrame") -> MetadataValue:
    """Return a frame as a Markdown table; what is missing is an empty cell."""
    import pandas as pd

    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [["" if pd.isna(cell) else str(cell) for cell in row] for row in table.to_numpy()]
    return MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))
