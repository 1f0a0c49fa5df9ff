"""The files under `airbyte/` on a real Airbyte server: what differs, and making it equal.

Objects are found by the ids of an earlier apply, else by name. Secrets are sent and never compared:
a server tells them masked. How the server is talked to is in `server_api`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from psycopg import conninfo

from retail_pipeline.airbyte_engine.files import (
    AirbyteFolder,
    ConnectionFile,
    DestinationFile,
    StreamSettings,
)
from retail_pipeline.errors import (
    PipelineError,
    UsageError,
)
from retail_pipeline.ingestion.server_api import (
    CONNECTION,
    DEFINITION,
    DESTINATION,
    KINDS,
    SOURCE,
    AirbyteServer,
    Kind,
)
from retail_pipeline.postgres import address
from retail_pipeline.settings import (
    ApiSource,
    Settings,
)

_SECRET_REFERENCES = ("RETAIL_API_KEY", "DATABASE_PASSWORD")
_ADDED_BY_SERVER = ("sourceType", "destinationType")
_MOST_LINES = 12
_LONGEST_VALUE = 70
_ABSENT = object()


class Action(StrEnum):
    """What becomes of an object; the value is the sign that a plan shows."""

    CREATE = "+"
    UPDATE = "~"
    DELETE = "-"
    LEAVE = "!"


@dataclass(frozen=True)
class IdOf:
    """Stands for the id of an object that may not exist yet."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Wanted:
    """An object as the files describe it.

    Attributes:
        kind: Its kind.
        name: Its name, which the server knows it by.
        body: What is sent to create it; ids of others as `IdOf`.
        fixed: Fields of the body that cannot be changed once it is there.
        secret: Paths in the body whose values are secret.
    """

    kind: Kind
    name: str
    body: Mapping[str, Any]
    fixed: tuple[str, ...] = ()
    secret: frozenset[tuple[str, ...]] = frozenset()


@dataclass(frozen=True)
class Change:
    """One object that differs; `lines` say in what, without secrets."""

    action: Action
    kind: Kind
    name: str
    id: str | None = None
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{self.action} {self.kind.title} {self.name}"
        if self.action is Action.LEAVE:
            head += " is no longer in the files (apply --prune deletes it)"
        return "\n".join([head, *(f"    {line}" for line in self.lines)])


