"""The plan that brings an Airbyte server in line with the files under `airbyte/`.

Objects are matched by name. Secrets are sent but not compared, because a server masks them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from retail_pipeline.airbyte_engine.files import (
    AirbyteFolder,
    ConnectionFile,
    declared_streams,
    resolved,
)
from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.ingestion.server import (
    CONNECTION,
    DEFINITION,
    DESTINATION,
    KINDS,
    SOURCE,
    AirbyteServer,
    Kind,
)
from retail_pipeline.postgres import address
from retail_pipeline.settings import ApiSource, Settings

SECRET_REFERENCES = ("RETAIL_API_KEY", "DATABASE_PASSWORD")
_ADDED_BY_SERVER = ("sourceType", "destinationType")
_LONGEST_VALUE = 70
_ABSENT = object()

Ids = dict[tuple[Kind, str], str]
"""The ids of a workspace's objects by kind and name."""


@dataclass(frozen=True)
class Item:
    """An object that the files describe, or an object of the server that is to be deleted.

    Attributes:
        kind: The kind of object.
        name: The name, by which it is matched with an object of the server.
        body: The fields that can be changed; None if the object is to be deleted.
        fixed: The fields that cannot be changed after creation. Each is a value, or the kind and
            name of the object whose id is the value.
        id: The id on the server; empty if the object is to be created.
        lines: The differences, without secrets.
    """

    kind: Kind
    name: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    fixed: Mapping[str, str | tuple[Kind, str]] = field(default_factory=dict)
    id: str = ""
    lines: tuple[str, ...] = ()

    def fixed_values(self, ids: Ids) -> dict[str, str | None]:
        """Return the fixed fields with the ids of other objects; None for one without an id."""
        return {
            name: value if isinstance(value, str) else ids.get(value)
            for name, value in self.fixed.items()
        }

    @property
    def sign(self) -> str:
        """The action as a plan shows it: `+` creates, `~` changes, `-` deletes."""
        if self.body is None:
            return "-"
        return "~" if self.id else "+"

    def __str__(self) -> str:
        head = f"{self.sign} {self.kind.title} {self.name}"
        return "\n".join([head, *(f"    {line}" for line in self.lines)])


@dataclass(frozen=True)
class Plan:
    """The objects that differ, in the order of writing, and the ids of all objects."""

    changes: Sequence[Item]
    ids: Ids

    @property
    def deletions(self) -> int:
        """The number of objects to delete."""
        return sum(change.sign == "-" for change in self.changes)

    def __str__(self) -> str:
        count = Counter(change.sign for change in self.changes)
        total = f"{count['+']} to create, {count['~']} to change, {count['-']} to delete"
        return "\n".join([*map(str, self.changes), total])


def make_plan(
    server: AirbyteServer,
    wanted: Sequence[Item],
    *,
    prune: bool = False,
    renew_secrets: bool = False,
) -> Plan:
    """Return the differences between the files and a workspace, without writing anything.

    Args:
        server: The workspace.
        wanted: The objects that the files describe.
        prune: Whether to delete objects that the files no longer have: connections of the files'
            sources, and sources of the files' connectors. Other objects are never deleted.
        renew_secrets: Whether to write every source and destination, even without differences.

    Raises:
        PipelineError: The server does not answer or refuses, has two objects with one name, or
            has an object whose fixed fields differ.
    """
    changes: list[Item] = []
    unwanted: list[Item] = []
    ids: Ids = {}
    for kind in KINDS:
        present = server.list(kind)
        ours = {each.name: each for each in wanted if each.kind is kind}
        for each in ours.values():
            found = _found(each, present, server.location)
            if found is None:
                changes.append(each)
                continue
            ids[kind, each.name] = str(found[kind.id_field])
            _check_fixed(each, found, ids, server.location)
            lines = [server.masked(line) for line in _differences(each, found)]
            if renew_secrets and kind in (SOURCE, DESTINATION):
                lines.append("secrets: renewed")
            if lines:
                changes.append(replace(each, id=ids[kind, each.name], lines=tuple(lines)))
        # A source's parent is its definition, a connection's its source; their ids are known now.
        parents = {*ids.values(), *(each.id for each in unwanted)}
        parent = {SOURCE: "definitionId", CONNECTION: "sourceId"}.get(kind)
        unwanted += [
            Item(kind, str(each["name"]), id=str(each[kind.id_field]))
            for each in present
            if prune and parent and each["name"] not in ours and each.get(parent) in parents
        ]
    return Plan([*changes, *reversed(unwanted)], ids)


def apply(server: AirbyteServer, plan: Plan) -> Iterator[Item]:
    """Write the changes of a plan; yield each one after it is written.

    After an interruption a new plan contains the remaining changes, as objects are matched by name.

    Raises:
        PipelineError: The server does not answer or refuses.
    """
    ids = dict(plan.ids)
    for each in plan.changes:
        if each.body is None:
            server.write("DELETE", each.kind, each.name, {}, each.id)
        elif each.id:
            server.write(each.kind.update_method, each.kind, each.name, each.body, each.id)
        else:
            body = {**each.body, **each.fixed_values(ids)}
            ids[each.kind, each.name] = server.write("POST", each.kind, each.name, body)
        yield each


