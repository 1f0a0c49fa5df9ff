"""dbt in Dagster: asset keys that join the layers, metadata of tables, blocking checks."""

from datetime import date
from pathlib import Path
from typing import Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    ExecuteInProcessResult,
    materialize,
)

from retail_pipeline import generation as state
from retail_pipeline.automation import retraining
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import FAILED_ASSETS
from retail_pipeline.postgres import Database
from retail_pipeline.settings import Settings
from retail_pipeline.warehouse.assets import build_warehouse
from retail_pipeline_tests.warehouse.landing import land, line, transaction

AT = "2024-01-01T10:00:00Z"
TRANSACTIONS = retraining.TRANSACTIONS.to_user_string()


def _assets() -> AssetsDefinition:
    (assets,) = build_warehouse().assets or ()
    assert isinstance(assets, AssetsDefinition)
    return assets


def _run(database: Database, home: Path, *, select: str | None = None) -> ExecuteInProcessResult:
    settings = Settings(home=home, database_url=database.url)
    state.begin(database, source_id="test", as_of=date(2024, 4, 15), run_id="run")
    return materialize(
        [_assets()],
        selection=AssetSelection.from_string(select) if select else None,
        resources={"database": database, "settings": settings, "run_window": RunWindow()},
        instance=DagsterInstance.ephemeral(),
        raise_on_error=False,
    )


def test_keys_lead_from_the_landing_tables_to_the_marts() -> None:
    assets = _assets()
    upstream: dict[AssetKey, set[AssetKey]] = {
        spec.key: {dep.asset_key for dep in spec.deps} for spec in assets.specs
    }

    def ancestors(key: AssetKey) -> set[AssetKey]:
        above = upstream.get(key, set())
        return above.union(*(ancestors(parent) for parent in above))

    features = AssetKey(["warehouse", "customer_features"])
    assert {
        AssetKey(["transactional", "transactions"]),
        AssetKey(["transactional", "products"]),
        AssetKey(["staging", "stg_retail__transactions"]),
        AssetKey(["warehouse", "customer_day_entries"]),
        AssetKey(["intermediate", "non_product_codes"]),
    } <= ancestors(features)
    outside = set().union(*upstream.values()) - set(upstream)
    assert outside == {
        AssetKey(["transactional", name]) for name in ("products", "users", "transactions")
    }


def test_every_model_says_what_a_row_is_and_whose_it_is() -> None:
    for spec in _assets().specs:
        assert spec.group_name == spec.key.path[0]
        assert spec.owners == ["team:analytics-engineering"]
        assert spec.kinds == {"dbt", "postgres"}
        assert spec.metadata["dagster/table_name"] == ".".join(spec.key.path)
        assert spec.description
        assert spec.description.startswith("One row per"), spec.key
        assert "select" not in spec.description.lower()


