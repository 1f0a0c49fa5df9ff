"""A small graph under the real automation; a test sets what lands and what fails."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    DagsterInstance,
    DataVersion,
    Definitions,
    MaterializeResult,
    RunRequest,
    asset,
    build_sensor_context,
    evaluate_automation_conditions,
)

from retail_pipeline.automation import (
    build_automation,
    with_conditions,
)
from retail_pipeline.automation.environments import Starter
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.settings import (
    Environment,
    Settings,
)

STREAMS = ("transactional/carts", "transactional/people")
"""Streams with other names than those of the bundled API."""
WAREHOUSE = (
    "staging/stg_transactions",
    "warehouse/fct_transactions",
    "warehouse/customer_features",
    "warehouse/revenue_daily",
)
CLV = ("clv/model", "clv/predictions", "clv/segments", "clv/realised_predictions")
FIGURES = ("figures/gain_curve", "figures/revenue_over_time")

_UPSTREAM = {
    "staging/stg_transactions": STREAMS,
    "warehouse/fct_transactions": ["staging/stg_transactions"],
    "warehouse/customer_features": ["warehouse/fct_transactions"],
    "warehouse/revenue_daily": ["staging/stg_transactions"],
    "clv/backtest": ["warehouse/customer_features"],
    "clv/model": ["warehouse/customer_features"],
    "clv/predictions": ["clv/model", "warehouse/customer_features"],
    "clv/segments": ["clv/predictions"],
    "clv/realised_predictions": ["clv/predictions"],
    "figures/gain_curve": ["clv/predictions", "warehouse/revenue_daily"],
    "figures/revenue_over_time": ["warehouse/revenue_daily"],
}
_OWNER = {"transactional": "team:data-platform", "clv": "team:data-science"}


@dataclass
class World:
    """The state of source and failures, and the graph that reads it."""

    home: Path
    as_of: date = date(2024, 6, 10)
    generation: int = 1
    transactions: int = 1000
    failing: dict[str, str] = field(default_factory=dict)
    """The reason of the failure, by asset."""
    wrong: dict[str, AssetCheckSeverity] = field(default_factory=dict)
    """The severity of the failed check, by asset."""

    def definitions(self) -> Definitions:
        names = [*STREAMS, *WAREHOUSE, "clv/backtest", *CLV, *FIGURES]
        assets = Definitions(
            assets=[self._asset(name) for name in names], resources={"run_window": RunWindow()}
        )
        settings = Settings(environment=Environment.PRODUCTION, home=self.home)
        resources = Definitions(resources={"settings": settings})
        return Definitions.merge(with_conditions(assets), build_automation(settings), resources)

    def _asset(self, name: str):
        group = name.split("/", maxsplit=1)[0]

        @asset(
            key=AssetKey(name.split("/")),
            group_name=group,
            deps=[AssetKey(up.split("/")) for up in _UPSTREAM.get(name, [])],
            owners=[_OWNER.get(group, "team:analytics-engineering")],
            check_specs=[
                AssetCheckSpec(
                    "is_right", asset=AssetKey(name.split("/")), blocking=group == "transactional"
                )
            ],
        )
        def table(run_window: RunWindow) -> MaterializeResult:
            if name in self.failing:
                raise RuntimeError(self.failing[name])
            # Two builds over the same landing tables have the same rows.
            rows = f"{self.as_of}-{self.transactions}"
            return MaterializeResult(
                data_version=DataVersion(rows) if group == "warehouse" else None,
                metadata={
                    "as_of": self.as_of.isoformat(),
                    "generation": self.generation,
                    "dagster/row_count": self.transactions,
                },
                check_results=[
                    AssetCheckResult(
                        passed=name not in self.wrong,
                        severity=self.wrong.get(name, AssetCheckSeverity.ERROR),
                        check_name="is_right",
                        description=f"{name} is not right" if name in self.wrong else None,
                    )
                ],
            )

        return table


@dataclass
class Daemon:
    """A daemon that evaluates the conditions and sensors of a world and starts their runs.

    Another daemon with the same cursors continues as after a restart.
    """

    world: World
    instance: DagsterInstance
    condition_cursors: dict[str, object] = field(default_factory=dict)
    sensor_cursors: dict[str, str | None] = field(default_factory=dict)

    def run(self, *names: str, job: str = "pipeline", window: dict | None = None) -> str:
        """Run a job, or some of its assets, and return the id of the run."""
        selection = [AssetKey(name.split("/")) for name in names] or None
        config = {"resources": {"run_window": {"config": window}}} if window else None
        return (
            self.world.definitions()
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                asset_selection=selection,
                run_config=config,
                raise_on_error=False,
            )
            .run_id
        )

    def tick_conditions(self, sensor: str) -> set[str]:
        """Return the assets that the conditions of a sensor request in one tick."""
        definitions = self.world.definitions()
        result = evaluate_automation_conditions(
            definitions,
            self.instance,
            asset_selection=definitions.resolve_sensor_def(sensor).asset_selection,
            cursor=self.condition_cursors.get(sensor),
        )
        self.condition_cursors[sensor] = result.cursor
        return {
            name
            for name in (*WAREHOUSE, *FIGURES)
            if result.get_num_requested(AssetKey(name.split("/")))
        }

    def tick_sensor(self, name: str = Starter.CLV_AFTER_NEW_FEATURES) -> list[RunRequest]:
        """Return the runs that a sensor requests in one tick."""
        definitions = self.world.definitions()
        context = build_sensor_context(
            instance=self.instance,
            cursor=self.sensor_cursors.get(name),
            definitions=definitions,
            sensor_name=name,
        )
        data = definitions.resolve_sensor_def(name).evaluate_tick(context)
        self.sensor_cursors[name] = data.cursor
        return list(data.run_requests or [])

    def tick(self) -> list[str]:
        """Tick once, start the requested runs and return a line per run."""
        done = []
        for sensor in (Starter.WAREHOUSE_AFTER_LANDING, Starter.FIGURES_AFTER_PREDICTIONS):
            if names := self.tick_conditions(sensor):
                self.run(*sorted(names))
                done.append(sensor)
        for request in self.tick_sensor():
            self.run(job=str(request.job_name))
            done.append(str(request.job_name))
        return done

    def tick_until_quiet(self) -> list[str]:
        """Tick until nothing is requested and return a line per run."""
        done: list[str] = []
        for _ in range(20):
            more = self.tick()
            if not more:
                return done
            done += more
        raise AssertionError(f"the automation does not come to rest: {done}")


def keys(requests: Iterable[RunRequest]) -> list[str | None]:
    return [request.run_key for request in requests]
