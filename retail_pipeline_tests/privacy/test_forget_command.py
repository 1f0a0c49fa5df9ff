"""`forget` needs a confirmation, a dry run changes nothing, a second call finds nothing."""

from pathlib import Path

from retail_pipeline.postgres import Database
from retail_pipeline_tests.cli.command import DONE, WRONG_USE, Cli
from retail_pipeline_tests.warehouse.landing import land


def test_forget_removes_only_when_it_may(database: Database, tmp_path: Path) -> None:
    land(database, "users", [{"user_id": "K17", "name": "Ada Quill"}, {"user_id": "K18"}])
    cli = Cli({"RETAIL_HOME": str(tmp_path), "RETAIL_DATABASE_URL": database.url})

    def users() -> list[str]:
        return sorted(database.query("select user_id from transactional.users")["user_id"])

    refused = cli("forget", "K17")
    assert (refused.returncode, users()) == (WRONG_USE, ["K17", "K18"])
    assert "--yes" in refused.stderr

    dry = cli("forget", "K17", "--dry-run")
    assert (dry.returncode, users()) == (DONE, ["K17", "K18"])
    assert "1 rows     transactional.users" in dry.stdout
    assert database.query("select 1 from quality.suppressed_customers").empty

    done = cli("forget", "K17", "--yes")
    assert (done.returncode, users()) == (DONE, ["K18"])
    assert "no data of this customer were found" in cli("forget", "K17", "--yes").stdout
