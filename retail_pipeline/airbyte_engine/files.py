"""The files of an `airbyte/` folder as validated models: sources, destinations, connections.

Reading them contacts no server; `resolved` fills in the `${REFERENCE}`s.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retail_pipeline.errors import PipelineError

_NAMESPACE = uuid.UUID("8a5c2a44-6f0b-4d5e-9d55-3c1f5f0f7a11")
_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class SyncMode(StrEnum):
    """The supported sync modes, with the names of Airbyte's API.

    Airbyte's other modes can leave two rows for one record, and later stages would count both.
    """

    INCREMENTAL_DEDUPED = "incremental_deduped_history"
    FULL_REFRESH_OVERWRITE_DEDUPED = "full_refresh_overwrite_deduped"

    @property
    def overwrites(self) -> bool:
        """Whether each sync replaces all rows of the table."""
        return self is not SyncMode.INCREMENTAL_DEDUPED


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)

    @property
    def id(self) -> str:
        """The id in the embedded engine, derived from the name."""
        return str(uuid.uuid5(_NAMESPACE, f"{type(self).__name__}/{self.name}"))


class StreamTotals(BaseModel):
    """The request for a stream's totals, used to check a sync; not part of Airbyte's format.

    Attributes:
        path: The path below the API's address.
        parameters: The request's parameters; references are filled in as in a configuration.
        fields: The answer's field for each total, such as `records`.
        tolerance: The share by which the landed data may differ from the totals, for an API that
            changes while it is read; 0.001 is a thousandth.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    parameters: dict[str, str] = Field(default_factory=dict)
    fields: dict[str, str]
    tolerance: float = Field(default=0, ge=0, lt=1)


class SourceFile(_File):
    """A configured source; `connector` is the name of its manifest's folder."""

    connector: str
    configuration: dict[str, Any]
    totals: dict[str, StreamTotals] = Field(default_factory=dict)


class DestinationFile(_File):
    """A configured destination; `definition_id` is the id of its connector on a server."""

    type: Literal["postgres"]
    definition_id: str
    configuration: dict[str, Any]


class StreamSettings(BaseModel):
    """One stream of a connection: its sync mode, cursor and primary key.

    `person_field` is the column with the id of the person whom a record concerns, if there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sync_mode: SyncMode
    cursor_field: list[str] = Field(default_factory=list, max_length=1)
    primary_key: list[Annotated[list[str], Field(min_length=1, max_length=1)]] = Field(min_length=1)
    person_field: str | None = None

    @property
    def is_of_persons(self) -> bool:
        """Whether each record is a person, as in `users`; an order only refers to one."""
        return self.person_field is not None and self.key == [self.person_field]

    @property
    def cursor(self) -> str | None:
        """The cursor column, if there is one."""
        return self.cursor_field[0] if self.cursor_field else None

    @property
    def key(self) -> list[str]:
        """The columns of the primary key."""
        return [path[0] for path in self.primary_key]


class ConnectionFile(_File):
    """A connection: streams of a source, and the destination and schema that they land in."""

    source: str
    destination: str
    namespace: str
    schedule: str = "manual"
    streams: list[StreamSettings] = Field(min_length=1)


_F = TypeVar("_F", bound=_File)


@dataclass(frozen=True)
class AirbyteFolder:
    """All files of one folder, with their references to each other checked."""

    root: Path
    sources: Mapping[str, SourceFile]
    destinations: Mapping[str, DestinationFile]
    connections: Mapping[str, ConnectionFile]

    @classmethod
    def load(cls, root: Path) -> "AirbyteFolder":
        """Return the checked files `sources/*.yaml`, `destinations/*.yaml`, `connections/*.yaml`.

        Raises:
            PipelineError: A file is missing, invalid or contradicts another; the message names it.
        """
        folder = cls(
            root=root,
            sources=_read(root / "sources", SourceFile),
            destinations=_read(root / "destinations", DestinationFile),
            connections=_read(root / "connections", ConnectionFile),
        )
        for connection in folder.connections.values():
            folder._check(connection)
        return folder

    def connection_by_id(self, connection_id: str) -> ConnectionFile:
        """Return the connection with an id of the embedded engine.

        Raises:
            PipelineError: No connection has this id.
        """
        for connection in self.connections.values():
            if connection.id == connection_id:
                return connection
        raise PipelineError(f"no airbyte connection has the id {connection_id}")

    def manifest_path(self, connection: ConnectionFile) -> Path:
        """Return the path of the manifest of a connection's source."""
        return self.root / "sources" / self.sources[connection.source].connector / "manifest.yaml"

    def schema(self, connection: ConnectionFile, stream: str) -> dict[str, Any]:
        """Return the JSON schema of a stream, from its manifest."""
        return self._schemas[self.sources[connection.source].connector][stream]

    def secrets(self, source: SourceFile) -> set[str]:
        """Return the names of the configuration properties that the manifest marks as secret."""
        declared = self.manifests[source.connector]["spec"]["connection_specification"]
        return {name for name, each in declared["properties"].items() if each.get("airbyte_secret")}

    @cached_property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """The parsed manifests of all connectors, by connector."""
        connectors = {source.connector for source in self.sources.values()}
        return {name: _yaml(self.root / "sources" / name / "manifest.yaml") for name in connectors}

    @cached_property
    def _schemas(self) -> dict[str, dict[str, dict[str, Any]]]:
        return {name: _stream_schemas(name, each) for name, each in self.manifests.items()}

    def _check(self, connection: ConnectionFile) -> None:
        where = f"airbyte connection {connection.name}"
        if connection.source not in self.sources:
            raise PipelineError(f"{where} names the unknown source {connection.source!r}")
        if connection.destination not in self.destinations:
            raise PipelineError(f"{where} names the unknown destination {connection.destination!r}")
        source = self.sources[connection.source]
        declared = self._schemas[source.connector]
        for name in source.totals:
            if name not in declared:
                raise PipelineError(
                    f"airbyte source {source.name}: totals of an unknown stream {name!r}"
                )
        for stream in connection.streams:
            if stream.name not in declared:
                raise PipelineError(f"{where}: the manifest has no stream {stream.name!r}")
            _check_stream(stream, declared[stream.name], where)


