"""The files under `airbyte/` on a real Airbyte server: the differences, and writing them.

Objects are found by their names. Secrets are sent and never compared: a server shows them masked.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from retail_pipeline.airbyte_engine.files import (
    AirbyteFolder,
    ConnectionFile,
    StreamSettings,
    declared_streams,
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

Path = tuple[str, ...]
Ids = dict[tuple[Kind, str], str]
"""The ids of a workspace's objects by kind and name."""


@dataclass(frozen=True)
class Wanted:
    """An object as the files describe it.

    Attributes:
        kind: Its kind.
        name: Its name, by which the server's object is found.
        body: The fields that can be changed.
        fixed: Fields that cannot be changed once it is there: a value, or the kind and name of the
            object whose id it is.
    """

    kind: Kind
    name: str
    body: Mapping[str, Any]
    fixed: Mapping[str, str | tuple[Kind, str]] = field(default_factory=dict)

    def fixed_values(self, ids: Ids) -> dict[str, str | None]:
        """Return the fixed fields, with the ids of other objects where these are there."""
        return {
            name: value if isinstance(value, str) else ids.get(value)
            for name, value in self.fixed.items()
        }


@dataclass(frozen=True)
class Change:
    """An object that differs.

    Attributes:
        kind: Its kind.
        name: Its name.
        id: The id of the server's object; empty where it is to be created.
        lines: The differences, without secrets.
        wanted: The object of the files; None where the server's is to be deleted.
    """

    kind: Kind
    name: str
    id: str = ""
    lines: tuple[str, ...] = ()
    wanted: Wanted | None = field(default=None, repr=False)

    @property
    def sign(self) -> str:
        """The action as a plan shows it: `+` creates, `~` changes, `-` deletes."""
        if self.wanted is None:
            return "-"
        return "~" if self.id else "+"

    def __str__(self) -> str:
        head = f"{self.sign} {self.kind.title} {self.name}"
        return "\n".join([head, *(f"    {line}" for line in self.lines)])


@dataclass(frozen=True)
class Plan:
    """The objects that differ, in the order in which they are written, and the ids of all."""

    changes: Sequence[Change]
    ids: Ids

    def __str__(self) -> str:
        count = Counter(change.sign for change in self.changes)
        return "\n".join(
            [
                *map(str, self.changes),
                f"{count['+']} to create, {count['~']} to change, {count['-']} to delete",
            ]
        )


def make_plan(
    server: AirbyteServer,
    wanted: Sequence[Wanted],
    *,
    prune: bool = False,
    renew_secrets: bool = False,
) -> Plan:
    """Return the differences between the files and a workspace; nothing is written.

    Args:
        server: The workspace.
        wanted: The objects of the files.
        prune: Delete the connections of the files' sources, and the sources of their connectors,
            that the files do not have. Other objects of the workspace are never touched.
        renew_secrets: Write every source and destination, whether it differs or not.

    Raises:
        PipelineError: The server does not answer or refuses, holds two objects of one name, or
            has one whose fixed fields differ.
    """
    changes: list[Change] = []
    unwanted: list[Change] = []
    ids: Ids = {}
    for kind in KINDS:
        present = server.list(kind)
        ours = {each.name: each for each in wanted if each.kind is kind}
        for name, each in ours.items():
            found = [other for other in present if other.get("name") == name]
            if len(found) > 1:
                raise PipelineError(
                    f"the Airbyte workspace holds {len(found)} {kind.title}s of the name {name!r}: "
                    "rename or delete all but one there"
                )
            if not found:
                changes.append(Change(kind, name, wanted=each))
                continue
            ids[kind, name] = str(found[0][kind.id_field])
            _check_fixed(each, found[0], ids, server.location)
            lines = tuple(map(server.masked, _compare(each, found[0])))
            if renew_secrets and kind in (SOURCE, DESTINATION):
                lines += ("secrets: renewed",)
            if lines:
                changes.append(Change(kind, name, ids[kind, name], lines, each))
        # A definition's sources and a source's connections: theirs are among the ids by now.
        parents = {*ids.values(), *(change.id for change in unwanted)}
        parent = {SOURCE: "definitionId", CONNECTION: "sourceId"}.get(kind)
        unwanted += [
            Change(kind, str(each["name"]), str(each[kind.id_field]))
            for each in present
            if prune and parent and each["name"] not in ours and each.get(parent) in parents
        ]
    return Plan([*changes, *reversed(unwanted)], ids)


def apply(server: AirbyteServer, plan: Plan) -> Iterator[Change]:
    """Write the changes of a plan; yield each of them once it is done.

    An interrupted apply is gone on with by the next: objects are found by their names.

    Raises:
        PipelineError: The server does not answer or refuses.
    """
    ids = dict(plan.ids)
    for change in plan.changes:
        kind, wanted = change.kind, change.wanted
        if wanted is None:
            server.write("DELETE", kind, change.name, {}, change.id)
        elif not change.id:
            body = {**wanted.body, **wanted.fixed_values(ids)}
            ids[kind, change.name] = server.write("POST", kind, change.name, body)
        else:
            server.write(kind.update_method, kind, change.name, wanted.body, change.id)
        yield change


