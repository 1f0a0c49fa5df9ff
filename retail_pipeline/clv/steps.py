"""Decorators for the assets and checks of customer value: key, group, owner, retries, run window.

The decorated function takes a `Step`, and resources that only it needs. The Dagster function takes
the two resources of a step instead, so a test can call `asset(database=…, run_window=…)`.
"""

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from retail_pipeline.dagster_support.asset_results import table_result
from retail_pipeline.dagster_support.check_results import one_row
from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database, Role


@dataclass(frozen=True)
class Step:
    """The input of an asset or check.

    Attributes:
        database: The database, with the scientist's role.
        as_of: The as-of date of the landed data.
        horizon_days: The run's horizon.
        run_window: The run's settings.
    """

    database: Database
    as_of: date
    horizon_days: int
    run_window: RunWindow

    @property
    def at(self) -> str:
        """The SQL condition for rows at this date and horizon."""
        return f"as_of_date = '{self.as_of}' and horizon_days = {self.horizon_days}"

    def row(self, statement: str, **params: Any) -> dict[str, Any]:
        """Return the only row of a query.

        The query can use the parameters `as_of` and `horizon` beside those given.
        """
        window = {"as_of": self.as_of, "horizon": self.horizon_days}
        return one_row(self.database, statement, window | params)


def clv_asset(
    *deps: str,
    table: str | None = None,
    kinds: Sequence[str] = ("python", "postgres"),
    **options: Any,
) -> Callable[[Callable[..., tuple[int, dict[str, Any]]]], dg.AssetsDefinition]:
    """Return a decorator that makes an asset of a step that writes a table.

    The step returns the number of rows written and the metadata. It must be safe to repeat, as
    Dagster retries it after a lost connection.

    Args:
        deps: Keys of the upstream assets, such as `clv/model`.
        table: Table of the schema `clv`; by default the name of the asset.
        kinds: Labels that the UI shows beside the name.
        options: Further arguments of `dagster.asset`.
    """

    def decorated(body: Callable[..., tuple[int, dict[str, Any]]]) -> dg.AssetsDefinition:
        name = f"clv.{table or body.__name__}"

        def materialized(step: Step, **resources: Any) -> dg.MaterializeResult:
            started = time.monotonic()
            rows, metadata = body(step, **resources)
            return table_result(step.database, name, rows, started, **metadata)

        return dg.asset(
            key_prefix="clv",
            deps=[dg.AssetKey.from_user_string(key) for key in deps],
            group_name="clv",
            owners=["team:data-science"],
            kinds=set(kinds),
            **options,
        )(retried(_of_resources(body, materialized)))

    return decorated


def clv_check(
    asset: str, *, blocking: bool = False
) -> Callable[[Callable[[Step], dg.AssetCheckResult]], dg.AssetChecksDefinition]:
    """Return a decorator that makes an asset check of a step.

    Args:
        asset: Name of the asset in this package, such as `model`.
        blocking: Whether an error stops the downstream assets.
    """

    def decorated(body: Callable[[Step], dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        return dg.asset_check(asset=["clv", asset], blocking=blocking)(_of_resources(body, body))

    return decorated


def _of_resources(body: Callable[..., Any], step: Callable[[Step], Any]) -> Callable[..., Any]:
    """Return the step as a function of Dagster's resources, with the body's name and docstring."""

    def run(database: dg.ResourceParam[Database], run_window: RunWindow, **resources: Any) -> Any:
        as_of, horizon_days = run_window.landed(database)
        given = Step(database.as_role(Role.SCIENTIST), as_of, horizon_days, run_window)
        return step(given, **resources)

    first = list(inspect.signature(run).parameters.values())[:2]
    others = list(inspect.signature(body).parameters.values())[1:]
    seen = inspect.Signature([*first, *others], return_annotation=step.__annotations__["return"])
    run = functools.wraps(body)(run)
    run.__signature__ = seen  # type: ignore[attr-defined]
    return run
