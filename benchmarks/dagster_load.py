"""Dagster under load: the growth of its storage, readers of the UI, and runs at the same time.

    python -m benchmarks.dagster_load storage --runs 100
    python -m benchmarks.dagster_load readers --readers 50
    python -m benchmarks.dagster_load together

Each works in a home of its own, or in that of `--home`, which it keeps. It prints JSON:

- storage: rows and MiB of each table of Dagster's database after every tenth of the runs, and after
  the retention has removed all but the latest runs. The first run is the whole job; `--select`
  chooses the assets of the others.
- readers: p50 and p95 of the UI's queries, alone and with readers at once, and their ratio. Each
  reader asks all of them every `--pause` seconds.
- together: how three runs of the command line and a backfill end that start at once.
"""

import argparse
import concurrent.futures
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import typer

from retail_pipeline.cli.instance import open_instance
from retail_pipeline.postgres.open import dagster_database_url
from retail_pipeline.settings import PROJECT_ROOT, Settings

COMMAND = [sys.executable, "-m", "retail_pipeline.cli"]
_JOB = {"repositoryName": "__repository__", "repositoryLocationName": "retail_pipeline"}
_TABLES = """
select relname, n_live_tup, round(pg_total_relation_size(relid) / 1048576.0, 2)::float
from pg_stat_user_tables order by 3 desc, 1
"""
QUERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "runs": ("{runsOrError(limit: 25) {... on Runs {results {id status tags {key value}}}}}", {}),
    "assets": (
        "{assetNodes {id assetKey {path} assetMaterializations(limit: 1) {timestamp runId "
        "metadataEntries {label}}}}",
        {},
    ),
    "job": (
        "query($job: PipelineSelector!) {pipelineOrError(params: $job) {... on Pipeline "
        "{runs(limit: 10) {id status stats {... on RunStatsSnapshot {stepsSucceeded}}}}}}",
        {"job": {**_JOB, "pipelineName": "pipeline"}},
    ),
    "daemons": ("{instance {daemonHealth {allDaemonStatuses {daemonType healthy}}}}", {}),
}
"""Queries like those of the UI's pages."""

_CUTOFFS = """{assetNodeOrError(assetKey: {path: ["clv", "backtest"]}) {... on AssetNode {
    partitionKeys}}}"""
_BACKFILL = """mutation($names: [String!]!) {launchPartitionBackfill(backfillParams: {
    assetSelection: [{path: ["clv", "backtest"]}], partitionNames: $names}) {
    ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}}}"""
_BACKFILL_STATUS = """query($id: String!) {partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill {status}}}"""


def main() -> None:
    """Run one of the three measurements and print its result as JSON."""
    measures = {"storage": _storage, "readers": _readers, "together": _together}
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=list(measures))
    parser.add_argument("--home", type=Path, help="A folder of state to use and keep.")
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--select", help="The assets of all runs but the first; all by default.")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--pause", type=float, default=5, help="Seconds between a reader's pages.")
    parser.add_argument("--seconds", type=int, default=60, help="Length of a phase of readers.")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="load-") as folder:
        os.environ["RETAIL_HOME"] = str(given.home or folder)
        os.environ["RETAIL_SOURCE"] = f"simulator:?customers={given.customers}&seed=7"
        try:
            typer.echo(json.dumps(measures[given.what](given), indent=1))
        finally:
            if given.home is None:
                subprocess.run([*COMMAND, "down"], check=False, capture_output=True)


def _run(*words: str) -> None:
    subprocess.run([*COMMAND, "run", *words], check=True, cwd=PROJECT_ROOT, capture_output=True)


def _sizes() -> dict[str, Any]:
    settings = Settings.from_environment()
    with psycopg.connect(dagster_database_url(settings), autocommit=True) as connection:
        connection.execute("vacuum (full, analyze)")  # the size of the rows alone
        tables = connection.execute(_TABLES).fetchall()
        [[total]] = connection.execute("select pg_database_size(current_database())").fetchall()
    shown = {name: {"rows": rows, "mib": mib} for name, rows, mib in tables if rows}
    files = sum(path.stat().st_size for path in (settings.home / "dagster").rglob("*"))
    return {"mib": round(total / 2**20, 1), "files_mib": round(files / 2**20, 2), "tables": shown}