def reference_values(settings: Settings) -> dict[str, str | None]:
    """Return the values of the files' references on a server.

    Raises:
        UsageError: The API or the database has no address that a server can reach.
    """
    if not isinstance(settings.source, ApiSource):
        raise UsageError(
            "an Airbyte server reads a retail API at an address: set RETAIL_SOURCE to https://…"
        )
    url = settings.airbyte.database_url or settings.database_url
    if url is None:
        raise UsageError(
            "an Airbyte server writes to a PostgreSQL at an address: set RETAIL_DATABASE_URL, or "
            "AIRBYTE_DATABASE_URL where the server reaches it by another address or login"
        )
    given = conninfo_to_dict(url) if settings.airbyte.database_url else address.read(url)
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


def wanted_objects(folder: AirbyteFolder, values: Mapping[str, str | None]) -> list[Wanted]:
    """Return the objects that the files describe.

    Args:
        folder: The connection files.
        values: The values of their references.

    Raises:
        PipelineError: A reference has no value, or a destination has no id of its connector.
    """
    used = list(folder.connections.values())
    sources = [folder.sources[name] for name in dict.fromkeys(each.source for each in used)]
    wanted = []
    for name in dict.fromkeys(each.connector for each in sources):
        # Dates become texts.
        manifest = json.loads(json.dumps(folder.manifests[name], default=str))
        wanted.append(Wanted(DEFINITION, name, {"manifest": manifest}, {"name": name}))
    for source in sources:
        wanted.append(
            Wanted(
                SOURCE,
                source.name,
                {"name": source.name, "configuration": source.resolved(values)},
                {"definitionId": (DEFINITION, source.connector)},
            )
        )
    for name in dict.fromkeys(each.destination for each in used):
        destination = folder.destinations[name]
        if destination.definition_id is None:
            raise PipelineError(
                f"the airbyte destination {name} needs a definition_id: the server's id of its "
                "connector"
            )
        configuration = destination.resolved(values)
        if "port" in configuration:  # references give texts
            configuration["port"] = int(configuration["port"])
        wanted.append(
            Wanted(
                DESTINATION,
                name,
                {"name": name, "configuration": configuration},
                {"definitionId": destination.definition_id},
            )
        )
    return [*wanted, *(_connection(folder, each) for each in used)]


def _connection(folder: AirbyteFolder, connection: ConnectionFile) -> Wanted:
    declared = declared_streams(folder.manifests[folder.sources[connection.source].connector])
    return Wanted(
        CONNECTION,
        connection.name,
        {
            "name": connection.name,
            "status": "active",
            "schedule": {"scheduleType": connection.schedule},
            "namespaceDefinition": "custom_format",
            "namespaceFormat": connection.namespace,
            # As the embedded engine does: a new column appears with the next sync.
            "nonBreakingSchemaUpdatesBehavior": "propagate_columns",
            "configurations": {
                "streams": [_stream(each, declared[each.name]) for each in connection.streams]
            },
        },
        {
            "sourceId": (SOURCE, connection.source),
            "destinationId": (DESTINATION, connection.destination),
        },
    )


def _stream(stream: StreamSettings, declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stream's settings; a server refuses key and cursor where the source defines them."""
    sent: dict[str, Any] = {"name": stream.name, "syncMode": stream.sync_mode.value}
    if stream.cursor_field and "incremental_sync" not in declared:
        sent["cursorField"] = stream.cursor_field
    if stream.primary_key and "primary_key" not in declared:
        sent["primaryKey"] = stream.primary_key
    return sent


def _check_fixed(wanted: Wanted, found: Mapping[str, Any], ids: Ids, location: str) -> None:
    """Raise where a field of the server's object differs that cannot be changed."""
    for name, value in wanted.fixed_values(ids).items():
        if found.get(name, value) != value:
            raise PipelineError(
                f"the {wanted.kind.title} {wanted.name} of the Airbyte server at {location} has "
                f"another {name}, which cannot be changed: rename or delete it there, then apply "
                "again"
            )


def _compare(wanted: Wanted, found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences of the server's object; a masked secret is taken for the same."""
    ours = dict(_leaves(wanted.body))
    theirs = dict(_leaves({name: _shown(name, found.get(name)) for name in wanted.body}))
    # The server adds to each stream what its source defines.
    streams = {path[:3] for path in ours if path[0] == "configurations"}
    for path in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(path, _ABSENT), theirs.get(path, _ABSENT)
        added = mine is _ABSENT and (other is None or path[:3] in streams)
        if mine != other and not added and not _is_masked(other):
            yield f"{'.'.join(path)}: {_text(other)} → {_text(mine)}"


def _is_masked(value: Any) -> bool:
    return isinstance(value, str) and set(value) == {"*"}


def _shown(name: str, value: Any) -> Any:
    """Return a field of the server's object without the parts that the server adds."""
    if name == "configuration" and isinstance(value, Mapping):
        return {key: each for key, each in value.items() if key not in _ADDED_BY_SERVER}
    if name == "schedule" and isinstance(value, Mapping):
        return {"scheduleType": value.get("scheduleType")}
    return value


def _leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the values with their paths; members of a list that have names go by them."""
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
