"""After any fault at any moment, the tables equal the API's own records, to the cent.

`RETAIL_TEST_KILLS` sets how many syncs are killed (3 by default), `RETAIL_TEST_SEED` the moments.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.airbyte_engine.jobs import Job
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.server import EmbeddedServer
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.airbyte_engine.dumps import dumped, landed, money
from retail_pipeline_tests.airbyte_engine.paged_api import (
    PagedApi,
    products,
    serving,
    transactions,
)
from retail_pipeline_tests.airbyte_engine.test_sync import FOLDER, engine_for, wait_until

KILLS = int(os.environ.get("RETAIL_TEST_KILLS", "3"))
SEED = os.environ.get("RETAIL_TEST_SEED", "1")
STREAM = "transactions"
BASE = transactions(400 + KILLS)
TRANSACTIONS = FOLDER.connections["retail_api_transactions"].id
PRODUCTS = FOLDER.connections["retail_api_products"].id
WORKER = """
import sys
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.test_faults import *
engine = engine_for(Database(sys.argv[1]), sys.argv[2])
job = engine.start(TRANSACTIONS)
print(job.job_id, flush=True)
engine.wait(job.job_id)
"""


def sync(engine: Engine, connection: str = TRANSACTIONS) -> Job:
    return engine.wait(engine.start(connection).job_id)


def assert_equal_to_the_dump(database: Database, api: PagedApi, stream: str = STREAM) -> None:
    found, wanted = landed(database, stream), dumped(api.streams[stream])
    assert found == wanted
    if stream == STREAM:
        assert money(found) == money(wanted) != 0


@contextmanager
def worker_of(database: Database, api: PagedApi) -> Iterator[subprocess.Popen[str]]:
    """Run a sync in a separate process; the block begins when its job has started."""
    command = [sys.executable, "-c", WORKER, database.url, api.address]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().strip().isdigit()
        try:
            yield worker
        finally:
            worker.kill()


def below(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_every_third_request_refused_changes_nothing(database: Database) -> None:
    api = PagedApi(
        {STREAM: transactions(200), "products": products(200)},
        page=25,
        refuse_every=3,
        refuse_with=(429, 503),
    )
    with serving(api), engine_for(database, api.address) as engine:
        jobs = [engine.start(each) for each in (TRANSACTIONS, PRODUCTS)]
        assert [engine.wait(job.job_id).status for job in jobs] == ["succeeded"] * 2
        assert len(api.requests) == 23  # 16 pages, and every third request fails
        assert_equal_to_the_dump(database, api)
        assert_equal_to_the_dump(database, api, "products")


def test_an_api_that_goes_and_comes_back_is_read_to_its_end(database: Database) -> None:
    api = PagedApi({STREAM: transactions(400)}, page=4, seconds=0.02)
    with serving(api):
        engine = engine_for(database, api.address)
        job = engine.start(TRANSACTIONS)
        wait_until(lambda: len(api.requests) > 5)
    seen = len(api.requests)
    assert seen < 100
    time.sleep(1)
    assert engine.job(job.job_id).status == "running"  # type: ignore[union-attr]
    with engine, serving(api, port=int(api.address.rpartition(":")[2])):
        assert engine.wait(job.job_id).status == "succeeded"
    assert len(api.requests) > seen
    assert_equal_to_the_dump(database, api)


def test_two_syncs_started_at_once_are_one(database: Database) -> None:
    api = PagedApi({STREAM: transactions(300)}, page=20, seconds=0.15)
    outcomes: Counter[str] = Counter()
    together = threading.Barrier(2)

    def start() -> None:
        with engine_for(database, api.address) as engine:
            together.wait(60)
            outcomes[sync(engine).status] += 1

    with serving(api):
        threads = [threading.Thread(target=start) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(120)
    assert outcomes == {"succeeded": 1, "failed": 1}
    assert_equal_to_the_dump(database, api)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The URL of a server for this file alone, because the tests kill it."""
    server = EmbeddedServer(tmp_path_factory.mktemp("killed"))
    Database(server.start()).migrate()
    yield server
    server.stop()


def of_round(number: int) -> list[dict]:
    """Return the API's records of a round: a new transaction, and changes of all but the first."""
    records = []
    for index in range(400 + number):
        changed = min(index, number)
        day = date(2011, 1, 1) + timedelta(days=changed)
        records.append({**BASE[index], "channel": f"{changed}", "updated_at": f"{day}T00:00:00Z"})
    return records


def victims(kind: str, worker: int, server: EmbeddedServer) -> list[int]:
    """Return the processes of a sync, one of which is killed."""
    if kind == "source":
        return below(worker)
    if kind == "PostgreSQL":
        main = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        return [main, *below(main)]
    return [worker]


@pytest.mark.parametrize("number", range(KILLS))
def test_a_sync_killed_at_any_moment_leaves_all_or_nothing(
    own_server: EmbeddedServer, number: int
) -> None:
    chance = random.Random(f"{SEED}/{number}")
    kind = ("worker", "source", "PostgreSQL")[number % 3]
    api = PagedApi({STREAM: of_round(number)}, page=20, seconds=0.01)
    database = Database(own_server.start())
    before = landed(database, STREAM)
    with serving(api):
        with worker_of(database, api) as worker:
            if chance.random() < 0.8:  # earlier, the source may still be starting
                wait_until(lambda: bool(api.requests))
            time.sleep(chance.uniform(0, 0.8))
            readers = below(worker.pid)
            with suppress(ProcessLookupError, IndexError):  # it may have ended
                os.kill(chance.choice(victims(kind, worker.pid, own_server)), signal.SIGKILL)
            worker.wait(30)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in readers), seconds=10)
        database = Database(own_server.start())
        wait_until(lambda: answers(database))
        assert landed(database, STREAM) in (before, dumped(api.streams[STREAM]))
        with engine_for(database, api.address) as engine:
            assert sync(engine).status == "succeeded"
    assert_equal_to_the_dump(database, api)
    left = database.query("select count(*) as n from quality.sync_jobs where status = 'running'")
    assert left["n"].tolist() == [0]


def answers(database: Database) -> bool:
    try:
        with psycopg.connect(database.url, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The path of a file system of 110 MiB; `mount -o remount,size=…` enlarges it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=110m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root on Linux can mount a small file system")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_fails_the_sync_and_room_heals_it(small_disk: Path) -> None:
    server = EmbeddedServer(small_disk / "postgres")
    api, chance = PagedApi({STREAM: transactions(300)}), random.Random(1)
    try:
        database = Database(server.start())
        database.migrate()
        with serving(api), engine_for(database, api.address) as engine:
            assert sync(engine).status == "succeeded"
            before = landed(database, STREAM)
            api.streams[STREAM] = [
                {**each, "channel": chance.randbytes(20_000).hex()}
                for each in transactions(1_500, day="2011-03-01")
            ]
            with suppress(PipelineError):  # the server restarts where no space is left for its log
                full = sync(engine)
                assert full.status == "failed"
                named = ("No space left on device", "look into PostgreSQL's log (a full disk")
                assert any(words in (full.reason or "") for words in named)
            wait_until(lambda: answers(database))
            assert landed(database, STREAM) == before
            remount = ["mount", "-o", "remount,size=2g", str(small_disk)]
            subprocess.run(remount, check=True)
            assert sync(engine).status == "succeeded"
            assert_equal_to_the_dump(database, api)
    finally:
        server.stop()
