"""After a fault in the middle of a run, another run gives the tables of an undisturbed one.

Each case starts from a copy of one state, disturbs a run with an as-of date a month later, and runs
again. A case takes two runs, so only one is tried by default, a kill of a first run.
RETAIL_TEST_FAULTS=all tries five restarts of PostgreSQL, ten kills, a full disk, a worker killed as
for lack of memory, and each damage of each file of the state; `.ci/faults` prints a line for each.
RETAIL_TEST_FAULTS_SEED chooses other moments.
"""

import logging
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from retail_pipeline.postgres.server import EmbeddedServer
from retail_pipeline_tests.cli.command import DONE, Cli
from retail_pipeline_tests.damages import DAMAGES, damage

_LOG = logging.getLogger(__name__)

ALL = os.environ.get("RETAIL_TEST_FAULTS") == "all"
SEED = int(os.environ.get("RETAIL_TEST_FAULTS_SEED", "4"))
RESTARTS, KILLS = (5, 10) if ALL else (0, 1)

SOURCE = f"simulator:?customers={300 if ALL else 100}&seed=7"
TABLES = (
    "group:transactional or group:staging or group:intermediate or group:warehouse "
    'or (group:clv and not key:"clv/backtest")'
)
"""The selection of assets with tables, without the files that every run writes again."""
EVERYTHING = ("run", "--source", SOURCE, "--horizon-days", "60")
RUN = (*EVERYTHING, "--select", TABLES)
BEFORE, AFTER = ("2024-06-01", "2024-07-01") if ALL else ("2023-08-01", "2023-09-01")
PATIENCE_SECONDS = 300

STATE = (
    *("dagster", "dagster/dagster.yaml", "dagster/storage", "dagster/at_work"),
    *("dagster/at_work/7ab1.lock", "dbt", "dbt/target", "dbt/target/partial_parse.msgpack"),
    *("dbt/target/manifest.json", "dbt/target/run_results.json", "logs", "logs/run.log"),
    *("logs/syncs", "postgres/start.lock", "postgres/server.log"),
)
"""Files and folders of the state that the next run makes again."""

_SCHEMAS = ("transactional", "staging", "intermediate", "warehouse", "clv")
_OF_THE_RUN = (
    # Times, durations and run ids differ between any two runs.
    *("predicted_at", "trained_at", "decided_at", "scored_at", "fit_seconds", "load_seconds"),
    *("dbt_updated_at", "run_id", "seconds", "made_at"),
)


@dataclass
class Home:
    """A RETAIL_HOME with its own PostgreSQL, and the command line for it."""

    folder: Path

    @property
    def server(self) -> EmbeddedServer:
        return EmbeddedServer(self.folder / "postgres")

    @property
    def cli(self) -> Cli:
        return Cli({"RETAIL_HOME": str(self.folder), "PYTHONUNBUFFERED": "1"})

    def start(self, as_of: str, command: Sequence[str] = RUN) -> subprocess.Popen[str]:
        return self.cli.start(*command, "--as-of", as_of)

    def run(self, as_of: str) -> None:
        """Run in a new process; a failed run is an error."""
        done = self.cli.run(*RUN, "--as-of", as_of)
        assert done.returncode == DONE, done.stdout + done.stderr

    def tables(self) -> dict[str, str]:
        """Return a digest of each table's rows, without columns that differ between runs."""
        with psycopg.connect(self.server.start()) as connection:
            columns = connection.execute(
                "select format('%%I.%%I', table_schema, table_name), "
                "string_agg(format('%%I', column_name), ', ' order by column_name) "
                "from information_schema.columns join information_schema.tables "
                "using (table_schema, table_name) where table_schema = any(%s) "
                "and table_type = 'BASE TABLE' and column_name <> all(%s) "
                "and column_name not like '\\_airbyte%%' group by 1 order by 1",
                [list(_SCHEMAS), list(_OF_THE_RUN)],
            ).fetchall()
            return {table: _fingerprint(connection, table, names) for table, names in columns}


def _fingerprint(connection: psycopg.Connection, table: str, columns: str) -> str:
    # Distinct rows, because a repeated decision adds an equal one.
    row = connection.execute(
        f"select count(*) || ':' || coalesce(md5(string_agg(r::text, '|' order by r::text)), '') "
        f"from (select distinct {columns} from {table}) as r"
    ).fetchone()
    assert row is not None
    return str(row[0])


