"""Asset checks that reconcile the landing tables with the API's totals.

The numbers come from `totals` and `landing`. The sync evaluates the checks while the API is up and
its records stay the same. If rows or money differ, the check blocks the assets downstream.
"""

from decimal import Decimal

import dagster as dg

from retail_pipeline.airbyte_engine.files import StreamTotals
from retail_pipeline.ingestion.landing import Drift, Landed, Volume
from retail_pipeline.ingestion.specs import landing_key
from retail_pipeline.ingestion.totals import MONEY_STREAM, Money, Totals, has_money

ROWS = "rows_equal_the_api"
MONEY = "money_equals_the_api"
VOLUME = "volume_is_usual"
SCHEMA = "schema_is_as_declared"
_PARTS = ("lines", "sales_amount", "returns_amount")
_FEWEST_A_WEEK = 20
_USUAL = (1 / 3, 3.0)
"""Bounds of the last week as multiples of a usual week, wide enough for seasonal changes."""

_UNUSUAL = (
    "the last week has {last_week:,.0f} {stream}, a usual week {weekly_before:,.0f}: check that "
    "the source has sent all of it, once"
)


def check_specs(stream: str, totals: StreamTotals | None) -> list[dg.AssetCheckSpec]:
    """Return the specs of the checks of a stream's landing table.

    Args:
        stream: The stream.
        totals: The request for the stream's totals; None if the API has none.
    """
    described = {
        VOLUME: "The last week has between a third and three times the records of a usual week; "
        "for a stream without a cursor, the rows are compared with the previous sync.",
        SCHEMA: "Records have no undeclared fields, their values fit the columns, and every "
        "column is still served.",
    }
    if totals is not None:
        described[ROWS] = "Rows, rejected and suppressed records add up to the API's total."
    if has_money(stream, totals):
        described[MONEY] = (
            "Lines, sales and returns equal the API's totals; if customers were forgotten, they "
            "do not exceed them."
        )
    return [
        dg.AssetCheckSpec(
            name,
            asset=landing_key(stream),
            description=description,
            blocking=name in (ROWS, MONEY),
        )
        for name, description in described.items()
    ]


def check_volume(stream: str, volume: Volume | None) -> dg.AssetCheckResult:
    """Return the result of the volume check, which passes if a usual week has under 20 records.

    Args:
        stream: The stream.
        volume: The stream's records; None if there is nothing to compare with.
    """
    metadata: dict[str, float | str] = {"compared": "no"}
    passed = True
    if volume is not None:
        metadata |= {"last_week": volume.last_week, "weekly_before": volume.weekly_before}
    if volume is not None and volume.weekly_before >= _FEWEST_A_WEEK:
        ratio = volume.last_week / volume.weekly_before
        passed = _USUAL[0] <= ratio <= _USUAL[1]
        metadata |= {"compared": "yes", "ratio": round(ratio, 3)}
    return dg.AssetCheckResult(
        check_name=VOLUME,
        asset_key=landing_key(stream),
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=None if passed else _UNUSUAL.format(stream=stream, **metadata),
        metadata=metadata,
    )


def check_schema(stream: str, drift: Drift) -> dg.AssetCheckResult:
    """Return the result of the schema check; its warning names the columns."""
    misfits = ", ".join(f"{name} ({count})" for name, count in drift.misfits.items())
    parts = [
        f"not declared: {', '.join(drift.undeclared)}" if drift.undeclared else "",
        f"values that do not fit: {misfits}" if misfits else "",
        f"no longer served: {', '.join(drift.missing)}" if drift.missing else "",
    ]
    warning = "; ".join(filter(None, parts))
    return dg.AssetCheckResult(
        check_name=SCHEMA,
        asset_key=landing_key(stream),
        passed=not warning,
        severity=dg.AssetCheckSeverity.WARN,
        description=warning or None,
        metadata={
            "undeclared": list(drift.undeclared),
            "misfits": drift.misfits,
            "no_longer_served": list(drift.missing),
        },
    )


def check_rows(
    stream: str, landed: Landed, totals: Totals, *, still: bool = True
) -> dg.AssetCheckResult:
    """Return the check result: rows, rejected and suppressed records add up to the API's total.

    Args:
        stream: The stream.
        landed: The numbers of rows, rejected and suppressed records.
        totals: The API's totals.
        still: Whether the API's records stay the same during a sync; if not, a difference only
            warns.
    """
    expected = totals.records - landed.rejected - landed.suppressed
    return dg.AssetCheckResult(
        check_name=ROWS,
        asset_key=landing_key(stream),
        passed=_equal(Decimal(landed.rows), Decimal(expected), totals.tolerance),
        severity=dg.AssetCheckSeverity.ERROR if still else dg.AssetCheckSeverity.WARN,
        metadata={
            "rows": landed.rows,
            "records_of_api": totals.records,
            "rejected": landed.rejected,
            "suppressed": landed.suppressed,
            "difference": landed.rows - expected,
        },
    )


def check_money(
    landed: Money,
    totals: Money,
    *,
    tolerance: float = 0,
    rejected: int,
    suppressed: int = 0,
    still: bool = True,
) -> dg.AssetCheckResult:
    """Return the check result: lines and amounts of the table equal the API's totals.

    Amounts of forgotten customers are not stored anywhere. If there are any, the check only
    verifies that lines, sales and returns do not exceed the API's; the check of rows finds missing
    records.

    Args:
        landed: The table's lines and amounts.
        totals: The API's totals.
        tolerance: The share by which each may differ.
        rejected: The number of rejected records. Their amounts are not in the table, so with any
            of them a difference only warns.
        suppressed: The number of suppressed records.
        still: Whether the API's records stay the same during a sync; if not, a difference only
            warns.
    """
    pairs = dict(zip(Money._fields, zip(landed, totals, strict=True), strict=True))
    if suppressed:
        passed = all(pairs[name][0] <= pairs[name][1] for name in _PARTS)
    else:
        passed = all(_equal(ours, theirs, tolerance) for ours, theirs in pairs.values())
    certain = still and rejected == 0
    return dg.AssetCheckResult(
        check_name=MONEY,
        asset_key=landing_key(MONEY_STREAM),
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if certain else dg.AssetCheckSeverity.WARN,
        metadata={
            "rejected": rejected,
            "suppressed": suppressed,
            **{name: float(ours) for name, (ours, _) in pairs.items()},
            **{f"{name}_of_api": float(theirs) for name, (_, theirs) in pairs.items()},
            **{f"{name}_difference": float(a - b) for name, (a, b) in pairs.items()},
        },
    )


def _equal(ours: Decimal, theirs: Decimal, tolerance: float) -> bool:
    return abs(ours - theirs) <= Decimal(str(tolerance)) * abs(theirs)
