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

KILLS = 4


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


def test_killed_in_the_middle_it_is_unchanged_or_complete(
    superset: Superset, shown: Database, files: Path
) -> None:
    """The server runs, too, and is killed with the apply."""
    names = [f"Total {number}" for number in range(KILLS)]
    started = time.monotonic()
    assert changed(superset, shown, files) == []
    seconds = time.monotonic() - started
    superset.start(_free_port())
    outcomes = set()
    for number, name in enumerate(names):
        before = rows(superset)
        text = FILES["charts/total.yaml"].replace("Total", name)
        write(files, charts__total=text)
        process = subprocess.Popen(
            [sys.executable, "-c", _APPLY, str(superset.folder), shown.url, str(files)],
            start_new_session=True,
        )
        time.sleep(seconds * (0.5 + number * 0.6 / KILLS))
        with_server = number == KILLS - 1
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if with_server:
            os.killpg(json.loads((superset.folder / "server.lock").read_text())["pid"], 9)
        time.sleep(0.2)
        after = rows(superset)
        if after != before:
            assert name in charts(superset)
            assert changed(superset, shown, files) == []
        outcomes.add(after == before)
        apply_bundle(superset, shown, folder=files)
        assert {name, "By country"} <= charts(superset)
    assert superset.address() is None
    write(files)
    apply_bundle(superset, shown, folder=files)


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