@dataclass(frozen=True)
class Start:
    """The state at the start of each case, and the digests of an undisturbed run from it."""

    folder: Path
    tables: dict[str, str]
    seconds: float


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    home = Home(tmp_path_factory.mktemp("faults") / "home")
    home.folder.mkdir()
    if ALL:
        home.run(BEFORE)
        home.server.stop()
    kept = home.folder.with_name("kept")
    shutil.copytree(home.folder, kept, symlinks=True)
    began = time.monotonic()
    assert home.cli(*RUN, "--as-of", AFTER).returncode == DONE
    seconds = time.monotonic() - began
    tables = home.tables()
    home.server.remove()
    yield Start(kept, tables, seconds)
    shutil.rmtree(kept)


@contextmanager
def copied(start: Start, folder: Path) -> Iterator[Home]:
    home = Home(folder)
    shutil.copytree(start.folder, folder, symlinks=True, dirs_exist_ok=True)
    try:
        yield home
    finally:
        home.server.remove()


def disturbed(
    home: Home, disturb: Callable[[subprocess.Popen[str]], None], command: Sequence[str] = RUN
) -> tuple[int, str]:
    """Return the exit code and the output of a disturbed run."""
    process = home.start(AFTER, command)
    disturb(process)
    said, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, said + errors


def moments(kind: str, count: int) -> list[float]:
    """Return the moments of the disturbances, as shares of a run's length."""
    chance = random.Random(f"{kind} {SEED}")
    return [round(chance.uniform(0.05, 0.95), 3) for _ in range(count)]


def repair(home: Home, start: Start) -> None:
    home.run(AFTER)
    tables = home.tables()
    assert {name for name in tables if tables[name] != start.tables.get(name)} == set()
    assert tables.keys() == start.tables.keys()


@pytest.mark.parametrize("moment", moments("restart", RESTARTS))
def test_postgresql_restarted_in_a_run(start: Start, tmp_path: Path, moment: float) -> None:
    with copied(start, tmp_path / "home") as home:

        def restart(process: subprocess.Popen[str]) -> None:
            time.sleep(moment * start.seconds)
            home.server.stop()
            home.server.start()

        code, said = disturbed(home, restart)
        _LOG.warning("restart at %s: exit %s %s", moment, code, said[-300:] if code else "")
        assert code in (0, 1)
        assert "Traceback" not in said
        repair(home, start)


@pytest.mark.parametrize("moment", moments("kill", KILLS))
def test_the_process_killed_in_a_run(start: Start, tmp_path: Path, moment: float) -> None:
    with copied(start, tmp_path / "home") as home:

        def kill(process: subprocess.Popen[str]) -> None:
            time.sleep(moment * start.seconds)
            process.kill()

        code, _ = disturbed(home, kill)
        _LOG.warning("kill at %s: exit %s", moment, code)
        repair(home, start)


@pytest.mark.skipif(not ALL, reason="a run for each; RETAIL_TEST_FAULTS=all")
@pytest.mark.parametrize("way", DAMAGES)
@pytest.mark.parametrize("name", STATE)
def test_damaged_state_before_a_run(start: Start, tmp_path: Path, name: str, way: str) -> None:
    with copied(start, tmp_path / "home") as home:
        damage(home.folder / name, way)
        repair(home, start)


@pytest.mark.skipif(not ALL, reason="two runs; RETAIL_TEST_FAULTS=all")
def test_a_disk_that_fills_up_in_a_run(start: Start, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    used = sum(path.lstat().st_size for path in start.folder.rglob("*")) // 2**20
    with _file_system(disk, used + 6), copied(start, disk) as home:
        code, said = disturbed(home, lambda process: None)
        _LOG.warning("disk full: exit %s %s", code, said[-300:])
        assert code == 1
        assert "Traceback" not in said
        subprocess.run(["mount", "-o", f"remount,size={used + 2048}m", str(disk)], check=True)
        repair(home, start)


@pytest.mark.skipif(not ALL, reason="two runs; RETAIL_TEST_FAULTS=all")
def test_a_worker_that_the_system_kills_where_memory_runs_out(start: Start, tmp_path: Path) -> None:
    with copied(start, tmp_path / "home") as home:

        def kill_a_worker(process: subprocess.Popen[str]) -> None:
            while not (workers := _workers_of(process.pid)):
                assert process.poll() is None
                time.sleep(0.05)
            os.kill(workers[-1], signal.SIGKILL)

        # At this size only the figures are drawn in worker processes.
        code, said = disturbed(home, kill_a_worker, EVERYTHING)
        _LOG.warning("worker killed: exit %s %s", code, said[-300:])
        assert code == 1
        assert "Traceback" not in said
        assert "memory" in said
        repair(home, start)


def _workers_of(pid: int) -> list[int]:
    """Return the worker processes that joblib has started for a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(pid) and "popen_loky" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


@contextmanager
def _file_system(folder: Path, mebibytes: int) -> Iterator[None]:
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mounting, check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode != 0:
        pytest.skip("a file system of its own needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
