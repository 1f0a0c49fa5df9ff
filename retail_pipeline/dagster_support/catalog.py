"""What the graph says of every asset, whichever room it comes from.

Where its code is, whether it holds something about people, and a description of one sentence that
says what one row is; what a room has to say beyond that sentence is a note beside it. Keys, owners,
groups and kinds are the rooms' own.
"""

import inspect
import warnings
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from dagster import (
    AssetsDefinition,
    AssetSpec,
    BetaWarning,
    CodeReferencesMetadataValue,
    Definitions,
    LocalFileCodeReference,
    MetadataValue,
    OpDefinition,
    PreviewWarning,
)
from dagster_shared.record import replace

from retail_pipeline.settings import PROJECT_ROOT

DATA = "data"
PERSONAL, PSEUDONYMOUS, AGGREGATE = "personal", "pseudonymous", "aggregate"
"""Values of this tag: names and addresses; rows of a customer under an id; nothing about one."""

_PERSONAL = {"staging/stg_retail__user_contacts"}
_IDS = {"customer_id", "user_id"}
_OF_CUSTOMERS = {
    "clv/backtest",
    "clv/prediction_reasons",
    "clv/predictions",
    "clv/training_set",
}
"""Tables of Python with a row per customer: their columns are not known before they are made."""

_REFERENCES = "dagster/code_references"
_FILES = {
    "retail_api": "airbyte/sources/retail_api/manifest.yaml",
    "transactional": "airbyte/connections/{name}.yaml",
}
"""Layers that are declared in files: which one a person would change."""

# Dagster is pinned exactly, so none of these can change; saying so at each load helps nobody.
warnings.filterwarnings("ignore", message=".*(code_ref|CodeRef)", category=BetaWarning)
warnings.filterwarnings("ignore", message=".*map_(resolved_)?asset_specs", category=PreviewWarning)


def catalogued(definitions: Definitions) -> Definitions:
    """Return the definitions' assets with what this module adds, the rest as it is."""
    assets = [
        _described(each)
        if isinstance(each, AssetSpec)
        else each.map_asset_specs(partial(_described, body=_body(each)))
        for each in definitions.assets or ()
        if isinstance(each, AssetSpec | AssetsDefinition)
    ]
    return replace(definitions, assets=assets)


def _body(asset: AssetsDefinition) -> CodeType | None:
    """Return the code of the function that makes an asset.

    Dagster's `with_source_code_references` reads and parses every source file for its first line.
    """
    if not isinstance(asset.node_def, OpDefinition):
        return None
    function = getattr(asset.node_def.compute_fn, "decorated_fn", None)
    return inspect.unwrap(function).__code__ if isinstance(function, FunctionType) else None


def _described(spec: AssetSpec, body: CodeType | None = None) -> AssetSpec:
    sentence, _, rest = (spec.description or "").partition(". ")
    metadata: dict[str, Any] = {"note": MetadataValue.text(rest)} if rest else {}
    if references := _references(spec, body):
        metadata[_REFERENCES] = CodeReferencesMetadataValue(code_references=references)
    return spec.replace_attributes(description=f"{sentence.rstrip('.')}.").merge_attributes(
        tags={DATA: _data(spec)}, metadata=metadata
    )


def _references(spec: AssetSpec, body: CodeType | None) -> list[Any]:
    known = spec.metadata.get(_REFERENCES)
    found = list(known.code_references) if known else []
    if body is not None:
        file, line = body.co_filename, body.co_firstlineno
        found.append(
            LocalFileCodeReference(file_path=file, line_number=line, label=Path(file).name)
        )
    layer, name = spec.key.path[0], spec.key.path[-1]
    if layer in _FILES:
        path = PROJECT_ROOT / _FILES[layer].format(name=name)
        if path.is_file():  # where another source's streams are declared is not known by name
            found.insert(0, LocalFileCodeReference(file_path=str(path), label=path.name))
    return found


def _data(spec: AssetSpec) -> str:
    name = spec.key.to_user_string()
    if DATA in spec.tags:
        return spec.tags[DATA]
    if name in _PERSONAL or PERSONAL in spec.tags:  # a dbt model says it by a tag of its own
        return PERSONAL
    schema = spec.metadata.get("dagster/column_schema")
    columns = {column.name for column in getattr(schema, "columns", ())}
    return PSEUDONYMOUS if name in _OF_CUSTOMERS or columns & _IDS else AGGREGATE
