"""Results of asset checks: one row of numbers that passed, failed, or is a warning."""

from typing import Any

import dagster as dg

from retail_pipeline.postgres import Database, Role


def one_row(database: Database, statement: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the only row of a query as plain values, None for null; empty where there is no row.

    Args:
        database: Read as the scientist.
        statement: The query.
        params: Its named parameters.
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


def passed(numbers: dict[str, Any]) -> dg.AssetCheckResult:
    """Return a check result that passed, with its numbers."""
    return dg.AssetCheckResult(passed=True, metadata=_known(numbers))


def failed(numbers: dict[str, Any], description: str) -> dg.AssetCheckResult:
    """Return a check result that failed: an error, which stops a blocking check's downstream."""
    return dg.AssetCheckResult(passed=False, metadata=_known(numbers), description=description)


def warned(numbers: dict[str, Any], description: str) -> dg.AssetCheckResult:
    """Return a check result that is a warning: it is shown, and nothing stops."""
    return dg.AssetCheckResult(
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=_known(numbers),
        description=description,
    )


def _known(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if value is not None}