@dataclass
class Plan:
    """What differs between the files and the server, in the order in which it is written.

    Attributes:
        changes: The objects that differ.
        ids: The ids of all objects that are there, by kind and name.
        stale_file: Whether the file of ids says something else.
    """

    changes: list[Change] = field(default_factory=list)
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    stale_file: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the server is as the files say."""
        return not any(change.action is not Action.LEAVE for change in self.changes)

    def __str__(self) -> str:
        count = {action: sum(c.action is action for c in self.changes) for action in Action}
        return "\n".join(
            [
                *map(str, self.changes),
                f"{count[Action.CREATE]} to create, {count[Action.UPDATE]} to change, "
                f"{count[Action.DELETE]} to delete",
            ]
        )


class Provisioning:
    """Compares a folder with a workspace, and writes what differs.

    Args:
        settings: The environment: values of the files' references, the server, the file of ids.
        folder: The connection files.

    Raises:
        UsageError: A setting that the files or the server need is missing.
    """

    def __init__(self, settings: Settings, folder: AirbyteFolder) -> None:
        values = reference_values(settings)
        secrets = [values[name] for name in _SECRET_REFERENCES]
        self._wanted = wanted_objects(folder, values)
        self._server = AirbyteServer(settings.airbyte, [each for each in secrets if each])
        self._ids_path = ids_path(settings, folder)

    def __enter__(self) -> "Provisioning":
        self._server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)

    @property
    def location(self) -> str:
        """The server's address."""
        return self._server.location

    def plan(self, *, prune: bool = False, renew_secrets: bool = False) -> Plan:
        """Compare; nothing is written.

        Args:
            prune: Delete what an earlier apply made and the files no longer have.
            renew_secrets: Write every object that holds a secret, whether it differs or not.

        Raises:
            PipelineError: The server does not answer, refuses, or holds two objects of one name.
        """
        recorded = read_ids(self._ids_path, self._server.workspace_id)
        plan = Plan(ids={kind.plural: {} for kind in KINDS})
        gone: list[Change] = []
        for kind in KINDS:
            there = {str(each[kind.id_field]): each for each in self._server.list(kind)}
            known = recorded.get(kind.plural, {})
            for wanted in (each for each in self._wanted if each.kind is kind):
                found = _find(wanted, known, there)
                if found is not None:
                    plan.ids[kind.plural][wanted.name] = str(found[kind.id_field])
                change = self._compare(wanted, found, plan.ids, renew_secrets)
                plan.changes += [change] if change else []
            names = {each.name for each in self._wanted if each.kind is kind}
            for name, object_id in known.items():
                if name not in names and object_id in there:
                    action = Action.DELETE if prune else Action.LEAVE
                    gone.append(Change(action, kind, name, object_id))
                    plan.ids[kind.plural][name] = object_id
        plan.changes += reversed(gone)  # what needs others goes before them
        plan.stale_file = plan.ids != {kind.plural: recorded.get(kind.plural, {}) for kind in KINDS}
        return plan

    def apply(self, plan: Plan) -> Iterator[Change]:
        """Write what a plan says; yield each change once it is done.

        The file of ids is written at the end, and also where the server refuses something: what
        was made until then is found again.

        Raises:
            PipelineError: The server does not answer or refuses.
        """
        wanted = {(each.kind, each.name): each for each in self._wanted}
        try:
            for change in plan.changes:
                ids = plan.ids[change.kind.plural]
                match change.action:
                    case Action.CREATE:
                        body = _with_ids(wanted[change.kind, change.name].body, plan.ids)
                        ids[change.name] = self._server.create(change.kind, change.name, body)
                    case Action.UPDATE:
                        body = _changeable(wanted[change.kind, change.name], plan.ids)
                        self._server.update(change.kind, change.name, str(change.id), body)
                    case Action.DELETE:
                        self._server.delete(change.kind, change.name, str(change.id))
                        del ids[change.name]
                    case Action.LEAVE:
                        continue
                yield change
        finally:
            write_ids(self._ids_path, self._server.workspace_id, plan.ids)

    def _compare(
        self,
        wanted: Wanted,
        found: Mapping[str, Any] | None,
        ids: Mapping[str, Mapping[str, str]],
        renew_secrets: bool,
    ) -> Change | None:
        if found is None:
            return Change(Action.CREATE, wanted.kind, wanted.name)
        there = _shown(wanted.kind, found)
        body = _with_ids(wanted.body, ids)
        for name in wanted.fixed:
            if name in there and there[name] != body[name]:
                raise PipelineError(
                    f"the {wanted.kind.title} {wanted.name} of the Airbyte server at "
                    f"{self.location} has another {name}, which cannot be changed: "
                    "rename or delete it there, then apply again"
                )
        changeable = {name: body[name] for name in body if name not in wanted.fixed}
        lines = list(_differences(changeable, there, wanted.secret))
        if renew_secrets and wanted.secret:
            lines += [f"{'.'.join(path)} (secret): renewed" for path in sorted(wanted.secret)]
        if not lines:
            return None
        if len(lines) > _MOST_LINES:
            lines[_MOST_LINES:] = [f"… and {len(lines) - _MOST_LINES} more"]
        object_id = str(found[wanted.kind.id_field])
        return Change(Action.UPDATE, wanted.kind, wanted.name, object_id, tuple(lines))


