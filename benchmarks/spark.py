"""Growth with the number of customers, on PostgreSQL and on Spark with two executors in one run.

For each number of customers, in a separate database: the models up to `customer_features` with
their data tests, and the predictions in `clv.predictions`. Spark also lands the tables. The shop is
a simulated one in copies: each copy of a customer is another customer. Each executor has one core
and a heap of 2 GiB. Spark needs `make spark`. `peak_mib` is the peak memory of the
database server and the processes that score, of Spark's driver, or of all executors.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.on_spark import SELECTED, predicted
from benchmarks.processes import below, proportional_mib
from benchmarks.results import Result
from benchmarks.valued import marts
from retail_pipeline.clv.evaluation import promotion
from retail_pipeline.clv.models import registry
from retail_pipeline.clv.serving.predicting import predict
from retail_pipeline.clv.serving.valuation import Valuation, value_customers
from retail_pipeline.direct_landing import land_records
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.scratch import scratch_database
from retail_pipeline.retail_api.simulator import DEFAULT_AS_OF, simulate
from retail_pipeline.settings import PROJECT_ROOT, Settings
from retail_pipeline.warehouse.run import dbt_build

SIZES: Final = (250_000, 1_000_000, 4_000_000)
"""Customers."""

HORIZON_DAYS: Final = predicted(DEFAULT_AS_OF).horizon_days
_SCORED: Final = (
    *("warehouse.customer_features", "warehouse.fct_transaction_items", "warehouse.product_costs"),
)
"""The tables that are read for the predictions."""

LANDING, FEATURES, SCORING = "landing", "features", "scoring"
_MOST_SIMULATED = 250_000
_TRAINED_ON = 20_000
_SAMPLE_SECONDS = 0.5
_OPTIONS = """
spark.master local-cluster[2,1,2048]
spark.executor.memory 2g
spark.driver.memory 2g
spark.driver.bindAddress 127.0.0.1
spark.driver.host 127.0.0.1
spark.ui.enabled false
spark.ui.showConsoleProgress false
spark.sql.shuffle.partitions 64
"""

Note = Callable[[Result], None]


def run(sizes: Sequence[int], *, note: Note) -> list[Result]:
    """Return one measurement per size, step and engine.

    Raises:
        PipelineError: Spark is not installed, or a step failed.
    """
    settings = Settings.from_environment()
    python = settings.home / "spark" / "venv" / "bin" / "python"
    if not python.exists():
        raise PipelineError(f"{python} is missing: run `make spark` first")
    features, entries = marts(
        simulate(customers=_TRAINED_ON, seed=7, until=DEFAULT_AS_OF).records,
        DEFAULT_AS_OF,
        settings,
    )
    valuation = value_customers(features, entries, DEFAULT_AS_OF, HORIZON_DAYS)
    results = []
    for customers in sizes:
        for result in _measure(settings, python.absolute(), valuation, customers):
            note(result)
            results.append(result)
    return results


def _measure(
    settings: Settings, python: Path, valuation: Valuation, customers: int
) -> Iterator[Result]:
    with scratch_database(settings) as database, TemporaryDirectory(dir=settings.home) as folder:
        _fill(database, customers)
        _serve(database, valuation)
        server = _server(database)

        def measured(step: str, function: Callable[[], object]) -> Result:
            began = time.perf_counter()
            with _memory(lambda: _of_postgres(server)) as peaks:
                function()
            seconds = time.perf_counter() - began
            return Result.of("spark", step, customers, "postgres", seconds, peaks[""])

        yield measured(FEATURES, lambda: dbt_build(database.url, SELECTED, as_of=DEFAULT_AS_OF))
        _drop(database, *_SCORED)
        scientist = database.as_role(Role.SCIENTIST)
        yield measured(SCORING, lambda: predict(scientist, predicted(DEFAULT_AS_OF)))
        total = _total(database)
        database.execute(
            "create table warehouse.dates as select distinct as_of_date "
            "from warehouse.customer_features"
        )
        _drop(database, "warehouse.dates")
        database.execute(
            "create view warehouse.customer_features as select * from warehouse.dates; "
            "grant select on warehouse.customer_features to retail_scientist; "
            "delete from clv.predictions"
        )
        yield from _on_spark(database, python, Path(folder), customers)
        if abs(_total(database) - total) >= 0.005:
            raise PipelineError(f"the totals differ: {total} and {_total(database)}")


def _on_spark(database: Database, python: Path, folder: Path, customers: int) -> Iterator[Result]:
    (folder / "spark-defaults.conf").write_text(_OPTIONS)
    logins = {role: database.as_role(role).url for role in (Role.TRANSFORMER, Role.SCIENTIST)}
    process = subprocess.Popen(
        [str(python), "-m", "benchmarks.on_spark", str(folder / "lake"), str(DEFAULT_AS_OF)],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT_ROOT),
            "PYSPARK_PYTHON": str(python),
            "SPARK_CONF_DIR": str(folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(folder / "scratch"),
            "SPARK_WORKER_DIR": str(folder / "work"),
            **{f"{role.name}_URL": url for role, url in logins.items()},
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        for step in (LANDING, FEATURES, SCORING):
            with _memory(lambda: _of_spark(process.pid)) as peaks:
                seconds = _seconds(process.stdout, step)
            for part in ("driver", "executors"):
                yield Result.of(
                    "spark", step, customers, f"spark: {part}", seconds, peaks.get(part)
                )
            if step == LANDING:  # the disk is needed for Spark's own files
                database.execute("drop table transactional.transactions cascade")
    finally:
        process.terminate()
        process.wait()


def _seconds(output: Iterator[str], step: str) -> float:
    for line in output:
        if line.startswith(f"{step} took "):
            return float(line.split()[2])
        sys.stderr.write(line)
    raise PipelineError(f"the {step} on Spark failed; its reason is above")


def _of_postgres(server: int) -> Mapping[str, list[int]]:
    """Return the processes of the server and those of this program."""
    return {"": [each for top in (server, os.getpid()) for each in (top, *below(top))]}


def _of_spark(pid: int) -> Mapping[str, list[int]]:
    """Return the processes of the driver and those of the executors."""
    parts: dict[str, list[int]] = {"driver": [pid], "executors": []}
    for each in below(pid):
        try:
            command = Path(f"/proc/{each}/cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        is_executor = b"CoarseGrainedExecutorBackend" in command or b"pyspark.daemon" in command
        parts["executors" if is_executor else "driver"].append(each)
    return parts


@contextmanager
def _memory(processes: Callable[[], Mapping[str, list[int]]]) -> Iterator[dict[str, float]]:
    """Yield the peak memory of groups of processes in MiB, complete at the end of the block."""
    peaks: dict[str, float] = {}
    over = threading.Event()

    def watch() -> None:
        is_over = False
        while not is_over:
            for name, pids in processes().items():
                peaks[name] = max(peaks.get(name, 0.0), round(proportional_mib(pids), 1))
            is_over = over.wait(_SAMPLE_SECONDS)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()


def _server(database: Database) -> int:
    """Return the process of the server on this machine: the parent of each backend."""
    with database.connect() as connection:
        (backend,) = connection.execute("select pg_backend_pid()").fetchone() or (0,)
        fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


def _fill(database: Database, customers: int) -> None:
    """Land a simulated shop, in as many copies as the number of customers needs."""
    copies = -(-customers // _MOST_SIMULATED)
    land_records(
        database, simulate(customers=customers // copies, seed=7, until=DEFAULT_AS_OF).records
    )
    with database.as_role(Role.LOADER).connect() as connection:
        for table, ids in _IDS.items():
            found = connection.execute(
                "select attname::text from pg_attribute where attrelid = %s::regclass "
                "and attnum > 0 and not attisdropped order by attnum",
                [f"transactional.{table}"],
            )
            columns = [name for (name,) in found]
            values = [f"{c} || '-' || copy" if c in ids else c for c in columns]
            connection.execute(
                f"insert into transactional.{table} ({', '.join(columns)}) "
                f"select {', '.join(values)} from transactional.{table}, "
                f"generate_series(2, {copies}) as copy"
            )
            connection.execute(f"analyze transactional.{table}")


_IDS: Final = {"users": {"user_id"}, "transactions": {"user_id", "transaction_id"}}


def _serve(database: Database, valuation: Valuation) -> None:
    """Let the model of a valuation serve, with the calibration of its past tests."""
    scientist, as_of = database.as_role(Role.SCIENTIST), valuation.as_of
    training = registry.Training(as_of, HORIZON_DAYS, "benchmark", datetime.now(UTC))
    registry.save_candidates(scientist, valuation.candidates, training)
    versions = registry.candidate_versions(scientist, as_of, HORIZON_DAYS)
    promotion.promote(
        scientist, valuation.decision, versions, as_of, HORIZON_DAYS, datetime.now(UTC)
    )
    scientist.replace("clv.backtest_predictions", valuation.backtest.predictions, "true")


def _drop(database: Database, *kept: str) -> None:
    """Drop the tables of a build but some, as a large shop's do not fit on a small disk twice."""
    found = database.query(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in "
        "('warehouse', 'intermediate') and tablename !~ 'versions|codes'"
    )
    for name in set(found["name"]) - set(kept):
        database.execute(f"drop table {name} cascade")


def _total(database: Database) -> float:
    found = database.query("select sum(predicted_value)::float8 as total from clv.predictions")
    return float(found["total"].iloc[0])
