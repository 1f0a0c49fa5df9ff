"""After `forget` no byte of the home has the person: tables, files, the server's log."""

import gzip
import html
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest

from retail_pipeline.cli.instance import dagster_environment
from retail_pipeline.lake import Lake
from retail_pipeline.postgres import Database, Role, open_database
from retail_pipeline.postgres.open import embedded_server, sibling_url
from retail_pipeline.postgres.server import _SETTINGS as SERVER_SETTINGS
from retail_pipeline.privacy.forgetting import forget
from retail_pipeline.settings import Settings
from retail_pipeline_tests.warehouse.landing import land, line, transaction

USER = {
    "user_id": "K-é 17/ß",
    "name": "Zoë Ångström-O'Quill",
    "email": "Zoe+shop@quill.example",
    "phone": "+44 7700 900123",
    "address": '1 "High" Street\nLower Town',
}
OTHER = {"user_id": "K18", "name": "Somebody Else", "email": "else@quill.example"}


@contextmanager
def own_server(settings: Settings) -> Iterator[Database]:
    """Yield the database of the home's own embedded server."""
    try:
        yield open_database(settings)
    finally:
        embedded_server(settings).stop()


def test_no_byte_of_the_home_has_the_person(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with own_server(settings) as database:
        dagster = Database(dagster_environment(settings)["DAGSTER_POSTGRES_URL"])
        dagster.execute("create table public.event_logs (id int, event text)")
        for turn in range(3):
            land(database, "users", [{**USER, "user_id": f"K{turn}"}, OTHER][: 2 - (turn > 0)])
            database.execute("analyze transactional.users")
        moment = "2024-01-01T00:00:00Z"
        land(database, "transactions", [transaction("T-Zulu", "K0", moment, [line(12.0)])])
        dagster.execute("insert into public.event_logs values (1, %s)", [f"K0: {USER['name']}"])
        dagster.execute("analyze public.event_logs")
        database.execute("checkpoint")
        words = [str(USER[name]).encode() for name in ("name", "email", "phone")] + [b"T-Zulu"]
        found = files_with(settings.home, words)
        assert any("pg_wal" in str(path) for path in found)
        for turn in range(3):
            forget(settings, f"K{turn}")
        assert files_with(settings.home, words) == []
        assert database.query("select name from transactional.users")["name"].tolist() == [
            OTHER["name"]
        ]


def test_segments_that_an_earlier_version_recycled_are_deleted_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home")
    words = [str(USER["email"]).encode()]
    monkeypatch.setitem(SERVER_SETTINGS, "wal_recycle", "on")
    with own_server(settings) as database:
        land(database, "users", [USER])
        log = Database(sibling_url(database.url, "postgres"))
        with log.connect(autocommit=True) as connection:
            connection.execute("select pg_switch_wal()")
            connection.execute("checkpoint")
        [reason] = [
            each
            for each in forget(settings, str(USER["user_id"])).not_reached
            if "write-ahead" in each
        ]
        assert "retail-pipeline down" in reason
    assert {each.parent.name for each in files_with(settings.home, words)} == {"pg_wal"}
    monkeypatch.setitem(SERVER_SETTINGS, "wal_recycle", "off")
    with own_server(settings):
        forget(settings, str(USER["user_id"]))
    assert files_with(settings.home, words) == []


def files_with(home: Path, words: list[bytes]) -> list[Path]:
    files = (path for path in home.rglob("*") if path.is_file())
    return [path for path in files if any(word in path.read_bytes() for word in words)]


def test_files_are_reached_in_every_encoding_and_container(
    database: Database, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=database.url)
    land(database, "users", [USER, OTHER])
    texts = [*USER.values(), USER["email"].upper(), "07700/900-123", "0044 (7700) 900123"]
    lines = [
        *texts,
        *(quote(text, safe="") for text in texts),
        *(html.escape(text) for text in texts),
        *(json.dumps({"text": text}) for text in texts),
        *(json.dumps(json.dumps({"text": text})) for text in texts),
        f"\x1b[31m{USER['user_id']}\x1b[0m",
    ]
    text = "\n".join(lines)
    folder = settings.home / "logs"
    folder.mkdir(parents=True)
    utf8 = text.encode()
    (folder / "utf8.log").write_bytes(utf8)
    (folder / "latin.log").write_bytes(text.encode("latin-1") + b"\xff\xfe kept")
    (folder / "cut.log").write_bytes(b"\0\0\0" + utf8)
    (folder / "copy.log.gz").write_bytes(gzip.compress(utf8))
    with zipfile.ZipFile(folder / "book.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sheet.xml", utf8)
        archive.writestr("inner.gz", gzip.compress(utf8))
    pd.DataFrame({"customer_id": [USER["user_id"]] * 9}).to_parquet(folder / "ids.parquet")
    (folder / "cache.pickle").write_bytes(b"\0" + utf8)
    part = settings.home / "lake" / "landing" / "transactional" / "users" / "part.parquet"
    part.parent.mkdir(parents=True)
    pd.DataFrame({"user_id": [USER["user_id"]] * 9}).to_parquet(part)
    (folder / "windows.txt").write_bytes(f"{USER['email']} {OTHER['email']}".encode("utf-16"))
    others = {
        "else.log.gz": gzip.compress(b"K18: Somebody Else"),
        "else.pickle": b"\0Somebody Else",
        "figure.png": b"\x89PNG\0K-17",
    }
    for name, data in others.items():
        (folder / name).write_bytes(data)
    (folder / "damaged.gz").write_bytes(b"\x1f\x8b nothing")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text(USER["email"])

    outcome = forget(settings, USER["user_id"])

    left = b"".join(path.read_bytes() for path in folder.iterdir() if path.name != "link").lower()
    for word in (b"quill", b"ngstr", b"900123", b"900-123", b"lower", b"k-"):
        assert word not in left.replace(b"somebody else", b"").replace(b"k-17", b""), word
    assert (folder / "latin.log").read_bytes().endswith(b"\xff\xfe kept")
    assert {name: (folder / name).read_bytes() for name in others} == others
    assert (tmp_path / "elsewhere").read_text() == USER["email"]
    assert not part.exists()
    assert [each.count for each in outcome.removed if each.what == "files"] == [1]
    gone = {Path(each.place).name for each in outcome.removed if each.what == "file"}
    assert gone == {"copy.log.gz", "book.xlsx", "ids.parquet", "cache.pickle", "windows.txt"}
    unsearched = [place for place in outcome.not_reached if "cannot be searched" in place]
    assert [name for name in ("damaged.gz", "link") if name in "".join(unsearched)] == [
        "damaged.gz",
        "link",
    ]


def test_the_lake_is_emptied_wherever_it_is(
    database: Database, tmp_path: Path, lake_address: str
) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home, database_url=database.url, lake=lake_address)
    land(database, "users", [USER])
    for address in (lake_address, home / "lake"):
        with Lake(address).landing() as folder:
            pass
        with Lake(address).files.open_output_stream(f"{folder}/part.parquet") as file:
            file.write(str(USER["user_id"]).encode())
    outcome = forget(settings, str(USER["user_id"]))
    assert {each.place for each in outcome.removed if each.what == "files"} == {
        *(lake_address, str(home / "lake"))
    }
    assert [Lake(each).remove() for each in (lake_address, home / "lake")] == [0, 0]
    assert lake_address.startswith("s3:") == any("s3:" in each for each in outcome.not_reached)


