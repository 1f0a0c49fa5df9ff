"""The import of the files into Superset: all of it or nothing, and no change left unseen."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retail_pipeline.bi.applying import apply_bundle
from retail_pipeline.bi.bundle import BundleError
from retail_pipeline.bi.superset import Superset
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline_tests.bi.small_bundle import FILES, write
from retail_pipeline_tests.bi.superset_client import SupersetUser


@pytest.fixture
def files(superset: Superset, shown: Database, tmp_path: Path) -> Iterator[Path]:
    """A folder of files that Superset is in the state of."""
    folder = write(tmp_path / "files")
    apply_bundle(superset, shown, folder=folder)
    yield folder


def rows(superset: Superset) -> dict[str, list[str]]:
    """Return the rows of Superset's own tables, as text."""
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table'")
        return {
            name: sorted(str(row) for row in connection.execute(f'select * from "{name}"'))
            for (name,) in tables.fetchall()
        }


def charts(superset: Superset) -> set[str]:
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        return {name for (name,) in connection.execute("select slice_name from slices")}


def drawn(superset: Superset) -> set[str]:
    """Return the charts that the dashboard's layout places, by their ids."""
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        (text,) = connection.execute("select position_json from dashboards").fetchone()
        places = [each for each in json.loads(text).values() if "meta" in each]
        ids = [each["meta"]["chartId"] for each in places if "chartId" in each["meta"]]
        names = dict(connection.execute("select id, slice_name from slices"))
    return {names[each] for each in ids}


def changed(superset: Superset, shown: Database, files: Path, *, write: bool = True) -> list[str]:
    found = apply_bundle(superset, shown, folder=files, write=write)
    return [f"{change.sign} {change.name}" for change in found]


def test_twice_is_no_change(superset: Superset, shown: Database, files: Path) -> None:
    before = rows(superset)
    assert {"Total", "By country"} <= charts(superset)
    assert apply_bundle(superset, shown, folder=files) == []
    assert rows(superset) == before


def test_edits_additions_and_removals_arrive(
    superset: Superset, shown: Database, files: Path
) -> None:
    layout = FILES["dashboards/shop.yaml"].replace("by_country: 8", "by_day: 8")
    by_day = FILES["charts/by_country.yaml"].replace("By country", "By day")
    total = FILES["charts/total.yaml"].replace("Total", "Net revenue")
    write(files, dashboards__shop=layout, charts__by_day=by_day, charts__total=total)
    (files / "charts/by_country.yaml").unlink()
    expected = ["- charts/by_country.yaml", "+ charts/by_day.yaml", "~ charts/total.yaml"]
    before = rows(superset)
    planned = changed(superset, shown, files, write=False)
    assert planned == [*expected, "~ dashboards/shop.yaml"]
    assert rows(superset) == before
    assert changed(superset, shown, files) == planned
    assert charts(superset) == {"Net revenue", "By day"}


def test_a_change_by_hand_is_shown_and_overwritten(
    superset: Superset, shown: Database, files: Path
) -> None:
    superset.start(_free_port())
    admin = SupersetUser(superset, "admin")
    chart, dashboard = admin.ids("chart")["Total"], admin.ids("dashboard")["Shop"]
    by_hand = [
        ("PUT", f"/api/v1/chart/{chart}", {"slice_name": "Mine", "certified_by": "me"}),
        ("PUT", f"/api/v1/dashboard/{dashboard}", {"css": "a {}", "published": False}),
        ("DELETE", f"/api/v1/chart/{admin.ids('chart')['By country']}", {}),
    ]
    for method, path, content in by_hand:
        assert admin.send(method, path, **content).status_code == 200
    own = {"slice_name": "Of an analyst", "viz_type": "table", "datasource_type": "table"}
    own["datasource_id"] = admin.ids("dataset")["days"]
    assert admin.send("POST", "/api/v1/chart/", **own).status_code == 201
    found = apply_bundle(superset, shown, folder=files, write=False)
    assert {str(change) for change in found} == {
        "+ charts/by_country.yaml",
        "~ charts/total.yaml: certified_by, slice_name",
        "~ dashboards/shop.yaml: css, published",
    }
    apply_bundle(superset, shown, folder=files)
    assert apply_bundle(superset, shown, folder=files) == []
    assert charts(superset) == {"Total", "By country", "Of an analyst"}
    assert drawn(superset) == {"Total", "By country"}
    superset.stop()


def test_rights_given_by_hand_are_taken_back(
    superset: Superset, shown: Database, files: Path
) -> None:
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        connection.execute(
            "insert into ab_user_role (user_id, role_id) select u.id, r.id "
            "from ab_user as u, ab_role as r where u.username = 'viewer' and r.name = 'Admin'"
        )
        connection.execute(
            "insert into ab_permission_view_role (permission_view_id, role_id) "
            "select min(v.id), r.id from ab_permission_view as v, ab_role as r "
            "join ab_permission as p on p.name = 'can_write' "
            "where r.name = 'Viewer' and v.permission_id = p.id group by r.id"
        )
    assert changed(superset, shown, files) == ["~ role Viewer", "~ user viewer"]
    assert changed(superset, shown, files) == []


def test_what_is_refused_changes_nothing(superset: Superset, shown: Database, files: Path) -> None:
    before = rows(superset)
    renamed = FILES["charts/total.yaml"].replace("Total", "Another")
    bad_column = FILES["datasets/days.yaml"].replace("column_name: country", "column_name: land")
    for change, error in (
        ({"datasets__days": bad_column, "charts__by_country": renamed}, BundleError),
        ({"charts__total": "slice_name: ["}, BundleError),
        # Superset's schema refuses the second file after it has taken the first.
        (
            {"charts__by_country": renamed, "charts__total": FILES["charts/total.yaml"] + "x: 1"},
            PipelineError,
        ),
    ):
        write(files, **change)
        with pytest.raises(error, match="nothing was changed"):
            apply_bundle(superset, shown, folder=files)
        assert rows(superset) == before
        write(files)
    assert changed(superset, shown, files) == []


