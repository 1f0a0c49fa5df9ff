"""Results of asset checks with numbers as metadata: passed, failed, or warned."""

from typing import Any

import dagster as dg

from retail_pipeline.postgres import Database, Role


def one_row(database: Database, statement: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the first row of a query as plain values, with None for null; empty without rows.

    Args:
        database: The database; the query runs with the scientist's role.
        statement: The query.
        params: The named parameters of the query.
    """
    import pandas as pd

    frame = database.as_role(Role.SCIENTIST).query(statement, params)
    if frame.empty:
        return {}
    row = {str(name): frame[name].iloc[0] for name in frame}
    return {
        name: None if pd.isna(value) else value.item() if hasattr(value, "item") else value
        for name, value in row.items()
    }


NOTHING_YET = "nothing to compare yet"


def passed(numbers: dict[str, Any], description: str | None = None) -> dg.AssetCheckResult:
    """Return a check result that passed."""
    return dg.AssetCheckResult(passed=True, metadata=_known(numbers), description=description)


def failed(numbers: dict[str, Any], description: str) -> dg.AssetCheckResult:
    """Return a check result that failed with an error; a blocking check stops its downstream."""
    return dg.AssetCheckResult(passed=False, metadata=_known(numbers), description=description)


def warned(numbers: dict[str, Any], description: str) -> dg.AssetCheckResult:
    """Return a check result that failed with a warning, which stops nothing.

    Args:
        numbers: The measured numbers.
        description: The finding and, after a colon, what to do; the report prints it as it is.
    """
    return dg.AssetCheckResult(
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=_known(numbers),
        description=description,
    )


def _known(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if value is not None}
