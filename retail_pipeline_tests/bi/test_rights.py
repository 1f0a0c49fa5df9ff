"""What viewer, analyst and strangers try in Superset, and must not get; and what they may."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from retail_pipeline.bi.applying import apply_bundle
from retail_pipeline.bi.reader_login import reader_login
from retail_pipeline.bi.superset import Superset
from retail_pipeline.loopback import listener
from retail_pipeline.postgres import Database, address
from retail_pipeline_tests.bi.small_bundle import write
from retail_pipeline_tests.bi.superset_client import SupersetUser

ROW = "person@example.org"
REFUSED = (401, 403, 404)

SQL_OF_ANALYST = [
    "select * from transactional.users",
    "table transactional.users",
    "select * from quality.rejected_records",
    "with u as (select * from transactional.users) select email from u",
    "reset role; select * from transactional.users",
    "set role none; select * from transactional.users",
    "set role retail_transformer; select * from transactional.users",
    "set session authorization retail; select 1",
    "select set_config('role', 'none', false)",
    "select set_config('default_transaction_read_only', 'off', false)",
    "select query_to_xml('select * from transactional.users', true, true, '')",
    "delete from warehouse.days",
    "insert into warehouse.days values ('2024-01-02', 'X', 1)",
    "create table warehouse.mine (n int)",
    "create table clv.mine as select 1 as n",
    "explain analyze delete from warehouse.days",
    "do $$ begin perform 1; end $$",
    "copy warehouse.days to program 'id'",
    "copy (select 1) to '/tmp/of_superset'",
    "select pg_read_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select * from pg_authid",
    "alter role current_user createrole",
    "select pg_sleep(1)",
]


@pytest.fixture(scope="module")
def running(
    superset: Superset, shown: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Superset]:
    """A server with the files applied, and a data set and a dashboard that the admin has made."""
    shown.execute(
        "insert into transactional.users (_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta, "
        "_airbyte_generation_id, user_id, email) "
        f"values ('1', now(), '{{}}', 1, 'K1', '{ROW}')"
    )
    apply_bundle(superset, shown, folder=write(tmp_path_factory.mktemp("files")))
    with listener(0) as free:
        port = int(free.getsockname()[1])
    superset.start(port)
    admin = SupersetUser(superset, "admin")
    database = admin.ids("database")["Warehouse"]
    table = {"database": database, "schema": "clv", "table_name": "predictions"}
    assert admin.send("POST", "/api/v1/dataset/", **table).status_code == 201
    chart = {"slice_name": "Private", "viz_type": "table", "datasource_type": "table"}
    chart["datasource_id"] = admin.ids("dataset")["predictions"]
    made = admin.send("POST", "/api/v1/chart/", **chart)
    private = {"dashboard_title": "Private", "published": True, "slug": "private"}
    board = admin.send("POST", "/api/v1/dashboard/", **private)
    assert (made.status_code, board.status_code) == (201, 201)
    joined = admin.send(
        "PUT", f"/api/v1/chart/{made.json()['id']}", dashboards=[board.json()["id"]]
    )
    assert joined.status_code == 200
    yield superset
    superset.stop()


@pytest.fixture(scope="module")
def admin(running: Superset) -> SupersetUser:
    return SupersetUser(running, "admin")


@pytest.fixture(scope="module")
def viewer(running: Superset) -> SupersetUser:
    return SupersetUser(running, "viewer")


@pytest.fixture(scope="module")
def analyst(running: Superset) -> SupersetUser:
    return SupersetUser(running, "analyst")


def query(dataset: int, metric: Any, **form: Any) -> dict[str, Any]:
    """Return a request for chart data, as the page of a dashboard sends it."""
    return {
        "datasource": {"id": dataset, "type": "table"},
        "form_data": form,
        "queries": [{"metrics": [metric], "columns": [], "filters": []}],
        "result_format": "json",
        "result_type": "full",
    }


def test_the_viewer_sees_the_dashboards_and_their_numbers(
    viewer: SupersetUser, admin: SupersetUser
) -> None:
    assert list(viewer.ids("dashboard")) == ["Shop"]
    form = {"dashboardId": admin.ids("dashboard")["Shop"], "slice_id": admin.ids("chart")["Total"]}
    asked = query(admin.ids("dataset")["days"], "revenue", **form)
    answer = viewer.send("POST", "/api/v1/chart/data", **asked)
    assert answer.json()["result"][0]["data"] == [{"revenue": 10}]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/database/",
        "/api/v1/database/1/schemas/",
        "/api/v1/dataset/",
        "/api/v1/query/",
        "/api/v1/saved_query/",
        "/api/v1/security/users/",
        "/api/v1/security/roles/",
        "/api/v1/log/",
        "/api/v1/assets/export/",
        "/api/v1/dashboard/private",
        "/api/v1/dashboard/private/charts",
        "/api/v1/dashboard/private/datasets",
        "/api/v1/chart/{Private}",
        "/api/v1/chart/{Private}/data/",
        "/api/v1/dataset/{predictions}",
        "/datasource/get/table/{predictions}/",
        "/api/v1/explore/?datasource_type=table&datasource_id={predictions}",
        "/api/v1/datasource/table/{predictions}/column/customer_id/values/",
        "/superset/dashboard/private/",
        "/sqllab/",
        "/api/v1/dashboard/export/?q=!({dashboard})",
        "/api/v1/chart/export/?q=!({Private})",
    ],
)
def test_the_viewer_does_not_get(viewer: SupersetUser, admin: SupersetUser, path: str) -> None:
    private = {"dashboard": admin.ids("dashboard")["Private"]}
    ids = {**admin.ids("chart"), **admin.ids("dataset"), **private}
    for name, number in ids.items():
        path = path.replace(f"{{{name}}}", str(number))
    assert "{" not in path
    answer = viewer.get(path)
    # Pages redirect to a page that the user may see.
    assert answer.status_code in (*REFUSED, 302), answer.text[:300]
    assert admin.get(path).status_code in (200, 400)  # 400: the admin is let in, to no saved query


def test_the_viewer_gets_no_other_data_and_changes_nothing(
    viewer: SupersetUser, admin: SupersetUser
) -> None:
    boards, charts, datasets = admin.ids("dashboard"), admin.ids("chart"), admin.ids("dataset")
    count = {"expressionType": "SQL", "sqlExpression": "count(*)", "label": "n"}
    shop = {"dashboardId": boards["Shop"], "slice_id": charts["Total"]}
    private = {"dashboardId": boards["Private"], "slice_id": charts["Private"]}
    mixed = {"dashboardId": boards["Shop"], "slice_id": charts["Private"]}
    inner = "(select max(email) from transactional.users)"
    subquery = {"expressionType": "SQL", "sqlExpression": inner, "label": "n"}
    sql = {"database_id": 1, "sql": "select 1", "schema": "warehouse"}
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/v1/chart/data", query(datasets["days"], "revenue")),
        ("POST", "/api/v1/chart/data", query(datasets["predictions"], count, **shop)),
        ("POST", "/api/v1/chart/data", query(datasets["predictions"], count, **private)),
        ("POST", "/api/v1/chart/data", query(datasets["predictions"], count, **mixed)),
        ("POST", "/api/v1/chart/data", query(datasets["days"], subquery, **shop)),
        ("POST", "/api/v1/sqllab/execute/", sql),
        ("POST", "/api/v1/chart/", {"slice_name": "x", "datasource_id": 1}),
        ("POST", "/api/v1/dashboard/", {"dashboard_title": "x"}),
        ("PUT", f"/api/v1/chart/{charts['Total']}", {"slice_name": "x"}),
        ("PUT", f"/api/v1/dashboard/{boards['Shop']}", {"dashboard_title": "x"}),
        ("DELETE", f"/api/v1/dashboard/{boards['Shop']}", {}),
        ("PUT", "/api/v1/database/1", {"database_name": "x"}),
        ("POST", "/api/v1/security/users/", {"username": "x"}),
    ]
    for method, path, content in tries:
        answer = viewer.send(method, path, **content)
        assert answer.status_code >= 400, (path, content)
        assert answer.status_code in (*REFUSED, 400, 422, 405), (path, answer.text[:300])
    assert set(admin.ids("dashboard")) == {"Shop", "Private"}


def run_sql(user: SupersetUser, database: int, text: str) -> httpx.Response:
    return user.send(
        "POST",
        "/api/v1/sqllab/execute/",
        database_id=database,
        sql=text,
        schema="warehouse",
        runAsync=False,
        client_id=f"{abs(hash(text)) % 10**10:010}",
    )


def test_the_analyst_reads_the_marts(analyst: SupersetUser) -> None:
    database = analyst.ids("database")["Warehouse"]
    answer = run_sql(analyst, database, "select sum(net_amount) as revenue from days")
    assert answer.json()["data"] == [{"revenue": 10}], answer.text[:500]


@pytest.mark.parametrize("statement", SQL_OF_ANALYST)
def test_sql_lab_refuses(analyst: SupersetUser, statement: str) -> None:
    answer = run_sql(analyst, analyst.ids("database")["Warehouse"], statement)
    # Not because the analyst may run no SQL at all, which is the answer "Forbidden".
    assert answer.status_code >= 400 and answer.json() != {"message": "Forbidden"}, answer.text
    assert ROW not in answer.text


def test_the_analyst_changes_none_of_our_objects(
    analyst: SupersetUser, admin: SupersetUser
) -> None:
    charts, boards = admin.ids("chart"), admin.ids("dashboard")
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", f"/api/v1/chart/{charts['Total']}", {"slice_name": "x"}),
        ("DELETE", f"/api/v1/chart/{charts['Total']}", {}),
        ("PUT", f"/api/v1/dashboard/{boards['Shop']}", {"dashboard_title": "x"}),
        ("DELETE", f"/api/v1/dashboard/{boards['Shop']}", {}),
        ("PUT", f"/api/v1/dataset/{admin.ids('dataset')['days']}", {"sql": "select 1"}),
        ("POST", "/api/v1/dataset/", {"database": 1, "schema": "clv", "table_name": "totals"}),
        ("PUT", "/api/v1/database/1", {"allow_dml": True}),
        ("POST", "/api/v1/database/", {"database_name": "x", "sqlalchemy_uri": "sqlite:////x"}),
        ("POST", "/api/v1/database/test_connection/", {"sqlalchemy_uri": "sqlite:////x"}),
        ("POST", "/api/v1/database/1/upload/", {"table_name": "x", "type": "csv"}),
        ("POST", "/api/v1/security/users/", {"username": "x"}),
        ("POST", "/api/v1/assets/import/", {}),
    ]
    for method, path, content in tries:
        answer = analyst.send(method, path, **content)
        assert answer.status_code in (*REFUSED, 405), (path, answer.status_code, answer.text[:300])
    own = {"slice_name": "Own", "viz_type": "table", "datasource_type": "table"}
    own["datasource_id"] = admin.ids("dataset")["days"]
    assert analyst.send("POST", "/api/v1/chart/", **own).status_code == 201


def test_a_stranger_sees_nothing(running: Superset, admin: SupersetUser) -> None:
    stranger = httpx.Client(base_url=str(running.address()), timeout=60)
    for path in (
        "/api/v1/dashboard/",
        "/api/v1/chart/",
        "/api/v1/dataset/",
        "/api/v1/database/",
        "/superset/dashboard/shop/",
        "/dashboard/list/",
        "/sqllab/",
        "/swagger/v1",
        "/api/v1/security/users/",
        "/superset/welcome/",
        "/api/v1/me/",
        "/users/add",
        "/register/form",
    ):
        answer = stranger.get(path)
        listed = (
            answer.json() if answer.headers["content-type"].startswith("application/json") else {}
        )
        assert answer.status_code in (*REFUSED, 302, 405) or not listed.get("result", True), path
    asked = query(admin.ids("dataset")["days"], "revenue")
    assert stranger.post("/api/v1/chart/data", json=asked).status_code in (400, 401, 403)
    guessed = {"username": "admin", "password": "admin", "provider": "db"}
    assert stranger.post("/api/v1/security/login", json=guessed).status_code == 401


def test_nothing_listens_beyond_loopback_and_no_secret_is_readable_by_others(
    running: Superset, shown: Database
) -> None:
    for name in ("logins.json", "secret.key"):
        assert (running.folder / name).stat().st_mode & 0o077 == 0
    assert running.folder.stat().st_mode & 0o077 == 0
    secrets = [
        address.read(reader_login(shown))["password"],
        *running.logins().values(),
        (running.folder / "secret.key").read_text(),
    ]
    for file in ("superset.log", "superset.db"):
        content = (running.folder / file).read_bytes()
        assert not any(secret.encode() in content for secret in secrets), file
    assert running.address() is not None
    assert str(running.address()).startswith("http://127.0.0.1:")
    assert "0.0.0.0" not in (running.folder / "superset.log").read_text()
