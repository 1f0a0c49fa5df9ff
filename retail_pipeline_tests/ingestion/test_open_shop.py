"""The example `open_shop`, from a replayed shop to the marts: another source by files alone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.airbyte_engine.files import AirbyteFolder
from retail_pipeline.postgres import Database
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.ingestion import shop_api
from retail_pipeline_tests.ingestion.shop_api import ShopApi, generated

MARTS = ("revenue_daily", "fct_transactions", "dim_customers", "dim_products", "customer_features")
EXAMPLE = PROJECT_ROOT / "examples" / "open_shop"


@pytest.fixture
def shop() -> Iterator[ShopApi]:
    with shop_api.serving(generated()) as api:
        yield api


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The path of a copy of the project with the example applied as in its README."""
    return copied_project(
        tmp_path / "project", EXAMPLE, "records_of: open_shop", "open_shop_cart_time: date"
    )


def run_marts(
    project: Path, database: Database, folder: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Return the result of `run` in a copy of the project, up to the marts."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "retail_pipeline.cli", "run", *options),
            *("--select", " or ".join(f'+key:"warehouse/{mart}"' for mart in MARTS)),
        ],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(project),
            "RETAIL_HOME": str(folder / "home"),
            "RETAIL_DATABASE_URL": database.url,
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def copied_project(root: Path, example: Path, *variables: str) -> Path:
    """Return a copy of the project with an example applied as in its README."""
    leave = shutil.ignore_patterns("target", "__pycache__", "logs")
    for name in ("retail_pipeline", "airbyte", "dbt_project", "database", "deploy"):
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=leave)
    if (example / "airbyte").exists():
        for path in (root / "airbyte" / "connections").iterdir():
            path.unlink()
        shutil.copytree(example / "airbyte", root / "airbyte", dirs_exist_ok=True)
    shutil.copytree(example / "dbt_project", root / "dbt_project", dirs_exist_ok=True)
    settings = root / "dbt_project" / "dbt_project.yml"
    settings.write_text(settings.read_text().replace("records_of: null", "\n  ".join(variables)))
    return root


def net_amount(cart: dict) -> Decimal:
    return sum(
        (
            Decimal(str(line["price"]))
            * line["quantity"]
            * (1 - Decimal(str(line["discountPercentage"])) / 100)
            for line in cart["products"]
        ),
        Decimal(0),
    )


def test_a_shop_comes_through_to_the_marts(
    shop: ShopApi, project: Path, database: Database, tmp_path: Path
) -> None:
    done = run_marts(
        project, database, tmp_path, "--as-of", "2025-06-01", RETAIL_SOURCE=shop.address
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {key for *_, key in shop.requests} == {None}  # not sent to the shop
    with database.connect() as session:
        landed = session.execute(
            "select transaction_id, customer_id, transacted_at, net_amount, line_count "
            "from warehouse.fct_transactions"
        ).fetchall()
        people = session.execute("select customer_id, country from warehouse.dim_customers")
        assert set(people.fetchall()) == {
            (str(user["id"]), user["address"]["country"]) for user in shop.users
        }
        products = session.execute(
            "select product_id, product_name, price from warehouse.dim_products"
        )
        assert set(products.fetchall()) == {
            (str(each["id"]), each["title"], Decimal(str(each["price"]))) for each in shop.products
        }
        readers = session.execute("select distinct reader from quality.sync_jobs").fetchall()
    assert sorted(landed) == sorted(
        (
            str(cart["id"]),
            str(cart["userId"]),
            datetime.fromisoformat(cart["date"]),
            net_amount(cart),
            len(cart["products"]),
        )
        for cart in shop.carts
    )
    assert readers == [("page loop",)]


def test_without_its_optional_variable_all_carts_count_today(
    shop: ShopApi, project: Path, database: Database, tmp_path: Path
) -> None:
    settings = project / "dbt_project" / "dbt_project.yml"
    settings.write_text(settings.read_text().replace("  open_shop_cart_time: date\n", ""))
    done = run_marts(project, database, tmp_path, RETAIL_SOURCE=shop.address)
    assert done.returncode == 0, done.stdout + done.stderr
    with database.connect() as session:
        row = session.execute(
            "select count(*), sum(net_amount), count(distinct transaction_date) "
            "from warehouse.fct_transactions"
        ).fetchone()
        features = session.execute("select count(*) from warehouse.customer_features").fetchone()
    assert row == (len(shop.carts), sum(net_amount(cart) for cart in shop.carts), 1)
    assert features == (len({cart["userId"] for cart in shop.carts}),)


def test_each_sync_replaces_the_table(shop: ShopApi, database: Database, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "airbyte", tmp_path / "airbyte")
    shutil.copytree(PROJECT_ROOT / "airbyte/destinations", tmp_path / "airbyte/destinations")
    folder = AirbyteFolder.load(tmp_path / "airbyte")
    connection = folder.connections["open_shop_carts"]
    with Engine(folder, database, {"RETAIL_API_URL": shop.address}, generation=1) as engine:
        first = engine.wait(engine.start(connection.id).job_id)
        assert (first.status, first.counts.rows_read) == ("succeeded", 900)
        shop.carts = [*shop.carts[:300], {**shop.carts[300], "userId": 1}]
        shop.carts.append(shop.carts[0])  # served twice, as when records move between pages
        second = engine.wait(engine.start(connection.id).job_id)
        assert (second.status, second.counts.rows_read) == ("succeeded", 302)
        rows = landed(database)
        assert rows == {cart["id"]: cart["userId"] for cart in shop.carts}
        shop.carts = [{"id": 1, "products": []}]  # its user is required
        third = engine.wait(engine.start(connection.id).job_id)
        assert (third.status, third.counts.rows_rejected, landed(database)) == ("succeeded", 1, {})
        assert database.query("select * from quality.sync_states").empty


def landed(database: Database) -> dict[int, int]:
    with database.connect() as session:
        return dict(session.execute('select id, "userId" from transactional.shop_carts').fetchall())