def test_a_run_materializes_all_with_counts_columns_and_lineage(
    database: Database, home: Path
) -> None:
    land(database, "transactions", [transaction("T1", "K1", AT, [line(2), line(3)])])
    result = _run(database, home)
    assert result.success
    made: dict[str, dict[str, Any]] = {
        event.asset_key.to_user_string(): {k: v.value for k, v in event.metadata.items()}
        for event in result.asset_materializations_for_node("dbt_build")
    }
    assert set(made) == {spec.key.to_user_string() for spec in _assets().specs}
    assert made["warehouse/fct_transaction_items"]["dagster/row_count"] == 2
    assert {"as_of": "2024-04-15", "generation": 1}.items() <= made[TRANSACTIONS].items()
    assert made["staging/stg_retail__transactions"]["dagster/row_count"] == 1
    for name, metadata in made.items():
        columns = metadata["dagster/column_schema"].columns
        assert columns, name
        if name.startswith("warehouse/"):
            assert all(column.description for column in columns), name
    lineage = made["warehouse/customer_features"]["dagster/column_lineage"].deps_by_column
    assert {(dep.asset_key.path[-1], dep.column_name) for dep in lineage["total_net_amount"]} == {
        ("customer_day_entries", "net_amount")
    }
    sources = made["warehouse/customer_features"]["column_sources"]
    assert "| `total_net_amount` | `customer_day_entries.net_amount` |" in sources.splitlines()
    checks = result.get_asset_check_evaluations()
    assert all(check.passed for check in checks)
    assert {"lines_sum_to_transactions", "money_is_in_one_currency"} <= {
        check.check_name for check in checks
    }
    versions = data_versions(result)
    assert all(versions[name] for name in made if name.startswith("warehouse/"))
    # Unchanged data keeps all data versions; a late return changes those of its tables.
    some = '+key:"warehouse/fct_transactions" or +key:"warehouse/dim_dates"'
    again = data_versions(_run(database, home, select=some))
    assert again.items() <= versions.items()
    back = transaction("R1", "K1", "2024-01-02T10:00:00Z", [line(-2, quantity=-1)], type="return")
    land(database, "transactions", [back])
    after = data_versions(_run(database, home, select=some))
    changed = {name for name in after if versions[name] != after[name]}
    assert {"warehouse/fct_transactions", "warehouse/fct_transaction_items"} <= changed
    assert not changed & {"warehouse/dim_dates", "warehouse/product_costs"}


def data_versions(result: ExecuteInProcessResult) -> dict[str, str | None]:
    """Return the data versions of the tables of a build."""
    return {
        event.asset_key.to_user_string(): (event.tags or {}).get("dagster/data_version")
        for event in result.asset_materializations_for_node("dbt_build")
        if event.asset_key.path[0] != "staging"
    }


def test_one_model_alone_can_be_materialized(database: Database, home: Path) -> None:
    land(database, "transactions", [transaction("T1", "K1", AT, [line(2)])])
    select = 'key:"staging/stg_retail__transactions" or key:"staging/stg_retail__users"'
    result = _run(database, home, select=select)
    assert result.success
    made = {e.asset_key.path[-1] for e in result.asset_materializations_for_node("dbt_build")}
    assert made == {"stg_retail__transactions", "stg_retail__users"}


def test_a_model_and_what_it_is_made_from_can_be_materialized_where_nothing_is_yet(
    database: Database, home: Path
) -> None:
    land(database, "transactions", [transaction("T1", "K1", AT, [line(2)])])
    result = _run(database, home, select='+key:"warehouse/customer_rfm"')
    assert result.success
    checks = {check.check_name for check in result.get_asset_check_evaluations()}
    assert "lines_sum_to_transactions" in checks
    assert "customer_days_sum_to_the_lines_that_count" not in checks


def test_a_failing_test_stops_what_is_downstream_and_says_why(
    database: Database, home: Path
) -> None:
    land(
        database,
        "transactions",
        [
            transaction("T1", "K1", AT, [line(1)]),
            transaction("T2", "K1", AT, [line(1)], currency="EUR"),
        ],
    )
    database.execute("create type staging.stg_retail__users as (in_the_way integer)")
    result = _run(database, home)
    assert not result.success
    made = {e.asset_key.path[-1] for e in result.asset_materializations_for_node("dbt_build")}
    assert "stg_retail__transactions" in made
    assert not made & {"fct_transactions", "customer_days", "customer_features"}
    failed = {c.check_name for c in result.get_asset_check_evaluations() if not c.passed}
    assert failed == {"money_is_in_one_currency"}
    (failure,) = result.get_step_failure_events()
    words = failure.step_failure_data.user_failure_data
    assert words is not None
    assert "test money_is_in_one_currency of warehouse.fct_transaction_items" in words.description
    assert "cannot be added" in words.description
    (name,) = words.metadata[FAILED_ASSETS].value
    assert name == "staging/stg_retail__users"
    assert "already exists" in words.metadata[FAILED_ASSETS].value[name]
