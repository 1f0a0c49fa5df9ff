"""The manifest is prepared once for all processes, and dbt gets the right database."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.warehouse.project import (
    PREPARED,
    PROJECT_FOLDER,
    dbt_environment,
    dbt_program,
    prepare_manifest,
    read_manifest,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The path of a small dbt project: one model over one source."""
    folder = tmp_path / "dbt_project"
    models = folder / "models"
    models.mkdir(parents=True)
    for name in ("dbt_project.yml", "profiles.yml", "macros"):
        source = PROJECT_FOLDER / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (models / "one.sql").write_text("select 1 as number")
    return folder


@pytest.mark.filterwarnings("ignore")
def test_the_manifest_is_prepared_once_and_again_after_a_change(project: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(prepare_manifest, [project, project])
    assert first == second
    made = first.stat().st_mtime_ns
    assert prepare_manifest(project).stat().st_mtime_ns == made
    assert not list((project / PREPARED).glob("parsing-*"))

    (project / "models" / "two.sql").write_text("select * from {{ ref('one') }}")
    assert "model.retail.two" in read_manifest(project)["nodes"]
    assert first.stat().st_mtime_ns > made


def test_a_project_that_does_not_parse_is_one_message_and_leaves_the_old_manifest(
    project: Path,
) -> None:
    manifest = prepare_manifest(project)
    before = manifest.read_bytes()
    (project / "models" / "two.sql").write_text("select * from {{ ref('absent') }}")
    with pytest.raises(PipelineError, match=r"dbt cannot parse dbt_project: .*absent"):
        prepare_manifest(project)
    assert manifest.read_bytes() == before


def test_a_build_of_the_database_that_the_manifest_was_prepared_for_parses_nothing(
    database: Database, tmp_path: Path
) -> None:
    environment = dbt_environment(database.url, date(2024, 4, 1))
    prepared = tmp_path / "dbt_project"
    ignored = shutil.ignore_patterns(PREPARED, "target", "logs")
    shutil.copytree(PROJECT_FOLDER, prepared, ignore=ignored)
    prepare_manifest(prepared, environment=dbt_environment(database.url))
    done = subprocess.run(
        [dbt_program(), "list", "--select", "customer_features", "--target-path", PREPARED],
        cwd=prepared,
        env={**os.environ, **environment, "DBT_PROFILES_DIR": str(prepared)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Registered adapter" in done.stdout
    assert "Unable to do partial parsing" not in done.stdout


def test_the_database_url_becomes_dbt_variables() -> None:
    environment = dbt_environment(
        "postgresql://me:p%40ss@db.example:6000/shop?sslmode=verify-full&sslrootcert=/x.pem"
        "&sslcert=/me.pem&sslkey=/me.key&channel_binding=require&options=-c%20jit%3Doff"
    )
    # The login of dbt's role, with a password that follows from the owner's.
    assert environment.pop("RETAIL_DBT_PASSWORD") not in ("", "p@ss")
    assert {k: v for k, v in environment.items() if k.startswith("RETAIL_DBT_")} == {
        "RETAIL_DBT_HOST": "db.example",
        "RETAIL_DBT_PORT": "6000",
        "RETAIL_DBT_USER": "retail_transformer_me",
        "RETAIL_DBT_DBNAME": "shop",
        "RETAIL_DBT_NON_PRODUCT_CODES": "none",
        "RETAIL_DBT_TIME_ZONE": "UTC",
    }
    assert {k: v for k, v in environment.items() if k.startswith(("PGSSL", "PGCH", "PGPASS"))} == {
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/x.pem",
        "PGSSLCERT": "/me.pem",
        "PGSSLKEY": "/me.key",
        "PGCHANNELBINDING": "require",
    }
    assert environment["PGOPTIONS"].startswith("-c jit=off -c search_path=pg_catalog -c ")
    assert environment["DBT_SEND_ANONYMOUS_USAGE_STATS"] == "false"
