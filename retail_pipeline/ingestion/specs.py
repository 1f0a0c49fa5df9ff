"""Asset specs from the connection files: keys, owners, descriptions, columns, lineage.

Building them contacts no server.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from retail_pipeline.airbyte_engine.columns import columns_of
from retail_pipeline.airbyte_engine.files import AirbyteFolder, ConnectionFile, StreamSettings
from retail_pipeline.airbyte_engine.layout import AIRBYTE_COLUMNS, AIRBYTE_DESCRIPTIONS
from retail_pipeline.dagster_support.catalog import (
    DATA,
    PERSONAL,
    PSEUDONYMOUS,
)
from retail_pipeline.settings import PROJECT_ROOT

API_LAYER = "retail_api"
LANDING_LAYER = "transactional"
OWNER = "team:data-platform"
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=36), warn_window=timedelta(hours=26)
)
"""Syncs run every night, so a table is late when it has missed one."""

AIRBYTE_FOLDER = PROJECT_ROOT / "airbyte"


def load_folder() -> AirbyteFolder:
    """Return the project's connection files.

    Raises:
        PipelineError: A file is missing or invalid; the message names it.
    """
    return AirbyteFolder.load(AIRBYTE_FOLDER)


def api_key(stream: str) -> dg.AssetKey:
    """Return the asset key of a stream of the API."""
    return dg.AssetKey([API_LAYER, stream])


def landing_key(stream: str) -> dg.AssetKey:
    """Return the asset key of a stream's landing table."""
    return dg.AssetKey([LANDING_LAYER, stream])


def api_specs(folder: AirbyteFolder) -> list[dg.AssetSpec]:
    """Return the specs of the API's external assets, one per stream."""
    specs = []
    for connection in folder.connections.values():
        for stream in connection.streams:
            schema = folder.schema(connection, stream.name)
            description = _sentence(schema, "served by the retail API")
            specs.append(
                dg.AssetSpec(
                    key=api_key(stream.name),
                    description=description.replace("One row", "One record"),
                    group_name=API_LAYER,
                    owners=[OWNER],
                    kinds={"api"},
                    tags=_tags(stream),
                    metadata={
                        "dagster/column_schema": dg.TableSchema(columns=_own_columns(schema))
                    },
                )
            )
    return specs


def connection_specs(folder: AirbyteFolder, connection: ConnectionFile) -> list[dg.AssetSpec]:
    """Return the specs of a connection's landing tables."""
    specs = []
    for stream in connection.streams:
        schema = folder.schema(connection, stream.name)
        specs.append(
            dg.AssetSpec(
                key=landing_key(stream.name),
                deps=[api_key(stream.name)],
                description=_sentence(schema, "landed by Airbyte"),
                group_name=LANDING_LAYER,
                owners=[OWNER],
                kinds={"airbyte", "postgres"},
                tags=_tags(stream),
                metadata={
                    "dagster/table_name": f"{LANDING_LAYER}.{stream.name}",
                    "dagster/storage_kind": "postgres",
                    "dagster/column_schema": landing_columns(schema),
                    "dagster-airbyte/connection_name": connection.name,
                },
                freshness_policy=FRESHNESS,
            )
        )
    return specs


def _tags(stream: StreamSettings) -> dict[str, str]:
    if stream.person_field is None:
        return {}
    return {DATA: PERSONAL if stream.is_of_persons else PSEUDONYMOUS}


def landing_columns(schema: Mapping[str, Any]) -> dg.TableSchema:
    """Return the columns of a landing table: Airbyte's four, then the stream's in schema order."""
    airbyte = [
        dg.TableColumn(
            name=name,
            type=sql_type,
            description=AIRBYTE_DESCRIPTIONS[name],
            constraints=dg.TableColumnConstraints(nullable=False),
        )
        for name, sql_type in AIRBYTE_COLUMNS.items()
    ]
    return dg.TableSchema(columns=[*airbyte, *_own_columns(schema)])


def landing_lineage(stream: str, schema: Mapping[str, Any]) -> dg.TableColumnLineage:
    """Return the column lineage of a landing table: each column is a field of the API."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=api_key(stream), column_name=name)]
            for name in schema["properties"]
        }
    )


def _sentence(schema: Mapping[str, Any], end: str) -> str:
    return f"{str(schema.get('description', '')).rstrip('.')}; {end}."


def _own_columns(schema: Mapping[str, Any]) -> list[dg.TableColumn]:
    return [
        dg.TableColumn(
            name=column.name,
            type=column.sql_type,
            description=schema["properties"][column.name].get("description"),
            constraints=dg.TableColumnConstraints(nullable=not column.required),
        )
        for column in columns_of(schema)
    ]
