"""What the graph says of every asset, whichever room it comes from.

Where its code is, whether it holds something about people, and a description of one sentence that
says what one row is; what a room has to say beyond that sentence is a note beside it. Keys, owners,
groups and kinds are the rooms' own.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from dagster import (
    AssetsDefinition,
    AssetSpec,
    BetaWarning,
    CodeReferencesMetadataValue,
    Definitions,
    LocalFileCodeReference,
    MetadataValue,
    with_source_code_references,
)
from dagster_shared.record import replace

from retail_pipeline.settings import PROJECT_ROOT

DATA = "data"
PERSONAL, PSEUDONYMOUS, AGGREGATE = "personal", "pseudonymous", "aggregate"
"""Values of this tag: names and addresses; rows of a customer under an id; nothing about one."""

_PERSONAL = {"retail_api/users", "transactional/users", "staging/stg_retail__user_contacts"}
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

# Dagster is pinned exactly, so a beta class cannot change; saying so at each load helps nobody.
warnings.filterwarnings("ignore", message=".*(code_ref|CodeRef)", category=BetaWarning)


def catalogued(definitions: Definitions) -> Definitions:
    """Return the definitions' assets with what this module adds, the rest as it is."""
    own = [each for each in definitions.assets or () if isinstance(each, AssetsDefinition)]
    external = [each for each in definitions.assets or () if isinstance(each, AssetSpec)]
    located: Sequence[Any] = with_source_code_references(own)
    assets = [
        *(_described(spec) for spec in external),
        *(each.map_asset_specs(_described) for each in located),
    ]
    return replace(definitions, assets=assets)


def _described(spec: AssetSpec) -> AssetSpec:
    sentence, _, rest = (spec.description or "").partition(". ")
    metadata: dict[str, Any] = {"note": MetadataValue.text(rest)} if rest else {}
    if references := _references(spec):
        metadata[_REFERENCES] = CodeReferencesMetadataValue(code_references=references)
    return spec.replace_attributes(description=f"{sentence.rstrip('.')}.").merge_attributes(
        tags={DATA: _data(spec)}, metadata=metadata
    )


def _references(spec: AssetSpec) -> list[Any]:
    known = spec.metadata.get(_REFERENCES)
    found = list(known.code_references) if known else []
    layer, name = spec.key.path[0], spec.key.path[-1]
    if layer in _FILES:
        path = PROJECT_ROOT / _FILES[layer].format(name=name)
        found.insert(0, LocalFileCodeReference(file_path=str(path), label=path.name))
    return found


def _data(spec: AssetSpec) -> str:
    name = spec.key.to_user_string()
    if name in _PERSONAL:
        return PERSONAL
    schema = spec.metadata.get("dagster/column_schema")
    columns = {column.name for column in getattr(schema, "columns", ())}
    return PSEUDONYMOUS if name in _OF_CUSTOMERS or columns & _IDS else AGGREGATE
