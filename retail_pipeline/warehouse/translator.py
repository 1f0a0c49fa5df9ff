"""From dbt nodes to Dagster assets: keys, groups, owners, descriptions.

A key is [schema, name] in every tool, so that the key of a dbt source is the key of the Airbyte
stream that fills it. Nothing is run here.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from dagster import AssetCheckSpec, AssetKey, AssetSpec, FreshnessPolicy
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

OWNER = "team:analytics-engineering"

MARTS = "warehouse"
FRESHNESS = FreshnessPolicy.time_window(
    fail_window=timedelta(hours=36), warn_window=timedelta(hours=26)
)
"""Marts are built every night: late is one that a night has missed."""


class WarehouseTranslator(DagsterDbtTranslator):
    """The project's conventions, applied to dbt's nodes."""

    def __init__(self) -> None:
        # What the source tables hold is said by the assets that fill them.
        super().__init__(
            DagsterDbtTranslatorSettings(enable_source_metadata=False, enable_code_references=True)
        )

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> AssetSpec:
        """Return the asset of a dbt node; that of a mart says how fresh it has to be."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        if spec.key.path[0] != MARTS:
            return spec
        return spec.replace_attributes(freshness_policy=FRESHNESS)

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> AssetKey:
        """Return the schema and the name of the table."""
        props = dbt_resource_props
        table = props.get("alias") or props.get("identifier") or props["name"]
        return AssetKey([props["schema"], table])

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return dbt's metadata; a table is named without the database, as everywhere."""
        table = ".".join(self.get_asset_key(dbt_resource_props).path)
        return {**super().get_metadata(dbt_resource_props), "dagster/table_name": table}

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the layer, which is the schema."""
        return str(dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002
        """Return the one team that owns dbt's models."""
        return [OWNER]

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the description alone: the SQL is dbt's to show."""
        return _one_line(dbt_resource_props.get("description"))

    def get_asset_check_spec(
        self,
        asset_spec: AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> AssetCheckSpec | None:
        """Return a dbt test as an asset check, with the test's own description."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        description = _one_line(manifest["nodes"][unique_id].get("description"))
        return spec._replace(description=description) if spec and description else spec


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
