"""Whole syncs: Airbyte's connector code against a local API, into a real PostgreSQL."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from retail_pipeline.airbyte_engine import jobs
from retail_pipeline.airbyte_engine.engine import Engine, log_path
from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.airbyte_engine.jobs import Job, JobStatus
from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, PagedApi, products, serving

FOLDER = AirbyteFolder.load(PROJECT_ROOT / "airbyte")
PRODUCTS = FOLDER.connections["retail_api_products"].id


def engine_for(database: Database, address: str, key: str = KEY, folder=FOLDER) -> Engine:
    values = {"RETAIL_API_URL": address, "RETAIL_API_KEY": key, "RETAIL_API_END": None}
    return Engine(folder, database, values)


def sync(engine: Engine) -> Job:
    return engine.wait(engine.start(PRODUCTS).job_id)


def landed(database: Database) -> dict[str, tuple]:
    with database.connect() as session:
        rows = session.execute(
            "select product_id, name, price, updated_at, _airbyte_raw_id "
            "from transactional.products"
        ).fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


def test_first_sync_then_only_what_is_new(database: Database) -> None:
    api = PagedApi({"products": products(250)}, refuse_every=3)
    with serving(api), engine_for(database, api.address) as engine:
        first = sync(engine)
        assert (first.status, first.counts.rows_read, first.counts.rows_inserted) == (
            "succeeded",
            250,
            250,
        )
        before = landed(database)
        assert before["P00001"][:2] == ("Tab\tand back\\slash 1", Decimal("0.001"))

        changed = {**products(1, day="2011-02-01")[0], "name": "Renamed"}
        api.streams["products"] += [changed, *products(7, day="2011-02-01")[5:]]
        second = sync(engine)
        # The last ten minutes of the first sync are read again.
        assert second.counts.rows_read == 3 + 11
        assert (second.counts.rows_inserted, second.counts.rows_updated) == (0, 3)
    after = landed(database)
    assert after["P00000"][0] == "Renamed"
    untouched = set(before) - {"P00000", "P00005", "P00006"}
    assert all(after[key] == before[key] for key in untouched)


def test_a_wrong_key_and_an_unreachable_api_fail_with_the_reason(
    database: Database, tmp_path: Path
) -> None:
    api = PagedApi({"products": products(1)})
    with serving(api), engine_for(database, api.address, key="wrong-key-123") as engine:
        refused = sync(engine)
    assert refused.status == "failed"
    assert "check RETAIL_API_KEY" in (refused.reason or "")
    with engine_for(database, "http://127.0.0.1:9", folder=impatient(tmp_path)) as engine:
        unreachable = sync(engine)
    assert unreachable.status == "failed"
    assert "127.0.0.1" in (unreachable.reason or "") or "ConnectionError" in (
        unreachable.reason or ""
    )
    assert "wrong-key-123" not in f"{refused}{unreachable}"
    assert landed(database) == {}


def test_cancelling_leaves_table_and_state_alone_and_overlap_is_refused(database: Database) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    with serving(api), engine_for(database, api.address) as engine:
        job = engine.start(PRODUCTS)
        wait_until(lambda: len(api.requests) > 1)
        with engine_for(database, api.address) as another:
            refused = sync(another)
        assert refused.status == "failed"
        assert "a sync of connection retail_api_products is already running" in refused.reason
        engine.cancel(job.job_id)
        ended = engine.wait(job.job_id)
    assert (ended.status, ended.reason) == ("cancelled", "it was cancelled")
    assert landed(database) == {}
    assert database.query("select * from quality.sync_states").empty


def test_a_killed_worker_leaves_no_reader_and_the_next_sync_heals(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    script = (
        "import sys\n"
        "from retail_pipeline.postgres import Database\n"
        "from retail_pipeline_tests.airbyte_engine.test_sync import *\n"
        "sync(engine_for(Database(sys.argv[1]), sys.argv[2]))\n"
    )
    with serving(api):
        worker = subprocess.Popen(
            [sys.executable, "-c", script, database.url, api.address],
            cwd=PROJECT_ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        wait_until(lambda: len(api.requests) > 1)
        source = reader_below(worker.pid)
        [folder] = tmp_path.glob("airbyte-source-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)
        wait_until(lambda: not Path(f"/proc/{source}").exists())
        api.hold.set()
        api.hold = None
        with engine_for(database, api.address) as engine:
            assert landed(database) == {}
            assert sync(engine).counts.rows_inserted == 300
    history = database.query("select status, reason from quality.sync_jobs order by job_id")
    assert history["status"].tolist() == ["failed", "succeeded"]
    assert "the process of this sync was killed" in history["reason"][0]
    assert len(landed(database)) == 300


def test_a_killed_source_fails_the_job(database: Database) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    with serving(api), engine_for(database, api.address) as engine:
        job = engine.start(PRODUCTS)
        wait_until(lambda: len(api.requests) > 1)
        os.kill(reader_below(os.getpid()), signal.SIGKILL)
        ended = engine.wait(job.job_id)
    assert ended.status == "failed"
    assert "the source was killed" in (ended.reason or "")
    assert landed(database) == {}


def test_a_guard_that_refuses_leaves_nothing(database: Database) -> None:
    def refuse(_session) -> None:
        raise RuntimeError("another source took over")

    api = PagedApi({"products": products(3)})
    with serving(api), engine_for(database, api.address) as engine:
        engine.guard = refuse
        ended = sync(engine)
    assert (ended.status, ended.reason) == ("failed", "another source took over")
    assert landed(database) == {}


def test_a_commit_that_fails_at_its_end_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = jobs.save

    def fail(session, job: Job) -> None:
        if job.status is JobStatus.SUCCEEDED:
            raise RuntimeError("the last statement failed")
        save(session, job)

    monkeypatch.setattr(jobs, "save", fail)
    api = PagedApi({"products": products(3)})
    with serving(api), engine_for(database, api.address) as engine:
        ended = sync(engine)
    assert (ended.status, ended.reason) == ("failed", "the last statement failed")
    assert landed(database) == {}
    assert database.query("select * from quality.sync_states").empty


def test_a_commit_whose_answer_was_lost_stays_a_success(database: Database) -> None:
    with database.connect(autocommit=True) as session:
        job = jobs.enter(session, PRODUCTS, "retail_api_products")
        for status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
            jobs.save(session, replace(job, status=status))
    assert database.query("select status from quality.sync_jobs")["status"].tolist() == [
        "succeeded"
    ]


def test_the_log_of_another_database_does_not_give_a_reason(
    database: Database, tmp_path: Path
) -> None:
    log_path(tmp_path, 1).write_text("an old reason\n")
    api = PagedApi({"products": products(3)})
    with serving(api), engine_for(database, api.address) as engine:
        engine.logs = tmp_path
        assert sync(engine).job_id == 1
    assert "an old reason" not in log_path(tmp_path, 1).read_text()


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def reader_below(parent: int) -> int:
    """Return the reader process that a process has started."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    for pid in " ".join(each.read_text() for each in children).split():
        if b"airbyte_engine.fast_reader" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("no reader was found")


def impatient(tmp_path: Path) -> AirbyteFolder:
    """Return a copy of the project's folder whose source does not retry."""
    import shutil

    folder = tmp_path / "airbyte"
    shutil.copytree(PROJECT_ROOT / "airbyte", folder)
    file = folder / "sources" / "retail_api.yaml"
    head = "configuration:\n"
    file.write_text(file.read_text().replace(head, f"{head}  max_retries: 0\n"))
    return AirbyteFolder.load(folder)
