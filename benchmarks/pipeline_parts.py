"""The parts of a run called one after another in a process of its own, without Dagster's engine.

`python -m benchmarks.pipeline_parts CUSTOMERS` makes everything that a run makes in the
home that the environment names: the server and its tables, the sync by the embedded engine, `dbt
build`, then the bodies of the Python assets and checks, as plain calls in the order of the graph.
No step, no event, no storage; it prints the seconds of each part as JSON. Importing Dagster, which
declares the bodies, is outside of the parts; what a body imports is inside. The report of the run
reads the run's events, so only the whole run writes it.
"""

import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    DagsterInstance,
    build_asset_context,
)

from retail_pipeline.airbyte_engine.source import READERS
from retail_pipeline.build import build_definitions
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.generation import (
    begin,
    note_landed,
)
from retail_pipeline.postgres import (
    Database,
    Role,
    open_database,
)
from retail_pipeline.retail_api import (
    default_as_of,
    serving,
    source_id,
)
from retail_pipeline.settings import (
    Settings,
    SimulatorSource,
)
from retail_pipeline.warehouse.run import dbt_build

JOB = "pipeline"
_OF_EVENTS = AssetKey(["report", "run_report"])
_RUN = "bench"
_OTHERWISE = ("retail_api", "transactional", "staging", "intermediate", "warehouse")
"""Layers whose work is not that of a Python body."""


def main() -> None:
    """Make everything and print the seconds by part."""
    settings = Settings.from_environment()
    source = SimulatorSource(customers=int(sys.argv[1]), seed=7)
    definitions, as_of = build_definitions(settings), default_as_of(source)
    seconds: dict[str, float] = {}

    def timed(part: str, work: Callable[[], Any]) -> None:
        began = time.perf_counter()
        work()
        seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - began

    database = open_database(settings)
    timed("database", lambda: database.execute("select 1"))
    timed("sync", lambda: _sync(settings, database, source, as_of))
    timed("dbt build", lambda: dbt_build(database.url, as_of=as_of))
    given = {"database": database, "settings": settings, "run_window": RunWindow()}
    for part, body in _bodies(definitions, given):
        timed(part, body)
    sys.stdout.write(json.dumps(seconds) + "\n")


def _sync(settings: Settings, database: Database, source: SimulatorSource, as_of: date) -> None:
    """Read the bundled API into the landing tables, all connections at once."""
    READERS.start()
    from retail_pipeline.airbyte_engine.engine import Engine
    from retail_pipeline.ingestion.specs import load_folder

    folder, loader = load_folder(), database.as_role(Role.LOADER)
    streams = [each.name for one in folder.connections.values() for each in one.streams]
    with serving(source, as_of, settings.api_key) as url:
        state = begin(
            database, source_id=source_id(source), as_of=as_of, run_id=_RUN, streams=streams
        ).state
        values = {
            "RETAIL_API_URL": url,
            "RETAIL_API_KEY": settings.api_key,
            "RETAIL_API_END": f"{as_of}T00:00:00Z",
        }
        with Engine(folder, loader, values, generation=state.generation) as engine:
            started = [engine.start(connection.id) for connection in folder.connections.values()]
            jobs = [engine.wait(each.job_id) for each in started]
    if failed := [job.reason for job in jobs if job.status != "succeeded"]:
        raise SystemExit(f"the sync failed: {failed}")
    for stream in streams:
        note_landed(loader, stream=stream, state=state, run_id=_RUN)


def _bodies(
    definitions: Any, given: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield group and body of each Python asset of the main job, its checks after it."""
    layer = definitions.resolve_job_def(JOB).asset_layer
    graph = layer.asset_graph
    for key in graph.toposorted_asset_keys:
        if key == _OF_EVENTS or key.path[0] in _OTHERWISE:
            continue
        if key in layer.executable_asset_keys:
            checks = sorted(graph.get(key).check_keys)
            for owner in (graph.assets_def_for_key(key), *map(graph.assets_def_for_key, checks)):
                yield str(graph.get(key).group_name), _call(owner, given)


def _call(owner: AssetsDefinition, given: Mapping[str, Any]) -> Callable[[], object]:
    wanted = inspect.signature(owner.op.compute_fn.decorated_fn).parameters  # type: ignore[union-attr]
    known = {name: value for name, value in given.items() if name in wanted}

    def call() -> object:
        if "context" not in wanted:
            return _exhausted(owner(**known))
        with DagsterInstance.ephemeral() as instance:
            return _exhausted(owner(build_asset_context(instance=instance), **known))

    return call


def _exhausted(result: object) -> object:
    return list(result) if inspect.isgenerator(result) else result


if __name__ == "__main__":
    main()
