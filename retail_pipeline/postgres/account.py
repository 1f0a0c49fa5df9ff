"""The account that runs the embedded server. PostgreSQL refuses to run as root.

Root starts the server as `postgres` or `nobody`. Closed folders above the data and the programs,
such as `/root`, stay closed: in a mount namespace of the server they are replaced by empty ones,
in which only the data and the programs are mounted.
"""

import os
import pwd
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retail_pipeline.errors import PipelineError

_ACCOUNTS = ("postgres", "nobody")
_ROOT = 0
_NO_RIGHTS = ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
IN_USER_NAMESPACE = (
    "the server runs as root in a user namespace: code in the database could write root's files; "
    "run as an ordinary user"
)


@dataclass(frozen=True)
class Account:
    """The account of the server's programs.

    Attributes:
        prefix: The command that starts a program under the account; it precedes the program.
        owner: The user and group that own the data; None if they are the current ones.
        description: A sentence about the account; empty for the current one.
        enters: The folders whose group the account needs in order to reach the data.
    """

    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None
    description: str = ""
    enters: tuple[Path, ...] = ()


def choose_account(data: Path, programs: Path, *, running: bool = False) -> Account:
    """Return the account that can run the server on this machine; nothing is changed.

    Args:
        data: The server's data folder, which need not exist yet.
        programs: The folder of PostgreSQL's programs in the wheel.
        running: Whether the server is running, which only the owner of the data can stop.

    Raises:
        PipelineError: The current account is root, and the data belong to an ordinary user, or no
            other account can run the server.
    """
    if os.geteuid() != _ROOT:
        return Account()
    entries = _entries()
    owner = data.stat().st_uid if data.exists() else _ROOT
    if owner not in (_ROOT, *(each.pw_uid for each in entries)):
        raise PipelineError(f"the database {data} belongs to user {owner}: run as that user")
    for account in _candidates(entries, data, programs):
        fits = not running or (account.owner and account.owner[0] == owner)
        if fits and _works(account, data, programs):
            return account
    raise PipelineError(
        f"root may not run PostgreSQL, and no other account can run {programs} on this machine: "
        "run as an ordinary user, or set RETAIL_DATABASE_URL"
    )


def hand_over(account: Account, folder: Path) -> None:
    """Give a folder of data to the account, if another one owns it.

    All beside it stays root's: a link that the account puts there could lead root to other files.
    """
    if account.owner is None:
        return
    for path in (folder.parent, *folder.parent.iterdir()):
        if path != folder and path.lstat().st_uid == account.owner[0]:
            os.chown(path, _ROOT, _ROOT, follow_symlinks=False)
    for closed in account.enters:
        if not _is_open(closed):
            os.chown(closed, -1, account.owner[1])
            closed.chmod(closed.stat().st_mode | 0o010)
    if folder.stat().st_uid != account.owner[0]:
        for parent, folders, files in os.walk(folder, topdown=False):
            for name in (*folders, *files):
                os.chown(Path(parent, name), *account.owner, follow_symlinks=False)
        os.chown(folder, *account.owner)  # last, so that an interrupted change is repeated


def _candidates(entries: list[pwd.struct_passwd], data: Path, programs: Path) -> Iterator[Account]:
    """Yield the accounts that root can use, the safest first."""
    for entry in entries:
        other = ("setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid))
        drop = (*other, "--clear-groups", *_NO_RIGHTS)
        owner = (entry.pw_uid, entry.pw_gid)
        description = f"the server runs as {entry.pw_name}"
        yield Account((*_mounted(data, programs), *drop), owner, description)
        yield Account(drop, owner, description, (data.parent.parent, data.parent))
    mapped = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
    yield Account((*mapped, "setpriv", "--no-new-privs"), (_ROOT, _ROOT), IN_USER_NAMESPACE)


def _entries() -> list[pwd.struct_passwd]:
    found = []
    for name in _ACCOUNTS:
        with suppress(KeyError):
            found.append(pwd.getpwnam(name))
    return found


def _mounted(data: Path, programs: Path) -> tuple[str, ...]:
    """Return the command that starts another one where data and programs can be reached."""
    kept = {3: programs.parents[2]}  # the wheel's libraries are beside it
    if data.exists():
        kept[4] = data
    closed = {path for each in kept.values() if (path := _closed_above(each))}
    lines = [f"exec {number}<{shlex.quote(str(path))}" for number, path in kept.items()]
    lines += [
        f"mount -t tmpfs -o mode=0755,size=1m tmpfs {shlex.quote(str(path))}" for path in closed
    ]
    for number, path in kept.items():
        if closed.intersection(path.parents):
            place = shlex.quote(str(path))
            lines += [f"mkdir -p {place}", f"mount -c --bind /proc/self/fd/{number} {place}"]
    script = "\n".join(["umask 022", *lines, "exec 3<&- 4<&-", 'exec "$@"'])
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh")


def _works(account: Account, data: Path, programs: Path) -> bool:
    """Return whether the account can reach the folder of the data and run the programs."""
    reached = data.parent if data.exists() else Path("/")
    if account.enters:
        reached = next(each for each in account.enters[0].parents if each.exists())
    test = ("sh", "-c", 'test -x "$0" && exec "$1" --version', str(reached))
    command = [*account.prefix, *test, str(programs / "postgres")]
    try:
        return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0
    except FileNotFoundError:
        return False


def _closed_above(path: Path) -> Path | None:
    """Return the topmost folder above a path that other accounts cannot enter."""
    return next((each for each in reversed(path.parents) if not _is_open(each)), None)


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)