def _storage(given: argparse.Namespace) -> dict[str, Any]:
    from retail_pipeline.automation.maintenance import remove_older
    from retail_pipeline.dagster_support.leftovers import delete_leftovers

    chosen = ["--select", given.select] if given.select else []
    sizes = {}
    for number in range(1, given.runs + 1):
        _run(*(chosen if number > 1 else []))
        if number == 1 or number % max(1, given.runs // 10) == 0:
            sizes[f"after {number}"] = _sizes()
            typer.echo(f"{number} runs: {sizes[f'after {number}']['mib']} MiB", err=True)
    began, soon = time.monotonic(), datetime.now(UTC) + timedelta(minutes=1)
    with open_instance(Settings.from_environment()) as instance:
        removed, leftovers = remove_older(instance, soon), delete_leftovers(instance, soon)
    sizes["after upkeep"] = _sizes()
    seconds = round(time.monotonic() - began, 1)
    return {**sizes, "removed": {"runs": removed, "leftovers": leftovers, "seconds": seconds}}


@contextmanager
def _ui() -> Iterator[str]:
    """Yield the address of GraphQL of `retail-pipeline dev`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [*COMMAND, "dev", "--port", str(port)]
    with (Settings.from_environment().home / "dev.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/graphql"
    try:
        for _ in range(240):
            try:
                _ask(url, *QUERIES["assets"])
                break
            except urllib.error.URLError:
                time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait(120)


def _ask(url: str, query: str, variables: dict[str, Any]) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        content = json.load(answer)
    assert "errors" not in content, content
    return next(iter(content["data"].values()))


def _timed(url: str, seconds: float, pause: float) -> dict[str, list[float]]:
    """Return the seconds of each query of a reader, who asks them all and pauses, for a time."""
    times: dict[str, list[float]] = {name: [] for name in QUERIES}
    end = time.monotonic() + seconds
    time.sleep(random.uniform(0, pause))
    while time.monotonic() < end:
        for name, query in QUERIES.items():
            began = time.monotonic()
            _ask(url, *query)
            times[name].append(time.monotonic() - began)
        time.sleep(pause)
    return times


def _readers(given: argparse.Namespace) -> dict[str, Any]:
    if given.home is None:
        _run()
    with _ui() as url, concurrent.futures.ThreadPoolExecutor(given.readers) as pool:
        _timed(url, 5, 0)
        idle = _timed(url, given.seconds, 0.1)
        asked = [pool.submit(_timed, url, given.seconds, given.pause) for _ in range(given.readers)]
        busy = [each.result() for each in asked]
    found = {}
    for name in QUERIES:
        alone, together = idle[name], [second for each in busy for second in each[name]]
        cells = {"idle": _quantiles(alone), f"{given.readers} readers": _quantiles(together)}
        ratio = [round(b / a, 1) for a, b in zip(*cells.values(), strict=True)]
        found[name] = {**cells, "ratio": ratio, "answers": len(together)}
    return {"seconds, p50 and p95": found}


def _quantiles(seconds: list[float]) -> list[float]:
    return [
        round(statistics.median(seconds), 4),
        round(sorted(seconds)[len(seconds) * 19 // 20], 4),
    ]


def _together(given: argparse.Namespace) -> dict[str, Any]:
    if given.home is None:
        _run()
    with _ui() as url:
        names = _ask(url, _CUTOFFS, {})["partitionKeys"]
        began = time.monotonic()
        runs = [
            subprocess.Popen([*COMMAND, "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in range(3)
        ]
        launched = _ask(url, _BACKFILL, {"names": names})
        outputs = [each.communicate(timeout=3600)[0].decode() for each in runs]
        seconds = time.monotonic() - began
        while (
            status := _ask(url, _BACKFILL_STATUS, {"id": launched["backfillId"]})["status"]
        ) == "REQUESTED":
            time.sleep(1)
        total = time.monotonic() - began
    errors = [re.findall("error: .*", text)[-1:] for text in outputs]
    return {
        "runs": [{"code": run.returncode, "error": e} for run, e in zip(runs, errors, strict=True)],
        "runs_seconds": round(seconds, 1),
        "backfill": {"status": status, "partitions": len(names), "seconds": round(total, 1)},
    }


if __name__ == "__main__":
    main()
