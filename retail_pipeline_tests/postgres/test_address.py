"""Every driver reads the same address of PostgreSQL, whatever characters it has."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import hypothesis
import psycopg
import pytest
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy import create_engine, make_url, text

from retail_pipeline.errors import UsageError
from retail_pipeline.ingestion.server_plan import reference_values
from retail_pipeline.postgres import Role, open_database, server
from retail_pipeline.postgres.address import SOCKET_FOLDER, canonical, read
from retail_pipeline.postgres.open import dagster_database_url, sibling_url
from retail_pipeline.postgres.session import session_url, with_role
from retail_pipeline.settings import ApiSource, Settings
from retail_pipeline.warehouse.project import PROJECT_FOLDER, dbt_environment, dbt_program

HOSTS = {
    "db.example": {"host": "db.example"},
    "db.example:6000": {"host": "db.example", "port": "6000"},
    "[::1]:6000": {"host": "::1", "port": "6000"},
    "[fe80::1%25eth0]": {"host": "fe80::1%eth0"},
    "%2Ftmp%2Fa%20folder:6000": {"host": "/tmp/a folder", "port": "6000"},
}
OPTIONS = {
    "": {},
    "?host=/tmp": {"host": "/tmp"},
    "?sslmode=verify-full&sslrootcert=/x%20y.pem": {
        "sslmode": "verify-full",
        "sslrootcert": "/x y.pem",
    },
    "?options=-c%20search_path%3Da&connect_timeout=3": {
        "options": "-c search_path=a",
        "connect_timeout": "3",
    },
}
printable = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1)


def given(address: str) -> str:
    url = Settings.from_environment({"RETAIL_DATABASE_URL": address}).database_url
    assert url is not None
    return canonical(url)


def as_sqlalchemy_reads(url: str) -> dict[str, str]:
    read_by_it = make_url(url)
    arguments = read_by_it.get_dialect()().create_connect_args(read_by_it)[1]
    return {name: str(value) for name, value in arguments.items()}


@hypothesis.given(
    user=printable,
    password=st.none() | printable,
    names=st.tuples(printable, printable),
    host=st.sampled_from(sorted(HOSTS)),
    options=st.sampled_from(sorted(OPTIONS)),
)
def test_a_session_reads_the_given_values(
    user: str, password: str | None, names: tuple[str, str], host: str, options: str
) -> None:
    coded = [quote(each, safe="") for each in (user, password, names[0]) if each is not None]
    login, name = ":".join(coded[:-1]), coded[-1]
    url = given(f"postgres://{login}@{host}/{name}{options}")
    expected = {"user": user, "dbname": names[0], "port": "5432"}
    expected |= {} if password is None else {"password": password}
    expected |= HOSTS[host] | OPTIONS[options]
    assert read(url) == as_sqlalchemy_reads(url) == expected
    assert canonical(url) == url

    session = session_url(with_role(sibling_url(url, names[1]), Role.READER))
    found = as_sqlalchemy_reads(session)
    assert read(session) == found
    settings = found.pop("options")
    assert settings.startswith(f"{expected.pop('options', '')} -c role=retail_reader -c ".lstrip())
    assert found == {"connect_timeout": "10", **expected, "dbname": names[1]}


@hypothesis.given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@/%"))
)
def test_a_password_that_libpq_takes_as_it_is_needs_no_percent_codes(rest: str) -> None:
    password = f"p{rest}"
    url = given(f"postgresql://me:{password}@db.example/shop")
    assert read(session_url(url))["password"] == as_sqlalchemy_reads(url)["password"] == password


def test_missing_parts_default_as_in_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.getpwuid(os.geteuid()).pw_name
    assert read(given("postgresql:///shop")) == {
        **{"user": account, "host": SOCKET_FOLDER, "port": "5432", "dbname": "shop"},
    }
    variables = {"PGHOST": "db.example", "PGPORT": "6000", "PGUSER": "me", "PGPASSWORD": "p@ss"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert given("postgresql:///shop") == "postgresql://me:p%40ss@db.example:6000/shop"
    server = Settings.from_environment(
        {
            "RETAIL_SOURCE": "https://api.example",
            "AIRBYTE_DATABASE_URL": "postgres://far.example/shop",
        }
    )
    values = reference_values(server)
    assert (values["DATABASE_HOST"], values["DATABASE_USER"]) == ("far.example", None)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("host=db.example dbname=shop password=hidden", "must look like postgresql://"),
        ("postgresql://me:hidden@one.example,two.example/shop", "several hosts"),
        ("postgresql://me:hidden@/shop?host=one.example&port=1,2", "several hosts"),
        ("postgresql://me:hidden@/shop?service=main", "names a service"),
        ("postgresql://me:hidden@db.example:65536/shop", "from 1 to 65535"),
        ("postgresql://me:hidden@db.example/shop?sslmod=require", "must look like"),
    ],
)
def test_an_address_that_some_part_could_not_use_is_refused(address: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"^RETAIL_DATABASE_URL.*{words}") as refused:
        given(address)
    assert "hidden" not in str(refused.value)


def test_an_airbyte_server_is_not_sent_to_a_socket_of_this_machine() -> None:
    settings = Settings(source=ApiSource("https://api.example"), database_url="postgresql:///shop")
    with pytest.raises(UsageError, match="AIRBYTE_DATABASE_URL"):
        reference_values(settings)


@pytest.fixture
def socket_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The superuser's address of a server that also listens on a socket in its folder."""
    folder = tmp_path / "p"
    monkeypatch.setitem(server._SETTINGS, "unix_socket_directories", str(folder / "data"))
    embedded = server.EmbeddedServer(folder)
    embedded.start()
    yield embedded.superuser_url()
    embedded.stop()


def test_an_awkward_login_connects_by_each_driver_and_by_a_socket(
    socket_server: str, tmp_path: Path
) -> None:
    user, password, name = "o'wner@shop", "a/b#c?d[e@f%41:g h&i=j\\k'lé", "sh op/é?"
    with psycopg.connect(socket_server, autocommit=True) as connection:
        for statement in (
            "create role {user} superuser login password {password}",
            "create database {name} owner {user}",
        ):
            connection.execute(
                sql.SQL(statement).format(
                    user=sql.Identifier(user), password=password, name=sql.Identifier(name)
                )
            )
    login, port = (quote(each, safe="") for each in (user, password)), read(socket_server)["port"]
    address = f"postgresql://{':'.join(login)}@127.0.0.1:{port}/{quote(name, safe='')}"
    for each in (address, f"{address}?host={tmp_path}/p/data"):
        settings = Settings(database_url=each)
        warehouse = open_database(settings)
        found = warehouse.query("select current_user::text || current_database() as who")  # ADBC
        assert found["who"].tolist() == [user + name]
        assert warehouse.as_role(Role.READER).execute("select 1") == 1
        assert warehouse.foreign_code() == []
        assert "is a superuser" in warehouse.weaknesses()[0]
        engine = create_engine(dagster_database_url(settings))
        with engine.connect() as storage:
            assert storage.execute(text("select current_database()")).scalar() == f"{name}_dagster"
        engine.dispose()
    done = subprocess.run(
        [dbt_program(), "debug", "--connection", "--log-path", str(tmp_path)],
        cwd=PROJECT_FOLDER,
        env={
            **os.environ,
            **dbt_environment(warehouse.url),
            "DBT_PROFILES_DIR": str(PROJECT_FOLDER),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[OK connection ok]" in done.stdout, done.stdout
