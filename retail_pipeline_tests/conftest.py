"""Fixtures of all tests: one embedded PostgreSQL per session, one fresh database per test.

The slowest files start first, so that no core is idle at the end.
"""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import hypothesis
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database, Role
from retail_pipeline.postgres.server import EmbeddedServer
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline.warehouse.project import PARTIAL_PARSE

# On a busy machine neither an example nor its data are made in hypothesis' time.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")

TEMPLATE = "template_migrated"
DATABASE = "test"
"""The name of a database in all tests, because dbt parses again for another address."""

LONGEST = ("laws", "cli", "warehouse", "end_to_end", "clv", "ingestion", "airbyte_engine")
"""Folders with slow tests, the slowest first."""


def pytest_configure() -> None:
    """Reset SIGTERM, which a worker of xdist ignores, and SIGINT, which a background job ignores.

    Children would inherit it, and Dagster gives SIGTERM the handler of SIGINT.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the shell, so that each test starts from the defaults."""
    for name in list(os.environ):
        if name.startswith(("RETAIL_", "AIRBYTE_")) and not name.startswith("RETAIL_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """An embedded server that lives as long as the test session."""
    server = EmbeddedServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"alter system set {name} = off")  # not needed after a crash
        connection.execute("select pg_reload_conf()")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server_url(shared_server: EmbeddedServer) -> str:
    """The owner's URL of the server."""
    return shared_server.start()


@pytest.fixture(scope="session")
def superuser_url(shared_server: EmbeddedServer) -> str:
    """The URL of an administrator of the server, connected to no database of the pipeline."""
    return shared_server.superuser_url()


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
    """Yield a database made from a template; it and Dagster's own are dropped at the end."""
    name = name or f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    yield Database(sibling(server_url, name))
    with psycopg.connect(server_url, autocommit=True) as connection:
        for each in (name, f"{name}_dagster"):
            connection.execute(f"drop database if exists {each} with (force)")


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of dbt's parsed project, which exists once a test has run dbt."""
    return tmp_path_factory.mktemp("parsed") / PARTIAL_PARSE


@pytest.fixture
def home(tmp_path: Path, parsed: Path) -> Iterator[Path]:
    """The state folder of a run, with dbt's parsed project."""
    kept = tmp_path / "home" / "dbt" / "target" / PARTIAL_PARSE
    kept.parent.mkdir(parents=True)
    if parsed.exists():
        shutil.copyfile(parsed, kept)
    yield tmp_path / "home"
    if kept.exists():
        shutil.copyfile(kept, parsed)


@pytest.fixture(params=["folder", "store"])
def lake_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty lake: a folder, and a store that speaks S3's protocol."""
    return str(tmp_path / "lake") if request.param == "folder" else request.getfixturevalue("store")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty lake in moto, the program that RETAIL_TEST_S3 names."""
    program = os.environ.get("RETAIL_TEST_S3")
    if not program:
        pytest.skip(
            "no store is named: make .venv-store/.installed, RETAIL_TEST_S3=ITS moto_server"
        )
    with listener(0) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    variables = {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any"}
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)])
    try:
        httpx.Client(transport=httpx.HTTPTransport(retries=9)).put(f"{url}/bucket")
        yield "s3://bucket/lake"
    finally:
        end(process)


@pytest.fixture(scope="session")
def online_retail_ii() -> Path:
    """The file of real transactions; tests that need it are skipped without it."""
    given = os.environ.get("RETAIL_TEST_TRANSACTIONS")
    path = Path(given or PROJECT_ROOT.parent / "shared" / "data" / "online_retail_ii.parquet")
    if not path.exists():
        pytest.skip(f"{path.name} is not here (set RETAIL_TEST_TRANSACTIONS to its path)")
    return path


def end(process: subprocess.Popen, *, seconds: float = 30) -> None:
    """End a process that a test has started: politely, after `seconds` by force."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(seconds)
        raise


@contextmanager
def login_of(database: Database) -> Iterator[dict[Role, str]]:
    """Yield the address of a person's login for each role, as in production."""
    names = {role: f"login_{secrets.token_hex(4)}" for role in Role}
    with psycopg.connect(database.url) as connection:
        for role, name in names.items():
            connection.execute(f"create role {name} login password 'secret' in role {role.value}")
    yield {
        role: make_conninfo(database.url, user=n, password="secret") for role, n in names.items()
    }
    with psycopg.connect(database.url) as connection:
        for name in names.values():
            connection.execute(f"drop role {name}")


def sibling(url: str, database: str) -> str:
    return f"{url.rsplit('/', 1)[0]}/{database}"
