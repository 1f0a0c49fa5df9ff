"""dbt without Dagster: a build in any database, such as an evaluation's scratch database.

The pipeline's own build, with Dagster's events and checks, is in `assets`.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.project import (
    PROJECT_FOLDER,
    dbt_environment,
    dbt_program,
    recall,
)
from retail_pipeline.warehouse.results import read_failures


@dataclass(frozen=True)
class BuiltNode:
    """A model, seed, snapshot or test of a build, with its duration in seconds."""

    kind: str
    name: str
    seconds: float


def dbt_build(
    url: str,
    select: str | Sequence[str] = (),
    variables: Mapping[str, Any] | None = None,
    *,
    as_of: date | None = None,
    settings: Settings | None = None,
    target: Path | None = None,
    unit_tests: bool = False,
) -> list[BuiltNode]:
    """Run `dbt build` in a database and return the built and tested nodes.

    Builds of one checkout can run at the same time, because each has its own folder of artifacts.

    Args:
        url: The `postgresql://` address of a migrated database with filled landing tables.
        select: Nodes to build in dbt's selection syntax, such as `+customer_features`; all by
            default. Tests that need a model outside of the selection are left out.
        variables: dbt variables: `as_of_dates` (a list of days that replaces the month starts and
            the as-of date), `with_outcomes` (the marts also hold rows of the as-of date and later,
            as an evaluation needs them).
        as_of: The as-of date: only data before 00:00 of this day count; with None, all data.
        settings: The settings with the shop's rules; by default the defaults.
        target: The folder of dbt's artifacts; a second build with the same folder does not parse
            the project again. A temporary folder by default.
        unit_tests: Whether to run dbt's unit tests, which test the SQL and not the data.

    Raises:
        PipelineError: A model or a test of severity error failed; the message names it.
    """
    wanted = [select] if isinstance(select, str) else list(select)
    options = [
        *(("--vars", json.dumps(dict(variables), default=str)) if variables else ()),
        *(("--select", *wanted) if wanted else ()),
        *(() if unit_tests else ("--exclude-resource-type", "unit_test")),
    ]
    environment = dbt_environment(url, as_of, settings or Settings())
    with tempfile.TemporaryDirectory(prefix="retail-dbt-") as folder:
        return _build(environment, options, recall(target or Path(folder)))


def create_empty(environment: Mapping[str, str], target: Path, marts: Sequence[str]) -> None:
    """Create marts in PostgreSQL without rows, as dbt would with rows; existing ones are emptied.

    Args:
        environment: The result of `dbt_environment`.
        target: The folder of dbt's artifacts.
        marts: The names of the marts.

    Raises:
        PipelineError: A mart cannot be created; the message names it.
    """
    command = ["run", "--empty", "--select", "path:models/intermediate", *marts]
    _run(environment, [*command, "--target-path", str(target), "--log-path", str(target)], target)


def _build(environment: Mapping[str, str], options: list[str], target: Path) -> list[BuiltNode]:
    _run(
        environment,
        [
            *("build", "--quiet", "--target", "scratch"),
            *("--target-path", str(target), "--log-path", str(target)),
            *("--indirect-selection", "cautious", *options),
        ],
        target,
    )
    return _built(target)


def _run(environment: Mapping[str, str], arguments: Sequence[str], target: Path) -> None:
    done = subprocess.run(
        [dbt_program(), *arguments],
        cwd=PROJECT_FOLDER,
        env={**os.environ, **environment, "DBT_PROFILES_DIR": str(PROJECT_FOLDER)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        failures = read_failures(target)
        words = " ".join((done.stdout + done.stderr).split())
        raise PipelineError(
            failures.message if failures else f"dbt did not start to build: {words}"
        )


def _built(target: Path) -> list[BuiltNode]:
    results = json.loads((target / "run_results.json").read_text())["results"]
    named = [(result["unique_id"].split("."), result["execution_time"]) for result in results]
    return [BuiltNode(kind=parts[0], name=parts[2], seconds=seconds) for parts, seconds in named]
