"""docker-compose.yml without Docker: each command starts on loopback and becomes healthy.

Commands, variables and health checks are those of the file. Folders and loopback addresses stand in
for secret files, the volume and host names. The webserver has to show the reviewed asset graph.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from retail_pipeline.postgres.account import choose_account
from retail_pipeline.postgres.server import (
    EmbeddedServer,
    _binaries,
    _free_port,
)
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.laws.test_law_8_golden_graph import GOLDEN

COMPOSE = PROJECT_ROOT / "docker-compose.yml"
PATIENCE_SECONDS = 240
PUBLIC_URL = "https://dagster.example.org"
PORTS = {"3000": "webserver", "4000": "code-location", "8080": "retail-api"}

GRAPH = "{assetNodes{assetKey{path} groupName dependencyKeys{path}}}"


def services() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def test_every_service_is_confined_and_watched() -> None:
    for name, service in services().items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"], name
        assert "privileged" not in service, name
    published = {name: each["ports"] for name, each in services().items() if "ports" in each}
    assert published == {"webserver": ["127.0.0.1:3000:3000"]}
    assert "\nUSER retail\n" in (PROJECT_ROOT / "Dockerfile").read_text()


def test_no_secret_is_in_the_file_or_can_get_into_the_image() -> None:
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET|DATABASE_URL|WEBHOOK|SMTP", name):
                assert name.endswith("_FILE") or re.fullmatch(r"\$\{\w+:-\}", value), name
    everything, *allowed = [
        line
        for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert everything == "*"
    let_in = {line[1:] for line in allowed if line.startswith("!")}
    tracked = _run("git", "-C", str(PROJECT_ROOT), "ls-files").stdout.splitlines()
    if tracked:  # no files where the checkout has no git history
        assert let_in <= {path.partition("/")[0] for path in tracked}
    assert not let_in & {"secrets", ".env", ".retail"}


def test_the_code_location_and_the_bundled_api_outlive_each_others_restarts() -> None:
    modes = {name: each.get("network_mode") for name, each in services().items()}
    assert modes["code-location"] == modes["retail-api"] == "service:network"
    assert modes["network"] is None
    assert services()["network"]["networks"]["default"]["aliases"] == ["code-location"]


class Host:
    """A stand-in of Compose and Docker: variables, secrets, a volume, ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(_free_port(0)) for port in PORTS}
        self.server = EmbeddedServer(folder / "postgres")
        secrets = folder / "secrets"
        secrets.mkdir()
        self.url = self.server.start()
        (secrets / "database_url").write_text(self.url)
        (secrets / "api_key").write_text("key-of-the-test")
        (secrets / "suppression_key").write_text("s" * 32)

    def words(self, text: str) -> str:
        """Return a value with Compose's variables, this machine's folders and ports in it."""
        given = {
            "BIND_HOST": "127.0.0.1",
            "CODE_LOCATION_HOST": "127.0.0.1",
            "RETAIL_DAGSTER_URL": PUBLIC_URL,
            "RETAIL_SOURCE": f"http://127.0.0.1:{self.ports['8080']}",
        }
        text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: given.get(m[1], m[2]), text)
        text = text.replace("/run/secrets/", f"{self.folder}/secrets/")
        return re.sub(r"\b(3000|4000|8080)\b", lambda m: self.ports[m[1]], text)

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        """Return the service's variables, with only those of this machine that an image has."""
        own = {name: self.words(str(value)) for name, value in service["environment"].items()}
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "RETAIL_HOME": str(self.folder / "home"),
            **own,
        }

    def command(self, words: list[str]) -> list[str]:
        """Return the command of the file, with a workspace for this machine's port."""
        workspace = self.folder / "workspace.yaml"
        text = (PROJECT_ROOT / "deploy" / "workspace.yaml").read_text()
        workspace.write_text(self.words(text))
        replaced = [self.words(word) for word in words]
        return [str(workspace) if word == "deploy/workspace.yaml" else word for word in replaced]

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Start the commands of services and wait for their health checks; stop them at the end."""
        started = {name: self._start(name) for name in names}
        try:
            for name, process in started.items():
                self._wait(services()[name], process, self.folder / f"{name}.log")
            yield
        finally:
            for process in started.values():
                process.terminate()
            for process in started.values():
                process.wait(60)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        service = services()[name]
        with (self.folder / f"{name}.log").open("w") as file:
            return subprocess.Popen(
                # Background jobs of a shell ignore SIGINT.
                ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *self.command(service["command"])],
                cwd=PROJECT_ROOT,
                env=self.environment(service),
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def _wait(self, service: dict[str, Any], process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        check = self.command(service["healthcheck"]["test"][1:])
        while True:
            done = subprocess.run(
                check,
                env=self.environment(service),
                cwd=PROJECT_ROOT,
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, done.stderr.decode() + log.read_text()
            time.sleep(1)

    def graph(self) -> dict[str, Any]:
        """Return the asset graph that the webserver shows."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['3000']}/graphql",
            json.dumps({"query": GRAPH}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            nodes = json.load(answer)["data"]["assetNodes"]
        return {
            "/".join(node["assetKey"]["path"]): {
                "upstream": sorted("/".join(key["path"]) for key in node["dependencyKeys"]),
                "group": node["groupName"],
            }
            for node in nodes
        }


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.server.remove()


def reviewed() -> dict[str, Any]:
    golden = json.loads(GOLDEN.read_text())
    return {
        name: {"upstream": node["upstream"], "group": node["group"]}
        for name, node in golden.items()
    }


def test_each_command_gets_healthy_and_shows_the_reviewed_graph(host: Host) -> None:
    with host.running("code-location"), host.running("retail-api", "webserver", "daemon"):
        assert host.graph() == reviewed()


def test_dev_is_protected_and_leaves_nothing_running(host: Host) -> None:
    port = host.ports["3000"]
    command = [str(Path(sys.executable).with_name("retail-pipeline")), "dev", "--port", port]
    environment = {**host.environment({"environment": {}}), "RETAIL_DATABASE_URL": host.url}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"http://127.0.0.1:{port}" in line, line + process.stderr.read()
        assert host.graph() == reviewed()
        foreign = urllib.request.Request(
            f"http://127.0.0.1:{port}/", headers={"Host": "evil.example"}
        )
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(foreign, timeout=60)
        second = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert (second.returncode, f"port {port} on 127.0.0.1" in second.stderr) == (2, True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        _wait_for_end_of_group(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for_end_of_group(leader: int) -> None:
    """Wait until no process of a process group is left, at most a minute."""
    deadline = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(leader, 0)
            time.sleep(0.5)
        pytest.fail(_run("ps", "-g", str(leader)).stdout)


def test_postgresql_takes_the_options_of_its_command(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "postgres")
    server.start()
    server.stop()
    command = services()["postgres"]["command"]
    options = [*("-D", str(server.folder / "data"), "-c", "listen_addresses=127.0.0.1")]
    options += ["-c", f"port={_free_port(0)}", "-c", "unix_socket_directories="]
    account = choose_account(server.folder / "data", _binaries())
    program = [*account.prefix, str(_binaries() / command[0])]
    done = _run(*program, *options, *command[1:], "-C", "port")
    assert done.returncode == 0, done.stderr


def test_bare_dagster_loads_the_reviewed_graph(tmp_path: Path) -> None:
    [location] = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())["load_from"]
    module = location["python_module"]["module_name"]
    assert module in services()["code-location"]["command"]
    script = f"""
import json
from {module} import defs as bare
from retail_pipeline_tests.laws.test_law_8_golden_graph import graph
print(json.dumps(graph(bare)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RETAIL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(GOLDEN.read_text())


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_itself_accepts_the_file_where_it_is_installed() -> None:
    if shutil.which("docker") is None or _run("docker", "compose", "version").returncode:
        pytest.skip("docker compose is not installed")
    done = _run("docker", "compose", "--file", str(COMPOSE), "config", "--quiet")
    assert done.returncode == 0, done.stderr
