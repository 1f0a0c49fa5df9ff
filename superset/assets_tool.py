"""What runs inside Superset's own environment: set-up, users and roles, and the import of files.

`retail-pipeline bi` starts it with a command; JSON comes on standard input, and one JSON object
goes to standard output. It imports nothing of the pipeline, whose libraries do not fit Superset's.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

VIEWER, ANALYST, ADMIN = "Viewer", "Analyst", "Admin"
_VIEWER_EXTRA = {
    ("menu_access", "Dashboards"),
    ("can_recent_activity", "Log"),
    ("can_log", "Superset"),  # asked for at each page; nothing is stored
    ("can_read", "SecurityRestApi"),  # the token against forged requests
}
_VIEWER_WITHOUT = {"can_slice", "can_explore_json", "can_external_metadata", "can_query"}
"""Permissions of Superset's role for looking that serve exploring: the viewer may not."""


class RefusedError(Exception):
    """The files cannot be applied; nothing was changed."""


def set_up(_: dict[str, Any]) -> dict[str, Any]:
    """Create or upgrade Superset's own database, and the roles that Superset brings."""
    from flask_migrate import upgrade
    from superset import db, security_manager
    from superset.extensions import appbuilder

    upgrade(directory=_migrations())
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()
    db.session.commit()
    return {}


def apply(given: dict[str, Any]) -> dict[str, Any]:
    """Bring Superset to the state of the files; return the differences that were found.

    Args:
        given: `files` (text by path), `password` of the database, `logins` (password by user),
            `mark` (beginning of `external_url`), and `write`, without which all is rolled back.
    """
    from superset import db, security_manager
    from superset.utils.core import override_user

    mark = given["mark"]
    with _one_transaction(db) as finish:
        before = _people()
        _users_and_roles(given["logins"])
        with override_user(security_manager.find_user("admin")):
            before |= _objects(mark)
            _refuse_taken(given)
            _import(given)
            _prune(given)
            _rights(mark)
            db.session.flush()
            db.session.expire_all()
            changes = _differences(before, {**_people(), **_objects(mark)})
        finish(commit=given["write"] and bool(changes))
    return {"changes": changes}


@contextmanager
def _one_transaction(db: Any) -> Iterator[Callable[..., None]]:
    """Make all that follows one transaction; yield the function that ends it.

    Superset's importer commits once, but Flask-AppBuilder commits each permission that it adds.
    Inside the block, a commit only flushes, and a rollback of a part is an error of the whole.
    """
    session = db.session()

    def refuse() -> None:
        raise RefusedError("Superset gave up a part of the import; its message is in the log above")

    def finish(*, commit: bool) -> None:
        del session.commit, session.rollback
        (session.commit if commit else session.rollback)()

    session.commit, session.rollback = session.flush, refuse
    try:
        yield finish
    except BaseException:
        session.__dict__.pop("commit", None)
        session.__dict__.pop("rollback", None)
        session.rollback()
        raise


def _users_and_roles(logins: dict[str, str]) -> None:
    from superset import db
    from superset import security_manager as security
    from werkzeug.security import check_password_hash, generate_password_hash

    looking = {
        each for each in security.PUBLIC_ROLE_PERMISSIONS if each[0] not in _VIEWER_WITHOUT
    } | _VIEWER_EXTRA
    pvms = [p for p in db.session.query(security.permissionview_model) if p.view_menu]
    named = {pvm: (pvm.permission.name, pvm.view_menu.name) for pvm in pvms}
    roles = {name: security.add_role(name) for name in (VIEWER, ANALYST)}
    _assign(roles[VIEWER], [pvm for pvm, name in named.items() if name in looking])
    access = [p for p in roles[ANALYST].permissions if p.permission.name == "database_access"]
    own = {p for role in ("Gamma", "sql_lab") for p in security.find_role(role).permissions}
    _assign(roles[ANALYST], [*own, *access])
    for user_name, password in logins.items():
        role = security.find_role(user_name.capitalize())
        user = security.find_user(user_name)
        if user is None:
            email = f"{user_name}@localhost"
            user = security.add_user(user_name, user_name, "Superset", email, role, password)
        if not check_password_hash(user.password, password):
            user.password = generate_password_hash(password)
        if user.roles != [role] or not user.active:
            user.roles, user.active = [role], True


def _assign(role: Any, permissions: list[Any]) -> None:
    if set(role.permissions) != set(permissions):
        role.permissions = permissions


def _import(given: dict[str, Any]) -> None:
    from flask import g
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    database = next(path for path in given["files"] if path.startswith("databases/"))
    g.in_transaction = True  # Superset's own sign that a transaction is open
    try:
        ImportAssetsCommand(given["files"], passwords={database: given["password"]}).run()
    finally:
        g.in_transaction = False


