"""Whoever is killed, whenever: the next sync lands exactly the API's rows, and nobody reads on."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from retail_pipeline.airbyte_engine.host import HOST
from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.airbyte_engine.paged_api import PagedApi, products, serving
from retail_pipeline_tests.airbyte_engine.test_sync import (
    FOLDER,
    PRODUCTS,
    engine_for,
    sync,
    wait_until,
)

COLUMNS = tuple(products(1)[0])


@dataclass
class SlowApi(PagedApi):
    """Takes a while for each page, so that a kill meets a sync anywhere."""

    page: int = 10

    def answer(self, request: Request) -> Response:
        time.sleep(0.005)
        return super().answer(request)


def landed(database: Database) -> list[tuple]:
    with database.connect() as session:
        texts = "product_id, name, category, price::text, cost::text, currency"
        return sorted(
            session.execute(
                f"select {texts}, recorded_at, updated_at from transactional.products"
            ).fetchall(),
            key=str,
        )


def served(records: list[dict]) -> list[tuple]:
    def value(name: str, given: object) -> object:
        if name.endswith("_at"):
            return datetime.fromisoformat(str(given))
        return repr(given) if isinstance(given, float) else given

    rows = [tuple(value(name, record[name]) for name in COLUMNS) for record in records]
    return sorted(rows, key=str)


def readers() -> list[int]:
    """Return the processes below this process's host."""
    host = HOST._process
    if host is None or host.poll() is not None:
        return []
    below = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text()
    return [int(pid) for pid in below.split()]


def processes_of(worker: int) -> list[str]:
    """Return the hosts and readers that were started for a worker."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"retail_pipeline.airbyte_engine.child" in words and str(worker).encode() in words:
            found.append(command.parent.name)
    return found


@pytest.mark.parametrize("victim", ["host", "reader"])
def test_a_kill_at_any_moment_leaves_all_or_nothing(database: Database, victim: str) -> None:
    chance = random.Random(victim)
    api = SlowApi({"products": products(200)})
    with serving(api), engine_for(database, api.address) as engine:
        before: list[tuple] = []
        failed = 0
        for day in range(2, 6):
            api.streams["products"] = products(200, day=f"2011-01-{day:02}")
            job = engine.start(PRODUCTS)
            time.sleep(chance.uniform(0, 0.4))
            for pid in readers() if victim == "reader" else [HOST._process and HOST._process.pid]:
                os.kill(pid or 0, signal.SIGKILL) if pid else None
            status = engine.wait(job.job_id).status
            failed += status == "failed"
            after = served(api.streams["products"])
            assert landed(database) == (after if status == "succeeded" else before)
            before = landed(database)
        assert failed > 0
        assert sync(engine).status == "succeeded"
        assert landed(database) == served(api.streams["products"])
    wait_until(lambda: not readers())


def test_a_worker_killed_at_any_moment_takes_its_readers_along(database: Database) -> None:
    chance = random.Random(3)
    api = SlowApi({"products": products(300)})
    script = (
        "import sys\n"
        "from retail_pipeline.postgres import Database\n"
        "from retail_pipeline_tests.airbyte_engine.test_sync import *\n"
        "print('ready', flush=True)\n"
        "sync(engine_for(Database(sys.argv[1]), sys.argv[2]))\n"
    )
    with serving(api):
        for _ in range(2):
            with subprocess.Popen(
                [sys.executable, "-c", script, database.url, api.address],
                cwd=PROJECT_ROOT,
                stdout=subprocess.PIPE,
            ) as worker:
                assert worker.stdout is not None
                worker.stdout.readline()
                time.sleep(chance.uniform(0, 2))
                worker.send_signal(signal.SIGKILL)
            wait_until(lambda pid=worker.pid: not processes_of(pid), seconds=10)
            assert landed(database) in ([], served(api.streams["products"]))
        with engine_for(database, api.address) as engine:
            assert sync(engine).status == "succeeded"
    assert landed(database) == served(api.streams["products"])


def test_two_connections_sync_at_once(database: Database) -> None:
    users = [
        {
            "user_id": f"U{n}",
            "recorded_at": "2011-01-01T00:00:00Z",
            "updated_at": "2011-01-01T00:00:00Z",
        }
        for n in range(200)
    ]
    api = SlowApi({"products": products(200), "users": users})
    with serving(api), engine_for(database, api.address) as engine:
        jobs = [
            engine.start(FOLDER.connections[f"retail_api_{name}"].id)
            for name in ("products", "users")
        ]
        assert [engine.wait(job.job_id).rows_inserted for job in jobs] == [200, 200]
    assert landed(database) == served(api.streams["products"])
