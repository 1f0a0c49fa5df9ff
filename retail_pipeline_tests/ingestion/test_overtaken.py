"""A run whose state another run changes fails at once: by exit code, message and `status`."""

import json
import threading
from datetime import date
from pathlib import Path

from retail_pipeline.generation import begin
from retail_pipeline.postgres import Database
from retail_pipeline.retail_api import source_id
from retail_pipeline.settings import ApiSource
from retail_pipeline_tests.airbyte_engine.paged_api import KEY, products, serving, transactions
from retail_pipeline_tests.airbyte_engine.test_sync import wait_until
from retail_pipeline_tests.cli.command import DONE, FAILED, Cli
from retail_pipeline_tests.conftest import end
from retail_pipeline_tests.ingestion.test_cancel import HeldApi

SYNCS = 'key:"transactional/transactions" or key:"transactional/products"'


def test_an_earlier_date_between_two_syncs_ends_the_first_run_at_once(
    database: Database, tmp_path: Path
) -> None:
    streams = {"transactions": transactions(250), "products": products(5), "users": []}
    api = HeldApi(streams, hold=threading.Event())
    with serving(api):
        cli = Cli(
            {
                "RETAIL_HOME": str(tmp_path / "home"),
                "RETAIL_DATABASE_URL": database.url,
                "RETAIL_SOURCE": api.address,
                "RETAIL_API_KEY": KEY,
            }
        )
        first = cli.start("run", "--as-of", "2024-05-01", "--select", SYNCS)
        try:
            wait_until(lambda: len(api.requests) > 1 or first.poll() is not None, seconds=120)
            earlier = begin(
                database,
                source_id=source_id(ApiSource(api.address)),
                as_of=date(2024, 4, 1),
                run_id="another-run",
                streams=list(streams),
            )
            assert earlier.rebuilt
            assert api.hold is not None
            api.hold.set()
            _, errors = first.communicate(timeout=120)
        finally:
            end(first)
        assert first.returncode == FAILED
        assert "another run" in errors

        shown = cli("status")
        assert "failure" in shown.stdout and "another run" in shown.stdout, shown.stdout
        latest = json.loads(cli("status", "--json").stdout)["latest_run"]
        assert (latest["job"], latest["status"]) == ("pipeline", "failure")
        again = cli.run("run", "--as-of", "2024-05-01", "--select", SYNCS)
        assert again.returncode == DONE, again.stderr
