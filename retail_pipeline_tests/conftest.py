"""What all tests share: one embedded PostgreSQL per session, one fresh database per test."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from retail_pipeline.postgres import Database
from retail_pipeline.postgres.server import EmbeddedServer
from retail_pipeline.settings import PROJECT_ROOT

TEMPLATE = "template_migrated"


def pytest_configure() -> None:
    """Let children end when told: a worker of xdist ignores SIGTERM, which they would inherit."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
    yield url
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(server_url: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {TEMPLATE}")
    Database(_sibling(server_url, TEMPLATE)).migrate()
    return TEMPLATE


@pytest.fixture
def database(server_url: str, migrated_template: str) -> Iterator[Database]:
    """A fresh database with all migrations applied."""
    with fresh_database(server_url, migrated_template) as database:
        yield database


@contextmanager
def fresh_database(server_url: str, template: str) -> Iterator[Database]:
    """A database made from a template, dropped at the end."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    yield Database(_sibling(server_url, name))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def online_retail_ii() -> Path:
    """The real transactions that some tests and benchmarks use; they skip where it is absent."""
    given = os.environ.get("RETAIL_TEST_TRANSACTIONS")
    path = Path(given or PROJECT_ROOT.parent / "shared" / "data" / "online_retail_ii.parquet")
    if not path.exists():
        pytest.skip(f"{path.name} is not here (set RETAIL_TEST_TRANSACTIONS to its path)")
    return path


def _sibling(url: str, database: str) -> str:
    return f"{url.rsplit('/', 1)[0]}/{database}"
