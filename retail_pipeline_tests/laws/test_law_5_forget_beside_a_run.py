"""A person forgotten during a sync does not land again; a plain `forget` refuses beside a run."""

import subprocess
import threading
from pathlib import Path

import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.privacy.forgetting import forget
from retail_pipeline.settings import Settings
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, serving, transactions
from retail_pipeline_tests.airbyte_engine.test_sync import wait_until
from retail_pipeline_tests.cli.command import DONE, FAILED, Cli
from retail_pipeline_tests.ingestion.test_cancel import HeldApi

PERSON = "U3"


def test_a_person_forgotten_while_a_sync_reads_them_does_not_come_back(
    database: Database, tmp_path: Path
) -> None:
    api = HeldApi({"transactions": transactions(250)}, hold=threading.Event())
    settings = Settings(home=tmp_path / "home", database_url=database.url)
    cli = Cli({"RETAIL_HOME": str(settings.home), "RETAIL_DATABASE_URL": database.url})
    run = ("run", "--select", 'key:"transactional/transactions"')
    with serving(api):
        environment = {"RETAIL_SOURCE": api.address, "RETAIL_API_KEY": KEY}
        reading = cli.start(*run, **environment)
        try:
            wait_until(lambda: len(api.requests) > 1 or reading.poll() is not None, seconds=120)
            _forget_while_it_reads(settings, reading)
            assert api.hold is not None
            api.hold.set()
            assert reading.wait(timeout=120) in (DONE, FAILED)
        finally:
            reading.kill()
            reading.communicate(timeout=30)
        assert PERSON not in customers(database)

        again = cli(*run, **environment)
        assert again.returncode == DONE, again.stdout + again.stderr
    assert customers(database) == {f"U{number}" for number in range(7)} - {PERSON}


def _forget_while_it_reads(settings: Settings, reading: subprocess.Popen[str]) -> None:
    assert reading.poll() is None
    with pytest.raises(PipelineError, match="is unfinished"):
        forget(settings, PERSON)
    forget(settings, PERSON, while_running=True)
    assert reading.poll() is None


def customers(database: Database) -> set[str]:
    return set(database.query("select user_id from transactional.transactions")["user_id"])
