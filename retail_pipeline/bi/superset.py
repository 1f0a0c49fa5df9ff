"""Superset in an environment of its own: installation, secrets, server, and commands inside it.

All of it is in one folder under RETAIL_HOME: the environment, Superset's own database (SQLite), its
key and logins (mode 0600), and its log. Nothing is installed or started before `up`.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.files import replaced_whole
from retail_pipeline.loopback import listener
from retail_pipeline.settings import PROJECT_ROOT

USERS: Final = ("admin", "analyst", "viewer")
PORT: Final = 8088
_FILES: Final = PROJECT_ROOT / "superset"
_LOCK: Final = _FILES / "requirements.lock"
_OF_IMAGE: Final = Path("/opt/superset/venv")
"""The environment in the image of the service `superset`."""
_BUILD_LOCK: Final = _FILES / "build.lock"
_SOURCES: Final = ("odfpy", "wtforms-json")
"""Packages without a wheel, which are built by what the build lock names."""
_BY_HASH: Final = ("--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:")
_START_SECONDS: Final = 300
_STOP_SECONDS: Final = 60
_MIB: Final = 2**20


class Superset:
    """The Superset of one home.

    Args:
        folder: The folder of all its files; created when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logins_file = folder / "logins.json"
        self.log = folder / "superset.log"
        own = folder / "venv"
        self._environment = _OF_IMAGE if (_OF_IMAGE / ".installed").exists() else own
        self._lock_file = folder / "server.lock"

    @property
    def is_installed(self) -> bool:
        """Whether the environment has the packages of the lock file."""
        mark = self._environment / ".installed"
        return mark.exists() and mark.read_text() == _digest(_LOCK)

    def install(self) -> None:
        """Build the environment from `superset/requirements.lock`, with uv if it is there.

        Raises:
            PipelineError: The packages cannot be installed; the message ends with the reason.
        """
        if sys.version_info >= (3, 13):
            raise PipelineError(
                "Superset 6.1 runs on Python 3.11 or 3.12, this is "
                f"{sys.version_info[0]}.{sys.version_info[1]}: build .venv with another one, "
                "`make clean`, then `make PYTHON=python3.12 .venv`"
            )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self._environment, ignore_errors=True)
        python = str(self._environment / "bin" / "python")
        beside = str(Path(sys.executable).parent)
        uv = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
        if uv:
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(self._environment)])
            command = [uv, "pip", "install", "--python", python, "--compile-bytecode"]
        else:
            _run([sys.executable, "-m", "venv", str(self._environment)])
            command = [python, "-m", "pip", "install"]
        _run([*command, *_BY_HASH, "-r", str(_BUILD_LOCK)])
        built = [word for name in _SOURCES for word in ("--no-binary", name)]
        _run([*command, *_BY_HASH, *built, "--no-build-isolation", "-r", str(_LOCK)])
        (self._environment / ".installed").write_text(_digest(_LOCK))

    def refuse_missing(self) -> None:
        """Raise PipelineError if Superset is not installed and set up."""
        if not (self.is_installed and self.is_set_up):
            raise PipelineError("Superset is not installed: `retail-pipeline bi up` does that")

    def size_mib(self) -> int:
        """Return the size of the environment on disk."""
        files = (each for each in self._environment.rglob("*") if not each.is_symlink())
        return sum(each.stat().st_size for each in files) // _MIB

    def run(self, command: str, **given: Any) -> dict[str, Any]:
        """Return the result of a command of `superset/assets_tool.py`, run in the environment.

        Raises:
            PipelineError: The command failed, and changed nothing.
        """
        with self.log.open("a") as log:
            done = subprocess.run(
                [
                    str(self._environment / "bin" / "python"),
                    str(_FILES / "assets_tool.py"),
                    command,
                ],
                input=json.dumps(given),
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._variables(),
                cwd=self.folder,
                text=True,
                check=False,
            )
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            answer = {"error": f"it ended with code {done.returncode}"}
        if "error" in answer:
            raise PipelineError(
                f"Superset refused, and nothing was changed: {answer['error']}. "
                f"Its log is {self.log}"
            )
        return answer

    @property
    def is_set_up(self) -> bool:
        """Whether Superset's own database has been made by the version of the lock file."""
        mark = self.folder / "set_up"
        return mark.exists() and mark.read_text() == _digest(_LOCK)

    def set_up(self) -> None:
        """Create or upgrade Superset's own database."""
        key = self.folder / "secret.key"
        if not key.exists():
            with replaced_whole(key, mode=0o600) as draft:
                draft.write_text(secrets.token_urlsafe(48))
        self.run("set-up")
        (self.folder / "set_up").write_text(_digest(_LOCK))

    def logins(self) -> dict[str, str]:
        """Return the password of each user; a lost file gives new passwords."""
        if self.logins_file.exists():
            return dict(json.loads(self.logins_file.read_text()))
        logins = {name: secrets.token_urlsafe(12) for name in USERS}
        with replaced_whole(self.logins_file, mode=0o600) as draft:
            draft.write_text(json.dumps(logins, indent=1))
        return logins

    def address(self) -> str | None:
        """Return the address of the running server, or None."""
        server = self._server()
        return f"http://127.0.0.1:{server['port']}" if server else None

    def start(self, port: int = PORT) -> str:
        """Start the server on loopback, unless it runs; return its address.

        Raises:
            UsageError: The port is used by another program.
            PipelineError: The server does not answer in time.
        """
        running = self.address()
        if running:
            return running
        listener(port).close()
        with self._lock_file.open("a+") as lock, self.log.open("a") as log:
            # The server inherits the lock: it is held exactly as long as a process of it lives.
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = subprocess.Popen(
                self._server_command("127.0.0.1", port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._variables(),
                cwd=self.folder,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
            lock.truncate(0)
            lock.write(json.dumps({"pid": server.pid, "port": port}))
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                return url
            time.sleep(0.5)
        self.stop()
        raise PipelineError(f"Superset does not start; its log is {self.log}")

    def serve(self, host: str, port: int) -> NoReturn:
        """Replace this process by the server, as a container wants it.

        Raises:
            PipelineError: Superset is not installed and set up.
        """
        self.refuse_missing()
        command = self._server_command(host, port)
        os.chdir(self.folder)
        os.execve(command[0], command, self._variables())

    def _server_command(self, host: str, port: int) -> list[str]:
        workers = ("--workers", "2", "--worker-class", "gthread", "--threads", "8")
        return [
            *(str(self._environment / "bin" / "python"), "-m", "gunicorn"),
            *("--bind", f"{host}:{port}", *workers, "--timeout", "120", "--no-control-socket"),
            "superset.app:create_app()",
        ]

    def stop(self) -> bool:
        """Stop the server; return whether it was running.

        Raises:
            PipelineError: It does not stop.
        """
        server = self._server()
        if server is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(server["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._server() is not None:
            if time.monotonic() > deadline:
                raise PipelineError(f"Superset (process {server['pid']}) does not stop")
            time.sleep(0.2)
        return True

    def _server(self) -> dict[str, int] | None:
        """Return process and port of the running server, or None if no process holds its lock."""
        if not self._lock_file.exists():
            return None
        with self._lock_file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with suppress(ValueError):
                    return dict(json.loads(lock.read()))
        return None

    def _variables(self) -> Mapping[str, str]:
        """Return the environment of Superset's processes, without the pipeline's secrets."""
        passed = ("PATH", "LANG", "LC_ALL", "TMPDIR")
        return {
            **{name: os.environ[name] for name in passed if name in os.environ},
            "HOME": str(self.folder),
            "SUPERSET_HOME": str(self.folder),
            "SUPERSET_CONFIG_PATH": str(_FILES / "superset_config.py"),
            "SCARF_ANALYTICS": "false",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def _digest(file: Path) -> str:
    if not file.exists():
        raise UsageError(f"{file} is missing: dashboards need a checkout of the project")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(command: list[str]) -> None:
    certificates = {"UV_NATIVE_TLS": "true", "UV_SYSTEM_CERTS": "true"}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **certificates}, check=False
    )
    if done.returncode != 0:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise PipelineError(f"Superset's environment cannot be built:\n{words}")
