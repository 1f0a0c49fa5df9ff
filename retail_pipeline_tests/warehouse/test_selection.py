"""What is taken from the manifest is what dbt's selection engine would select."""

import pytest
from dagster import AssetCheckSpec, AssetsDefinition, AssetSpec
from dagster_dbt import DbtProject, build_dbt_asset_specs, utils
from dagster_dbt.asset_utils import build_dbt_specs
from dagster_dbt.errors import DagsterDbtCoreNotInstalledError

from retail_pipeline.settings import Settings
from retail_pipeline.warehouse import build_warehouse
from retail_pipeline.warehouse.project import (
    PROJECT_FOLDER,
    database_name,
    read_manifest,
)
from retail_pipeline.warehouse.selection import without_engine
from retail_pipeline.warehouse.translator import WarehouseTranslator


def _selected_by_dbt() -> tuple[list[AssetSpec], list[AssetCheckSpec]]:
    specs, checks = build_dbt_specs(
        translator=WarehouseTranslator(),
        manifest=read_manifest(database_name(Settings())),
        select="fqn:*",
        exclude="",
        selector="",
        io_manager_key=None,
        project=DbtProject(PROJECT_FOLDER),
    )
    return list(specs), list(checks)


def test_assets_and_checks_are_those_that_dbts_own_selection_gives() -> None:
    (assets,) = build_warehouse(Settings()).assets or ()
    assert isinstance(assets, AssetsDefinition)
    specs, checks = _selected_by_dbt()
    assert specs and checks
    assert {spec.key: {dep.asset_key for dep in spec.deps} for spec in assets.specs} == {
        spec.key: {dep.asset_key for dep in spec.deps} for spec in specs
    }
    assert {check.key: check for check in assets.check_specs} == {
        check.key: check for check in checks
    }


def test_a_part_of_the_project_is_refused_rather_than_taken_for_all_of_it() -> None:
    manifest = read_manifest("shop")
    with without_engine(), pytest.raises(DagsterDbtCoreNotInstalledError):
        build_dbt_asset_specs(manifest=manifest, select="tag:monthly")


def test_dagster_dbt_is_left_as_it_was() -> None:
    before = utils.DBT_PYTHON_VERSION
    assert before is not None
    with pytest.raises(ValueError, match="within"), without_engine():
        raise ValueError("within")
    assert utils.DBT_PYTHON_VERSION is before
