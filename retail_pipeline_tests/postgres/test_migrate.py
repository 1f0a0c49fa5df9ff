"""Migrations: which servers they are applied to."""

import psycopg
import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.postgres.migrate import refuse_old_server


@pytest.mark.parametrize(("version", "name"), [(130023, "13.23"), (90624, "9.6.24")])
def test_a_server_that_is_too_old_is_named_with_what_is_needed(version: int, name: str) -> None:
    with pytest.raises(PipelineError, match=f"PostgreSQL {name}, .* needs 14 or later"):
        refuse_old_server(version)


@pytest.mark.parametrize("version", [140000, 180006])
def test_a_later_server_is_not_refused(version: int) -> None:
    refuse_old_server(version)


def test_nothing_is_applied_to_a_server_that_is_too_old(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("drop schema quality cascade")
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 130023)
    with pytest.raises(PipelineError, match="needs 14 or later"):
        database.migrate()
    found = database.query("select to_regnamespace('quality') is null as is_absent")
    assert found["is_absent"].tolist() == [True]
