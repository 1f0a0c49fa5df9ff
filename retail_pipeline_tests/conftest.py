"""What all tests share: one embedded PostgreSQL per session, one fresh database per test.

The files that take longest start first, so that no core waits for another at the end.
"""

import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from retail_pipeline.postgres import Database
from retail_pipeline.postgres.server import EmbeddedServer
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline.warehouse.project import PARTIAL_PARSE

TEMPLATE = "template_migrated"
DATABASE = "test"
"""One name for all tests: what dbt has parsed holds for one address."""

LONGEST = ("laws", "cli", "warehouse", "end_to_end", "clv", "ingestion", "airbyte_engine")
"""Folders by the time that their files take."""


def pytest_configure() -> None:
    """Let children end when told: a worker of xdist ignores SIGTERM, which they would inherit."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts from the defaults, whatever the shell has set."""
    for name in list(os.environ):
        if name.startswith(("RETAIL_", "AIRBYTE_")) and not name.startswith("RETAIL_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The owner's URL of an embedded server that lives as long as the test session."""
    server = EmbeddedServer(tmp_path_factory.mktemp("postgres"))
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"alter system set {name} = off")  # nobody needs it after a crash
        connection.execute("select pg_reload_conf()")
    yield url
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(server_url: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {TEMPLATE}")
    Database(sibling(server_url, TEMPLATE)).migrate()
    return TEMPLATE


@pytest.fixture
def database(server_url: str, migrated_template: str) -> Iterator[Database]:
    """A fresh database with all migrations applied."""
    with fresh_database(server_url, migrated_template, DATABASE) as database:
        yield database


@contextmanager
def fresh_database(server_url: str, template: str, name: str = "") -> Iterator[Database]:
    """A database made from a template, dropped at the end with Dagster's own beside it."""
    name = name or f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    yield Database(sibling(server_url, name))
    with psycopg.connect(server_url, autocommit=True) as connection:
        for each in (name, f"{name}_dagster"):
            connection.execute(f"drop database if exists {each} with (force)")


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dbt has parsed in earlier tests of runs, once there was one."""
    return tmp_path_factory.mktemp("parsed") / PARTIAL_PARSE


@pytest.fixture
def home(tmp_path: Path, parsed: Path) -> Iterator[Path]:
    """The state folder of a run, in which dbt finds the project parsed."""
    kept = tmp_path / "home" / "dbt" / "target" / PARTIAL_PARSE
    kept.parent.mkdir(parents=True)
    if parsed.exists():
        shutil.copyfile(parsed, kept)
    yield tmp_path / "home"
    if kept.exists():
        shutil.copyfile(kept, parsed)


@pytest.fixture(scope="session")
def online_retail_ii() -> Path:
    """The real transactions that some tests and benchmarks use; they skip where it is absent."""
    given = os.environ.get("RETAIL_TEST_TRANSACTIONS")
    path = Path(given or PROJECT_ROOT.parent / "shared" / "data" / "online_retail_ii.parquet")
    if not path.exists():
        pytest.skip(f"{path.name} is not here (set RETAIL_TEST_TRANSACTIONS to its path)")
    return path


def sibling(url: str, database: str) -> str:
    return f"{url.rsplit('/', 1)[0]}/{database}"