def test_a_dashboard_made_in_superset_is_not_taken_over(
    superset: Superset, shown: Database, files: Path
) -> None:
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        connection.execute(
            "insert into dashboards (dashboard_title, slug, published, is_managed_externally, "
            "created_on, changed_on) "
            "select 'Mine', 'mine', 1, 0, created_on, changed_on from tables"
        )
    mine = FILES["dashboards/shop.yaml"].replace("slug: shop", "slug: mine")
    write(files, dashboards__mine=mine)
    with pytest.raises(PipelineError, match=r"dashboards/mine.yaml: mine is the slug of an object"):
        apply_bundle(superset, shown, folder=files)
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        assert connection.execute("delete from dashboards where slug = 'mine'").rowcount == 1


def test_a_data_set_that_others_use_is_not_removed(
    superset: Superset, shown: Database, files: Path
) -> None:
    write(
        files,
        datasets__more=FILES["datasets/days.yaml"].replace("table_name: days", "table_name: more"),
    )
    shown.execute("create view warehouse.more as select * from warehouse.days")
    apply_bundle(superset, shown, folder=files)
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        connection.execute(
            "insert into slices (slice_name, datasource_id, datasource_type, viz_type, "
            "is_managed_externally, created_on, changed_on) "
            "select 'Mine', id, 'table', 'table', 0, created_on, changed_on from tables "
            "where table_name = 'more'"
        )
    (files / "datasets/more.yaml").unlink()
    write(files, charts__total=FILES["charts/total.yaml"].replace("Total", "Another"))
    before = rows(superset)
    with pytest.raises(PipelineError, match=r"data set more has no file any more.*Mine"):
        apply_bundle(superset, shown, folder=files)
    assert rows(superset) == before  # the import itself had been done
    write(files)
    with sqlite3.connect(superset.folder / "superset.db") as connection:
        connection.execute("delete from slices where slice_name = 'Mine'")
    assert changed(superset, shown, files) == ["- datasets/more.yaml"]


NEVER = "(with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n)"
"""A query of SQLite without an end."""


@pytest.mark.parametrize(
    "point", ["update on tables", "update on slices", "delete on slices", "commit"]
)
def test_killed_within_the_transaction_it_has_changed_nothing(
    superset: Superset, shown: Database, files: Path, point: str
) -> None:
    """A trigger holds the import at a statement, a reader holds its commit; then all is killed."""
    superset.start(_free_port())
    by_day = FILES["charts/by_country.yaml"].replace("By country", "By day")
    write(
        files,
        datasets__days=FILES["datasets/days.yaml"] + "description: changed\n",
        charts__total=FILES["charts/total.yaml"].replace("Total", "Another"),
        charts__by_day=by_day,
        dashboards__shop=FILES["dashboards/shop.yaml"].replace("by_country: 8", "by_day: 8"),
    )
    (files / "charts/by_country.yaml").unlink()
    said, before = changed(superset, shown, files, write=False), rows(superset)
    assert len(said) == 5
    file = superset.folder / "superset.db"
    with sqlite3.connect(file, isolation_level=None) as holder:
        if point == "commit":
            holder.execute("begin")
            holder.execute("select count(*) from slices").fetchone()
        else:
            holder.execute(f"create trigger held after {point} begin select {NEVER}; end")
        process = subprocess.Popen(
            [sys.executable, "-c", _APPLY, str(superset.folder), shown.url, str(files)],
            start_new_session=True,
        )
        try:
            _wait_until_held(file, process, at_commit=point == "commit")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if point == "commit":
            holder.execute("rollback")
    os.killpg(json.loads((superset.folder / "server.lock").read_text())["pid"], signal.SIGKILL)
    with sqlite3.connect(file) as connection:
        connection.execute("drop trigger if exists held")
    assert rows(superset) == before
    assert changed(superset, shown, files, write=False) == said
    assert changed(superset, shown, files) == said
    assert changed(superset, shown, files) == []
    assert superset.address() is None


def _wait_until_held(file: Path, process: subprocess.Popen[bytes], *, at_commit: bool) -> None:
    """Wait until the process has written within its transaction and goes no further.

    At its commit it lets nobody read; before, nobody else may write. Locks of SQLite are those of
    processes, so another one asks.
    """
    statement = "select 1 from slices" if at_commit else "begin immediate"
    deadline, held = time.monotonic() + 240, 0
    while process.poll() is None and time.monotonic() < deadline and held < 10:
        time.sleep(0.2)
        done = subprocess.run(
            [sys.executable, "-c", _TRY, file, statement], capture_output=True, check=False
        )
        held = held + 1 if b"database is locked" in done.stderr else 0
    assert held == 10 and process.poll() is None, "not held within its transaction"


_TRY = """
import sqlite3, sys
sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute(sys.argv[2])
"""

_APPLY = """
import sys
from pathlib import Path
from retail_pipeline.bi.applying import apply_bundle
from retail_pipeline.bi.superset import Superset
from retail_pipeline.postgres import Database
folder, url, files = sys.argv[1:]
apply_bundle(Superset(Path(folder)), Database(url), folder=Path(files))
"""


def _free_port() -> int:
    from retail_pipeline.loopback import listener

    with listener(0) as free:
        return int(free.getsockname()[1])
