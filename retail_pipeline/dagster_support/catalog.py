"""Metadata that every asset has, whichever room defines it.

The place of its code, whether it holds personal data, and a description of one sentence; further
sentences of a description become the metadata `note`. Keys, owners, groups and kinds are the
rooms' own.
"""

import inspect
import warnings
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import dagster as dg

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

# Dagster is pinned exactly, so that neither can change below the project.
warnings.filterwarnings("ignore", message=".*(code_ref|CodeRef)", category=dg.BetaWarning)
warnings.filterwarnings(
    "ignore", message=".*map_(resolved_)?asset_specs", category=dg.PreviewWarning
)


def catalogued(definitions: dg.Definitions) -> dg.Definitions:
    """Return definitions whose assets have the tag, code references and one-sentence description.

    Args:
        definitions: Of one room; checks and resources stay as they are.
    """
    codes = {
        key: code
        for asset in definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and (code := _code(asset))
        for key in asset.keys
    }
    return definitions.map_asset_specs(func=lambda spec: _described(spec, codes.get(spec.key)))


def _code(asset: dg.AssetsDefinition) -> CodeType | None:
    """Return the code of the function that makes an asset, below its decorators.

    Dagster's `with_source_code_references` names the decorator's file instead.
    """
    if not isinstance(asset.node_def, dg.OpDefinition):
        return None
    function = getattr(asset.node_def.compute_fn, "decorated_fn", None)
    return inspect.unwrap(function).__code__ if isinstance(function, FunctionType) else None


def _described(spec: dg.AssetSpec, code: CodeType | None) -> dg.AssetSpec:
    sentence, _, rest = (spec.description or "").partition(". ")
    metadata: dict[str, Any] = {"note": dg.MetadataValue.text(rest)} if rest else {}
    if references := _references(spec, code):
        metadata[_REFERENCES] = dg.CodeReferencesMetadataValue(code_references=references)
    return spec.replace_attributes(description=f"{sentence.rstrip('.')}.").merge_attributes(
        tags={DATA: _data(spec)}, metadata=metadata
    )


def _references(spec: dg.AssetSpec, code: CodeType | None) -> list[Any]:
    known = spec.metadata.get(_REFERENCES)
    found = list(known.code_references) if known else []
    if code is not None:
        found.append(_place(Path(code.co_filename), code.co_firstlineno))
    layer, name = spec.key.path[0], spec.key.path[-1]
    if layer in _FILES:
        path = PROJECT_ROOT / _FILES[layer].format(name=name)
        if path.is_file():  # where another source's streams are declared is not known by name
            found.insert(0, _place(path))
    return found


def _place(path: Path, line: int | None = None) -> dg.LocalFileCodeReference:
    return dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=path.name)


def _data(spec: dg.AssetSpec) -> str:
    name = spec.key.to_user_string()
    if DATA in spec.tags:
        return spec.tags[DATA]
    if name in _PERSONAL or PERSONAL in spec.tags:  # a dbt model says it by a tag of its own
        return PERSONAL
    schema = spec.metadata.get("dagster/column_schema")
    columns = {column.name for column in getattr(schema, "columns", ())}
    return PSEUDONYMOUS if name in _OF_CUSTOMERS or columns & _IDS else AGGREGATE