def _refuse_taken(given: dict[str, Any]) -> None:
    """Refuse names that objects made in Superset have: the importer would take these for ours."""
    from superset import db

    keys = ("database_name", "table_name", None, "slug")
    folders = ("databases", "datasets", "charts", "dashboards")
    for model, key, folder in zip(_models(), keys, folders, strict=True):
        for path, text in given["files"].items():
            if key is None or not path.startswith(f"{folder}/"):
                continue
            content = yaml.safe_load(text)
            found = db.session.query(model).filter(getattr(model, key) == content[key])
            if "schema" in content:
                found = found.filter(model.schema == content["schema"])
            for each in found:
                if not (each.external_url or "").startswith(given["mark"]):
                    raise RefusedError(
                        f"{path}: {content[key]} is the {key} of an object made in Superset: "
                        "rename or delete that one"
                    )


def _prune(given: dict[str, Any]) -> None:
    """Delete the objects of earlier files that are no longer among the files."""
    from superset import db

    kept = {yaml.safe_load(text).get("uuid") for text in given["files"].values()}
    for model in reversed(_models()):
        for each in _ours(model, given["mark"]):
            if str(each.uuid) not in kept:
                _refuse_used(each)
                db.session.delete(each)


def _refuse_used(each: Any) -> None:
    users = [
        chart.slice_name
        for chart in getattr(each, "slices", [])
        if type(each).__name__ == "SqlaTable" and not chart.is_managed_externally
    ]
    if users:
        raise RefusedError(
            f"the data set {each.table_name} has no file any more, but charts made in Superset "
            f"use it: {', '.join(users)}. Delete them in Superset, or bring the file back"
        )


def _rights(mark: str) -> None:
    """Open our dashboards to the two roles, and our database to the analyst."""
    from superset import security_manager as security
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard

    roles = [security.find_role(name) for name in (VIEWER, ANALYST)]
    for dashboard in _ours(Dashboard, mark):
        if set(dashboard.roles) != set(roles):
            dashboard.roles = roles
        dashboard.owners = []
    for database in _ours(Database, mark):
        pvm = security.add_permission_view_menu("database_access", database.perm)
        if pvm not in roles[1].permissions:
            roles[1].permissions.append(pvm)
    for model in _models()[1:3]:
        for each in _ours(model, mark):
            each.owners = []


def _models() -> list[Any]:
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    return [Database, SqlaTable, Slice, Dashboard]


def _ours(model: Any, mark: str) -> list[Any]:
    from superset import db

    return db.session.query(model).filter(model.external_url.startswith(mark)).all()


def _objects(mark: str) -> dict[str, Any]:
    """Return our objects by path, as Superset exports them, with roles, owners and password."""
    from superset.commands.chart.export import ExportChartsCommand
    from superset.commands.dashboard.export import ExportDashboardsCommand
    from superset.commands.database.export import ExportDatabasesCommand
    from superset.commands.dataset.export import ExportDatasetsCommand

    exports = (
        ExportDatabasesCommand,
        ExportDatasetsCommand,
        ExportChartsCommand,
        ExportDashboardsCommand,
    )
    found: dict[str, Any] = {}
    for model, export in zip(_models(), exports, strict=True):
        ours = {str(each.uuid): each for each in _ours(model, mark)}
        ids = [each.id for each in ours.values()]
        for name, text in export(ids, export_related=False).run() if ids else ():
            content = yaml.safe_load(text())
            each = ours.get(content.get("uuid"))
            if name == "metadata.yaml" or each is None:
                continue
            content["roles"] = sorted(role.name for role in getattr(each, "roles", []))
            content["owners"] = sorted(user.username for user in getattr(each, "owners", []))
            content["password"] = getattr(each, "password", None)
            found[each.external_url.removeprefix(mark)] = content
    return found


def _people() -> dict[str, Any]:
    """Return the permissions of our roles, and the roles and passwords of all users."""
    from superset import security_manager as security

    found: dict[str, Any] = {}
    for name in (VIEWER, ANALYST):
        role = security.find_role(name)
        found[f"role {name}"] = {str(each): True for each in role.permissions} if role else {}
    for user in security.get_all_users():
        roles = sorted(role.name for role in user.roles)
        found[f"user {user.username}"] = {
            "roles": roles,
            "password": user.password,
            "active": user.active,
        }
    return found


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one entry per object that differs: its sign, name, and the keys that differ."""
    changes = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            sign = "+" if old is None else "-" if new is None else "~"
            keys = sorted(_paths(old, new)) if sign == "~" else []
            changes.append({"sign": sign, "name": name, "keys": keys})
    return changes


def _paths(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys(), key=str):
            if old.get(key) != new.get(key):
                yield from _paths(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
    else:
        yield path


def _migrations() -> str:
    from importlib.resources import files

    return str(files("superset") / "migrations")


COMMANDS = {"set-up": set_up, "apply": apply}


def main() -> int:
    """Run one command in Superset's application; print its result, or its error, as JSON."""
    answer, sys.stdout = sys.stdout, sys.stderr  # libraries that print do not disturb the answer
    from superset.app import create_app

    given = json.load(sys.stdin)
    with create_app().app_context():
        try:
            result = COMMANDS[sys.argv[1]](given)
        except RefusedError as error:
            result = {"error": str(error)}
        except Exception as error:
            import traceback

            traceback.print_exc()
            reasons = [str(each) for each in getattr(error, "_exceptions", [])] or [str(error)]
            result = {"error": "; ".join(reasons)}
    json.dump(result, answer)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
