"""Secrets of a sync: the source reads only its own, and none is left after a killed worker."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, PagedApi, products, serving
from retail_pipeline_tests.airbyte_engine.test_sync import (
    engine_for,
    reader_below,
    sync,
    wait_until,
)

HIDDEN = "hidden-from-the-source"
OTHERS_SECRETS = (
    *("RETAIL_DATABASE_URL", "RETAIL_SUPPRESSION_KEY", "RETAIL_ALERT_WEBHOOK", "RETAIL_SMTP_URL"),
    *("AIRBYTE_CLIENT_SECRET", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"),
)
WORKER = """
import sys
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.test_sync import *
sync(engine_for(Database(sys.argv[1]), sys.argv[2]))
"""


@contextmanager
def reading(database: Database, api: PagedApi, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process in the middle of a sync; it is killed at the end of the block."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, database.url, api.address],
        cwd=PROJECT_ROOT,
        env={**os.environ, "TMPDIR": str(folder), **dict.fromkeys(OTHERS_SECRETS, HIDDEN)},
    )
    try:
        wait_until(lambda: len(api.requests) > 1)
        yield worker
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)


def containing(folder: Path, text: str) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def test_a_source_sees_no_secret_but_its_own_and_leaves_none_behind(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    with serving(api):
        with reading(database, api, tmp_path) as worker:
            source = reader_below(worker.pid)
            environment = Path(f"/proc/{source}/environ").read_bytes().decode().split("\0")
            assert [each for each in environment if HIDDEN in each] == []
            assert containing(tmp_path, HIDDEN) == []
        wait_until(lambda: not Path(f"/proc/{source}").exists())
        left = containing(tmp_path, KEY)
        assert left, "the configuration of a source is a file while it reads"
        assert all(path.parent.stat().st_mode & 0o077 == 0 for path in left)

        _age(tmp_path)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        api.hold, held = None, api.hold
        held.set()
        with engine_for(database, api.address) as engine:
            assert sync(engine).status == "succeeded"
    assert containing(tmp_path, KEY) == []


def _age(folder: Path) -> None:
    """Set the times of all files in a folder back by an hour, since recent ones are not swept."""
    hour_ago = time.time() - 3600
    for path in [*folder.rglob("*")][::-1]:
        os.utime(path, (hour_ago, hour_ago))
