"""What all checks of this room share: reading one row of numbers, and the three verdicts.

No check is defined here.
"""

from typing import Any

from dagster import AssetCheckResult, AssetCheckSeverity

from retail_pipeline.postgres import (
    Database,
    Role,
)


def one_row(database: Database, statement: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the only row as plain values, None for null; nothing where there is no row."""
    import pandas as pd

    frame = database.as_role(Role.SCIENTIST).query(statement, params)
    if frame.empty:
        return {}
    row = {str(name): frame[name].iloc[0] for name in frame}
    return {
        name: None if pd.isna(value) else value.item() if hasattr(value, "item") else value
        for name, value in row.items()
    }


def passed(numbers: dict[str, Any]) -> AssetCheckResult:
    """Return a passed check with its numbers."""
    return AssetCheckResult(passed=True, metadata=_known(numbers))


def failed(numbers: dict[str, Any], description: str) -> AssetCheckResult:
    """Return a failed check: what is downstream of a blocking one stops."""
    return AssetCheckResult(passed=False, metadata=_known(numbers), description=description)


def warned(numbers: dict[str, Any], description: str) -> AssetCheckResult:
    """Return a warning: people should look, nothing stops."""
    return AssetCheckResult(
        passed=False,
        severity=AssetCheckSeverity.WARN,
        metadata=_known(numbers),
        description=description,
    )


def _known(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if value is not None}