def reference_values(settings: Settings) -> dict[str, str | None]:
    """Return what the references of the files stand for on a server.

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
    parts = conninfo.conninfo_to_dict(url) if settings.airbyte.database_url else address.read(url)
    if str(parts.get("host")).startswith("/"):
        raise UsageError(
            "an Airbyte server cannot reach PostgreSQL by a socket of this machine: set "
            "AIRBYTE_DATABASE_URL to an address with a host"
        )
    return {
        "RETAIL_API_URL": settings.source.url,
        "RETAIL_API_KEY": settings.api_key,
        "RETAIL_API_END": None,  # a server reads up to the moment of the sync
        "DATABASE_HOST": str(parts.get("host", "localhost")),
        "DATABASE_PORT": str(parts.get("port", 5432)),
        "DATABASE_NAME": str(parts["dbname"]),
        "DATABASE_USER": str(parts["user"]) if "user" in parts else None,
        "DATABASE_PASSWORD": str(parts["password"]) if "password" in parts else None,
    }


def wanted_objects(folder: AirbyteFolder, values: Mapping[str, str | None]) -> list[Wanted]:
    """Return everything that the files describe, in the order in which it has to be made.

    Args:
        folder: The connection files.
        values: What their references stand for.

    Raises:
        PipelineError: A reference has no value, or a manifest cannot be read.
    """
    used = list(folder.connections.values())
    sources = [folder.sources[name] for name in dict.fromkeys(each.source for each in used)]
    destinations = [
        folder.destinations[name] for name in dict.fromkeys(each.destination for each in used)
    ]
    manifests = {each.connector: _manifest(folder, each.connector) for each in sources}
    wanted = [
        Wanted(DEFINITION, name, {"name": name, "manifest": manifest}, fixed=("name",))
        for name, manifest in manifests.items()
    ]
    for source in sources:
        declared = manifests[source.connector]["spec"]["connection_specification"]["properties"]
        marked = {name for name, each in declared.items() if each.get("airbyte_secret")}
        wanted.append(
            Wanted(
                SOURCE,
                source.name,
                {
                    "name": source.name,
                    "definitionId": IdOf(DEFINITION, source.connector),
                    "configuration": source.resolved(values),
                },
                fixed=("definitionId",),
                secret=_secret_paths(source.configuration, marked),
            )
        )
    wanted += [_destination(each, values) for each in destinations]
    return [*wanted, *(_connection(folder, each, manifests) for each in used)]


def ids_path(settings: Settings, folder: AirbyteFolder) -> Path:
    """Return where the ids of this environment's server are kept."""
    return folder.root / "workspaces" / f"{settings.environment.value}.json"


def read_ids(path: Path, workspace_id: str) -> dict[str, dict[str, str]]:
    """Return the ids of an earlier apply by kind (plural) and name; none of another workspace.

    Raises:
        PipelineError: The file is there but unreadable.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("workspace_id", workspace_id) != workspace_id:
            return {}
        return {kind.plural: dict(content.get(kind.plural, {})) for kind in KINDS}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise PipelineError(
            f"{path} cannot be read ({error!r}): delete it, `airbyte apply` makes it anew"
        ) from None


def write_ids(path: Path, workspace_id: str, ids: Mapping[str, Mapping[str, str]]) -> None:
    """Keep the ids; the file holds no secret and belongs under version control."""
    content = {"workspace_id": workspace_id, **ids}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _destination(destination: DestinationFile, values: Mapping[str, str | None]) -> Wanted:
    if destination.definition_id is None:
        raise PipelineError(
            f"the airbyte destination {destination.name} needs a definition_id: the server's id of "
            "its connector"
        )
    configuration = destination.resolved(values)
    if "port" in configuration:  # references give texts
        configuration["port"] = int(configuration["port"])
    body = {
        "name": destination.name,
        "definitionId": destination.definition_id,
        "configuration": configuration,
    }
    secret = _secret_paths(destination.configuration, set())
    return Wanted(DESTINATION, destination.name, body, fixed=("definitionId",), secret=secret)


def _connection(
    folder: AirbyteFolder, connection: ConnectionFile, manifests: Mapping[str, Any]
) -> Wanted:
    connector = folder.sources[connection.source].connector
    body = {
        "name": connection.name,
        "sourceId": IdOf(SOURCE, connection.source),
        "destinationId": IdOf(DESTINATION, connection.destination),
        "status": "active",
        "schedule": {"scheduleType": connection.schedule},
        "namespaceDefinition": "custom_format",
        "namespaceFormat": connection.namespace,
        # As the embedded engine does: a new column appears with the next sync.
        "nonBreakingSchemaUpdatesBehavior": "propagate_columns",
        "configurations": {
            "streams": [
                _stream(stream, _declared(manifests[connector], stream.name))
                for stream in connection.streams
            ]
        },
    }
    return Wanted(CONNECTION, connection.name, body, fixed=("sourceId", "destinationId"))


def _stream(stream: StreamSettings, declared: Mapping[str, Any]) -> dict[str, Any]:
    """A server refuses a primary key for a stream whose source defines one, even the same."""
    sent: dict[str, Any] = {"name": stream.name, "syncMode": stream.sync_mode.value}
    if stream.cursor_field and "incremental_sync" not in declared:
        sent["cursorField"] = stream.cursor_field
    if stream.primary_key and "primary_key" not in declared:
        sent["primaryKey"] = stream.primary_key
    return sent


def _declared(manifest: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Return a stream of a manifest with what its reference brings along."""
    for each in manifest["streams"]:
        if (each.get("name") or each.get("$parameters", {}).get("name")) == stream:
            base: Any = manifest
            for part in str(each.get("$ref", "#")).removeprefix("#").strip("/").split("/"):
                base = base[part] if part else {}
            return {**base, **each}
    return {}


