"""Metadata that every asset gets, whichever package defines it.

It consists of code references, the tag for personal data and a description of one sentence;
further sentences of a description become the metadata `note`. The packages define keys, owners,
groups and kinds.
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
"""Values of the tag: names and addresses; rows of a customer with an id; no single customer."""

_PERSONAL = {"staging/stg_retail__user_contacts"}
CUSTOMER_IDS = {"customer_id", "user_id"}
_OF_CUSTOMERS = {
    "clv/backtest",
    "clv/prediction_reasons",
    "clv/predictions",
    "clv/training_set",
}
"""Tables of Python assets with a row per customer, whose specs do not list columns."""

_REFERENCES = "dagster/code_references"
_FILES = {
    "retail_api": "airbyte/sources/retail_api/manifest.yaml",
    "transactional": "airbyte/connections/{name}.yaml",
}
"""Layers that are declared in files: the file to edit."""

# Both features are unstable in Dagster; it is pinned exactly, so they cannot change unnoticed.
warnings.filterwarnings("ignore", message=".*(code_ref|CodeRef)", category=dg.BetaWarning)
warnings.filterwarnings(
    "ignore", message=".*map_(resolved_)?asset_specs", category=dg.PreviewWarning
)


def cataloged(definitions: dg.Definitions) -> dg.Definitions:
    """Return definitions whose assets have the tag, code references and one-sentence description.

    Args:
        definitions: The definitions of one package; checks and resources are not changed.
    """
    codes = {
        key: code
        for asset in definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and (code := _code(asset))
        for key in asset.keys
    }
    return definitions.map_asset_specs(func=lambda spec: _described(spec, codes.get(spec.key)))


def _code(asset: dg.AssetsDefinition) -> CodeType | None:
    """Return the code of an asset's function, without its decorators.

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
        if path.is_file():  # another source's files may have other names
            found.insert(0, _place(path))
    return found


def _place(path: Path, line: int | None = None) -> dg.LocalFileCodeReference:
    return dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=path.name)


def _data(spec: dg.AssetSpec) -> str:
    name = spec.key.to_user_string()
    if DATA in spec.tags:
        return spec.tags[DATA]
    if name in _PERSONAL or PERSONAL in spec.tags:  # dbt models have the tag `personal`
        return PERSONAL
    schema = spec.metadata.get("dagster/column_schema")
    columns = {column.name for column in getattr(schema, "columns", ())}
    return PSEUDONYMOUS if name in _OF_CUSTOMERS or columns & CUSTOMER_IDS else AGGREGATE