SPY = """
create table warehouse.seen (session_login name, rights name);
grant insert on warehouse.seen to public;
create function warehouse.spy() returns boolean language plpgsql as $$
begin
    insert into warehouse.seen values (session_user, current_user);
    return true;
end $$;
grant execute on function warehouse.spy() to public;
create function warehouse.spy_trigger() returns trigger language plpgsql as $$
begin
    perform warehouse.spy();
    return old;
end $$;
create type warehouse.id as (text text);
create function warehouse.spelled(warehouse.id) returns text language plpgsql as $$
begin
    perform warehouse.spy();
    return $1.text;
end $$;
create cast (warehouse.id as text) with function warehouse.spelled(warehouse.id);
create table warehouse.mart (customer_id text);
"""
ATTACKS = {
    "trigger": "create trigger spy before delete on warehouse.mart for each row "
    "execute function warehouse.spy_trigger()",
    "rule": "create rule spy as on delete to warehouse.mart do also select warehouse.spy()",
    "policy": "create policy spy on warehouse.mart using (warehouse.spy()); "
    "alter table warehouse.mart enable row level security, force row level security",
    "cast": "alter table warehouse.mart alter customer_id type warehouse.id "
    "using row(customer_id)::warehouse.id",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_code_of_a_mart_does_not_run_with_the_rights_of_the_owner(
    database: Database, tmp_path: Path, attack: str
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=database.url)
    land(database, "users", [USER])
    with database.as_role(Role.TRANSFORMER).connect() as connection:
        connection.execute(SPY)
        connection.execute("insert into warehouse.mart values (%s)", [USER["user_id"]])
        connection.execute(ATTACKS[attack])

    forget(settings, USER["user_id"])

    seen = database.query("select distinct session_login, rights from warehouse.seen")
    assert set(seen["rights"]) == {Role.TRANSFORMER}
    with database.connect() as owner:
        assert owner.info.user not in set(seen["session_login"])