def _manifest(folder: AirbyteFolder, connector: str) -> dict[str, Any]:
    path = folder.root / "sources" / connector / "manifest.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return dict(json.loads(json.dumps(content, default=str)))  # dates become texts
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise PipelineError(f"{path} cannot be read: {error}") from None


def _secret_paths(configuration: Mapping[str, Any], marked: set[str]) -> frozenset[tuple[str, ...]]:
    """Return where a configuration holds secrets: by the connector's word, or by its reference."""
    referred = {f"${{{name}}}" for name in _SECRET_REFERENCES}
    paths = [
        path
        for path, value in _leaves(configuration)
        if path[0] in marked or any(each in str(value) for each in referred)
    ]
    return frozenset(("configuration", *path) for path in paths)


def _find(
    wanted: Wanted, recorded: Mapping[str, str], there: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    if recorded.get(wanted.name) in there:
        return there[recorded[wanted.name]]
    named = [each for each in there.values() if each.get("name") == wanted.name]
    if len(named) > 1:
        raise PipelineError(
            f"the Airbyte workspace holds {len(named)} {wanted.kind.plural} of the name "
            f"{wanted.name!r}: rename or delete all but one there"
        )
    return named[0] if named else None


def _shown(kind: Kind, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of the server without what it adds to what it was sent."""
    shown = dict(found)
    if "configuration" in shown:
        shown["configuration"] = {
            name: value
            for name, value in dict(shown["configuration"]).items()
            if name not in _ADDED_BY_SERVER
        }
    if kind is CONNECTION:
        shown["schedule"] = {"scheduleType": dict(shown["schedule"]).get("scheduleType")}
    return shown


def _with_ids(node: Any, ids: Mapping[str, Mapping[str, str]]) -> Any:
    if isinstance(node, IdOf):
        return ids[node.kind.plural].get(node.name)
    if isinstance(node, Mapping):
        return {name: _with_ids(value, ids) for name, value in node.items()}
    return [_with_ids(each, ids) for each in node] if isinstance(node, list) else node


def _changeable(wanted: Wanted, ids: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    body = {name: value for name, value in wanted.body.items() if name not in wanted.fixed}
    return dict(_with_ids(body, ids))


def _differences(
    wanted: Mapping[str, Any],
    there: Mapping[str, Any],
    secret: frozenset[tuple[str, ...]],
) -> Iterator[str]:
    """Say where the server's object is not as wanted; fields that the files do not set are free."""
    ours = dict(_leaves(wanted))
    theirs = dict(_leaves({name: there.get(name) for name in wanted}))
    # What a server tells of a stream and the files leave to the source.
    streams = {path[:3] for path in ours if path[0] == "configurations"}
    for path in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(path, _ABSENT), theirs.get(path, _ABSENT)
        if mine == other or (mine is _ABSENT and (other is None or path[:3] in streams)):
            continue
        if path in secret:
            if not _is_masked(other):
                yield f"{'.'.join(path)} (secret): differs"
            continue
        yield f"{'.'.join(path)}: {_text(other)} → {_text(mine)}"


def _is_masked(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and set(value) == {"*"}


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk to the values; members of a list that have names go by them."""
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