def reference_values(settings: Settings) -> dict[str, str | None]:
    """Return the values of the files' references for a server.

    Raises:
        UsageError: The API or the database has no address that a server can reach.
    """
    if not isinstance(settings.source, ApiSource):
        raise UsageError(
            "an Airbyte server reads a retail API at an address: set RETAIL_SOURCE to https://…"
        )
    url = settings.airbyte.database_url
    if url is None and settings.database_url is None:
        raise UsageError(
            "an Airbyte server writes to a PostgreSQL at an address: set RETAIL_DATABASE_URL, or "
            "AIRBYTE_DATABASE_URL where the server reaches it by another address or login"
        )
    given = conninfo_to_dict(url) if url else address.read(str(settings.database_url))
    parts = {name: str(value) for name, value in given.items()}
    if parts.get("host", "").startswith("/"):
        raise UsageError(
            "an Airbyte server cannot reach PostgreSQL by a socket of this machine: set "
            "AIRBYTE_DATABASE_URL to an address with a host"
        )
    return {
        "RETAIL_API_URL": settings.source.url,
        "RETAIL_API_KEY": settings.api_key,
        "RETAIL_API_END": None,  # a server reads up to the moment of the sync
        "DATABASE_HOST": parts.get("host", "localhost"),
        "DATABASE_PORT": parts.get("port", "5432"),
        "DATABASE_NAME": parts["dbname"],
        "DATABASE_USER": parts.get("user"),
        "DATABASE_PASSWORD": parts.get("password"),
    }


def wanted_objects(folder: AirbyteFolder, values: Mapping[str, str | None]) -> list[Item]:
    """Return the objects that the files describe.

    Args:
        folder: The connection files.
        values: The values of the files' references.

    Raises:
        PipelineError: A reference has no value.
    """
    manifests, sources, destinations = {}, {}, {}
    for connection in folder.connections.values():
        source = folder.sources[connection.source]
        destination = folder.destinations[connection.destination]
        # YAML dates are converted to text.
        manifest = json.loads(json.dumps(folder.manifests[source.connector], default=str))
        manifests[source.connector] = Item(
            DEFINITION, source.connector, {"manifest": manifest}, {"name": source.connector}
        )
        sources[source.name] = Item(
            SOURCE,
            source.name,
            {
                "name": source.name,
                "configuration": resolved(source.configuration, values, source.name),
            },
            {"definitionId": (DEFINITION, source.connector)},
        )
        configuration = resolved(destination.configuration, values, destination.name)
        if "port" in configuration:  # the value of a reference is text
            configuration["port"] = int(configuration["port"])
        destinations[destination.name] = Item(
            DESTINATION,
            destination.name,
            {"name": destination.name, "configuration": configuration},
            {"definitionId": destination.definition_id},
        )
    connections = [_connection(folder, each) for each in folder.connections.values()]
    return [*manifests.values(), *sources.values(), *destinations.values(), *connections]


def _connection(folder: AirbyteFolder, connection: ConnectionFile) -> Item:
    declared = declared_streams(folder.manifests[folder.sources[connection.source].connector])
    streams = []
    for stream in connection.streams:
        sent: dict[str, Any] = {"name": stream.name, "syncMode": stream.sync_mode.value}
        # A server refuses a key or cursor that the source defines.
        if stream.cursor_field and "incremental_sync" not in declared[stream.name]:
            sent["cursorField"] = stream.cursor_field
        if "primary_key" not in declared[stream.name]:
            sent["primaryKey"] = stream.primary_key
        streams.append(sent)
    return Item(
        CONNECTION,
        connection.name,
        {
            "name": connection.name,
            "status": "active",
            "schedule": {"scheduleType": connection.schedule},
            "namespaceDefinition": "custom_format",
            "namespaceFormat": connection.namespace,
            # As in the embedded engine, the next sync adds new columns.
            "nonBreakingSchemaUpdatesBehavior": "propagate_columns",
            "configurations": {"streams": streams},
        },
        {
            "sourceId": (SOURCE, connection.source),
            "destinationId": (DESTINATION, connection.destination),
        },
    )


def _found(wanted: Item, present: Sequence[dict[str, Any]], location: str) -> dict[str, Any] | None:
    """Return the server's object with the same name, if there is one; raise if there are two."""
    found = [each for each in present if each.get("name") == wanted.name]
    if len(found) > 1:
        raise PipelineError(
            f"the Airbyte server at {location} holds {len(found)} {wanted.kind.title}s of the name "
            f"{wanted.name!r}: rename or delete all but one there"
        )
    return found[0] if found else None


def _check_fixed(wanted: Item, found: Mapping[str, Any], ids: Ids, location: str) -> None:
    """Raise if a fixed field of the server's object differs."""
    for name, value in wanted.fixed_values(ids).items():
        if found.get(name, value) != value:
            raise PipelineError(
                f"the {wanted.kind.title} {wanted.name} of the Airbyte server at {location} has "
                f"another {name}, which cannot be changed: rename or delete it there, then apply "
                "again"
            )


def _differences(wanted: Item, found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each difference of the server's object; masked secrets count as equal."""
    ours = dict(_leaves(wanted.body))
    theirs = dict(_leaves({name: found.get(name) for name in wanted.body or ()}))
    # The server adds the next run time to a schedule, and properties of the source to a stream.
    extended = {("schedule",), *(path[:3] for path in ours if path[0] == "configurations")}
    for path in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(path, _ABSENT), theirs.get(path, _ABSENT)
        is_masked = isinstance(other, str) and set(other) == {"*"}
        is_added = mine is _ABSENT and (
            other is None
            or path[-1] in _ADDED_BY_SERVER
            or not extended.isdisjoint((path[:1], path[:3]))
        )
        if mine != other and not is_added and not is_masked:
            yield f"{'.'.join(path)}: {_text(other)} → {_text(mine)}"


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all values with their paths; in a path, list members are named by `name` or index."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _leaves(value, (*path, str(name)))
    elif isinstance(node, list) and node and all(isinstance(each, Mapping) for each in node):
        for position, each in enumerate(node):
            yield from _leaves(each, (*path, str(each.get("name", position))))
    else:
        yield path, node


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
