"""The parts of a declarative manifest that the page loop supports.

The supported components and properties are listed by name; the contract test compares each of them
with the stock command. The loop would ignore anything else (filters, transformations, partitions,
...), so the stock command reads manifests that contain it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from airbyte_cdk.sources.declarative.models import declarative_component_schema as models

_COMPARED_WITH = "7.39.1"
"""The supported version of the CDK: the loop uses private members, which another may change."""

_SUPPORTED: Mapping[str, frozenset[str]] = {
    kind: frozenset(properties.split())
    for kind, properties in {
        "DeclarativeStream": "name primary_key schema_loader retriever incremental_sync",
        "InlineSchemaLoader": "schema",
        "SimpleRetriever": "requester paginator record_selector",
        "HttpRequester": "url url_base path http_method authenticator request_headers "
        "request_parameters error_handler",
        "RecordSelector": "extractor",
        "DpathExtractor": "field_path",
        "NoAuth": "",
        "BearerAuthenticator": "api_token",
        "ApiKeyAuthenticator": "api_token inject_into",
        "DefaultErrorHandler": "max_retries backoff_strategies response_filters",
        "HttpResponseFilter": "http_codes action failure_type error_message predicate",
        "WaitTimeFromHeader": "header max_waiting_time_in_seconds",
        "ExponentialBackoffStrategy": "factor",
        "NoPagination": "",
        "DefaultPaginator": "page_size_option page_token_option pagination_strategy",
        "RequestOption": "inject_into field_name",
        "CursorPagination": "page_size cursor_value stop_condition",
        "OffsetIncrement": "page_size inject_on_first_request",
        "DatetimeBasedCursor": "cursor_field cursor_datetime_formats datetime_format "
        "start_datetime end_datetime start_time_option end_time_option lookback_window step "
        "cursor_granularity",
        "MinMaxDatetime": "datetime datetime_format",
    }.items()
}
_OF_EVERY_COMPONENT = frozenset({"type", "$parameters"})
_OF_SOURCE = _OF_EVERY_COMPONENT | {
    *("version", "check", "definitions", "streams", "concurrency_level", "api_budget"),
    *("spec", "schemas", "metadata", "description"),
}
_PLAIN_MAPPINGS = frozenset({"request_headers", "request_parameters"})
_ACTIONS = frozenset({"FAIL", "RETRY", "RATE_LIMITED"})
_PLAIN_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def unsupported(manifest: Mapping[str, Any], streams: Sequence[str]) -> str | None:
    """Return a description of the first part of a manifest that is not supported, or None.

    Args:
        manifest: The manifest with its references resolved and its parameters propagated.
        streams: The names of the streams to read.
    """
    present = version("airbyte-cdk")
    if present != _COMPARED_WITH:
        return f"airbyte-cdk is {present}, and the loop was compared with {_COMPARED_WITH}"
    foreign = sorted(set(manifest) - _OF_SOURCE)
    if foreign:
        return f"the manifest uses {', '.join(foreign)}"
    declared = {stream.get("name"): stream for stream in manifest.get("streams", [])}
    for name in streams:
        if name not in declared:
            return f"stream {name} is none of the manifest's plain streams"
        for problem in _problems(declared[name]):
            return f"stream {name}{problem}"
    return None


def _problems(node: Mapping[str, Any]) -> Iterator[str]:
    kind = str(node.get("type"))
    if kind not in _SUPPORTED:
        yield f" uses {kind}"
        return
    for name in sorted(set(node) - _OF_EVERY_COMPONENT):
        value = node[name]
        if name not in _SUPPORTED[kind]:
            # The CDK copies a stream's parameters into all components below it, even those that
            # have no such property.
            if name not in node.get("$parameters", {}) or name in _properties(kind):
                yield f": {kind} uses {name}"
        elif name in _PLAIN_MAPPINGS:
            if not _is_plain(value):
                yield f": {kind} uses components in {name}"
        elif name == "action" and value not in _ACTIONS:
            yield f" uses the action {value}"
        elif name == "field_path" and not all(map(_PLAIN_FIELD.fullmatch, value)):
            yield f" uses the field path {value}"
        elif name != "schema":  # a JSON schema contains no components and changes no record
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, dict):
                    yield from _problems(part)


def _is_plain(value: Any) -> bool:
    """Return whether a value is a flat mapping of names to texts and numbers."""
    return isinstance(value, dict) and all(
        isinstance(each, str | int | float) for each in value.values()
    )


@cache
def _properties(kind: str) -> frozenset[str]:
    return frozenset(field.alias for field in getattr(models, kind).__fields__.values())
