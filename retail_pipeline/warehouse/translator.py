"""Translation of dbt nodes to Dagster assets: keys, groups, owners, descriptions.

A key is [schema, name] in every tool, so that a dbt source has the key of the Airbyte stream that
fills it.
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
"""Marts are built every night; a mart is late if one nightly build was missed."""


class WarehouseTranslator(DagsterDbtTranslator):
    """Translator that applies the project's conventions to dbt's nodes."""

    def __init__(self) -> None:
        # The metadata of source tables is on the assets that fill them.
        super().__init__(
            DagsterDbtTranslatorSettings(enable_source_metadata=False, enable_code_references=True)
        )

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> AssetSpec:
        """Return the asset of a dbt node, with a freshness policy if it is a mart."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        if spec.key.path[0] != MARTS:
            return spec
        return spec.replace_attributes(freshness_policy=FRESHNESS)

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> AssetKey:
        """Return the asset key: schema and name of the table."""
        props = dbt_resource_props
        table = props.get("alias") or props.get("identifier") or props["name"]
        return AssetKey([props["schema"], table])

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return dbt's metadata, with the table's name without the database."""
        table = ".".join(self.get_asset_key(dbt_resource_props).path)
        return {**super().get_metadata(dbt_resource_props), "dagster/table_name": table}

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the asset group: the layer, which is the schema."""
        return str(dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002
        """Return the team that owns all dbt models."""
        return [OWNER]

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the description without the model's SQL."""
        return _one_line(dbt_resource_props.get("description"))

    def get_asset_check_spec(
        self,
        asset_spec: AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> AssetCheckSpec | None:
        """Return the asset check of a dbt test, with the test's description."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        description = _one_line(manifest["nodes"][unique_id].get("description"))
        return spec._replace(description=description) if spec and description else spec


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