def _check_stream(stream: StreamSettings, schema: Mapping[str, Any], where: str) -> None:
    person = [stream.person_field] if stream.person_field else []
    named = [*stream.key, *stream.cursor_field, *person]
    unknown = [name for name in named if name not in schema["properties"]]
    if unknown:
        raise PipelineError(f"{where}: stream {stream.name} has no column {', '.join(unknown)}")
    if stream.sync_mode is SyncMode.INCREMENTAL_DEDUPED and not stream.cursor:
        raise PipelineError(
            f"{where}: stream {stream.name} needs a cursor_field for {stream.sync_mode.value}"
        )


def _read(folder: Path, kind: type[_F]) -> dict[str, _F]:
    """Return the validated files of a folder, by their `name`."""
    named: dict[str, _F] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            file = kind.model_validate(_yaml(path))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            raise PipelineError(f"{path}: {place}: {first['msg']}") from None
        if file.name in named:
            raise PipelineError(f"{path}: another file has the name {file.name!r}")
        named[file.name] = file
    if not named:
        raise PipelineError(f"{folder} has no YAML file: the Airbyte files are not there")
    return named


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's faster loader in C, if there is one: the files are read at each load of the code."""


def _yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise PipelineError(f"{path} cannot be read: {error}") from None


def declared_streams(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the streams of a manifest by name, with their `$ref`s resolved."""
    streams = [_dereferenced(manifest, each) for each in manifest.get("streams", [])]
    return {
        str(each.get("name") or each.get("$parameters", {}).get("name") or ""): each
        for each in streams
    }


def _stream_schemas(connector: str, manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    schemas = {}
    for name, stream in declared_streams(manifest).items():
        schema = _dereferenced(manifest, stream.get("schema_loader", {}).get("schema"))
        if not name or not isinstance(schema, dict) or "properties" not in schema:
            raise PipelineError(
                f"the manifest of {connector}: stream {name!r} needs a name and an inline schema"
            )
        schemas[name] = schema
    return schemas


def _dereferenced(manifest: Mapping[str, Any], node: Any) -> Any:
    """Return a part of a manifest merged with the target of its `$ref`; its own properties win."""
    if not isinstance(node, dict) or "$ref" not in node:
        return node
    target: Any = manifest
    for part in str(node["$ref"]).removeprefix("#/").split("/"):
        target = target.get(part) if isinstance(target, dict) else None
    found = _dereferenced(manifest, target)
    return {**found, **node} if isinstance(found, dict) else found


def resolved(
    node: Mapping[str, Any], values: Mapping[str, str | None], where: str
) -> dict[str, Any]:
    """Return a part of a file with every `${REFERENCE}` replaced by its value.

    A property whose reference has the value None is left out.

    Args:
        node: The part of the file.
        values: The values by reference.
        where: The name of the part, for messages.

    Raises:
        PipelineError: A reference is not among the values.
    """
    filled: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, dict):
            filled[name] = resolved(value, values, f"{where}: {name}")
        elif not isinstance(value, str):
            filled[name] = value
        else:
            names = _REFERENCE.findall(value)
            unknown = [each for each in names if each not in values]
            if unknown:
                raise PipelineError(
                    f"{where}: {name} refers to {', '.join(unknown)}, which has no value"
                )
            if all(values[each] is not None for each in names):
                filled[name] = _REFERENCE.sub(lambda match: str(values[match.group(1)]), value)
    return filled
