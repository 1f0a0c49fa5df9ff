"""docker-compose.yml without Docker: each command runs confined as in its container.

Commands, variables, secrets, names of hosts, ports and health checks are those of the file. Linux
namespaces stand in for containers: only what the image has is there, and it cannot be written; the
user is the image's, without capabilities. The webserver has to show the reviewed asset graph.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from retail_pipeline.postgres.account import choose_account
from retail_pipeline.postgres.server import EmbeddedServer, _free_port, binaries
from retail_pipeline.settings import PROJECT_ROOT, Settings
from retail_pipeline.warehouse.project import prepare_manifest
from retail_pipeline_tests.laws.test_law_8_golden_graph import GOLDEN

COMPOSE = PROJECT_ROOT / "docker-compose.yml"
PATIENCE_SECONDS = 240
PUBLIC_URL = "https://dagster.example.org"
DOCKERFILE = PROJECT_ROOT / "Dockerfile"
USERS = {"postgres": 999}
"""The user of each image, by service; all others have the one of the Dockerfile."""

STATE = "/var/lib/retail/superset"

GRAPH = """
import json, urllib.request as r
query = "{assetNodes{assetKey{path} groupName dependencyKeys{path}}}"
print(r.urlopen(r.Request("http://127.0.0.1:3000/graphql", json.dumps({"query": query}).encode(),
                          {"content-type": "application/json"}), timeout=120).read().decode())
"""

CONTAINER = """
set -eu
IFS=';'
root=$1; state=$2; shift 2
mount --make-rprivate /
mkdir -p "$root" && mount -t tmpfs tmpfs "$root"
for link in /bin /sbin /lib /lib64; do [ ! -L $link ] || cp -P $link "$root"; done
show() {  # a file or a folder of this machine, at a path of the container
    if [ -d "$1" ]; then mkdir -p "$root$2"
    elif [ ! -e "$root$2" ]; then mkdir -p "$(dirname "$root$2")"; : > "$root$2"; fi
    mount --bind "$1" "$root$2"
}
for each in $SHOWN; do show "$each" "$each" && mount -o remount,bind,ro "$root$each"; done
mkdir -p "$root/proc" "$root/dev" "$root/tmp" && mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/tmp"
show "$state/hosts" /etc/hosts && show "$state/passwd" /etc/passwd
for secret in $SECRETS; do show "$state/secrets/$secret" "/run/secrets/$secret"; done
[ ! -d "$OF_IMAGE" ] || show "$OF_IMAGE" /opt/superset/venv
show "$state/$VOLUME" "$HELD" && mount -o remount,ro "$root" && cd "$root$FOLDER"
PATH=$PATH:/usr/sbin
exec chroot "$root" setpriv --reuid "$ACCOUNT" --regid "$ACCOUNT" --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all env -i -C "$FOLDER" "$@"
"""
"""Runs a command with a root of its own, as Compose's read_only, cap_drop and security_opt do."""


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
    assert published == {
        "webserver": ["127.0.0.1:3000:3000"],
        "superset": ["127.0.0.1:8088:8088"],
    }
    assert "\nUSER 10001\n" in DOCKERFILE.read_text()


def test_no_secret_is_in_the_file_or_can_get_into_the_image() -> None:
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET|DATABASE_URL|WEBHOOK|SMTP", name):
                assert name.endswith("_FILE") or re.fullmatch(r"\$\{\w+:-\}", value), name
    tracked = _run("git", "-C", str(PROJECT_ROOT), "ls-files").stdout.splitlines()
    if tracked:  # no files where the checkout has no git history
        assert set(let_in()) <= {path.partition("/")[0] for path in tracked} | set(tracked)
    assert not set(let_in()) & {"secrets", ".env", ".retail"}


def test_a_service_is_given_only_the_secrets_that_it_needs() -> None:
    given = {name: set(each.get("secrets", ())) for name, each in services().items()}
    assert given == {
        "postgres": {"postgres_password", "owner_password"},
        "network": set(),
        "retail-api": {"api_key"},
        "code-location": {"database_url", "api_key", "suppression_key"},
        "webserver": {"database_url", "api_key"},
        "daemon": {"database_url", "api_key"},
        "dashboards": {"database_url"},
        "superset": set(),
    }
    alerts_and_airbyte = {name for name in Settings.variables(secret=True) if name[-3:] != "KEY"}
    for name in ("webserver", "daemon"):
        assert not (alerts_and_airbyte - {"RETAIL_DATABASE_URL"}) & set(
            services()[name]["environment"]
        )


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "deploy").mkdir(exist_ok=True)
    return _run(shutil.copy(PROJECT_ROOT / "deploy" / "make-secrets", folder / "deploy"))


def test_secrets_are_made_once_for_their_readers_only(tmp_path: Path) -> None:
    def seen() -> dict[str, tuple[str, int, int]]:
        files = (tmp_path / "secrets").iterdir()
        return {
            file.name: (file.read_text(), file.stat().st_mode & 0o777, file.stat().st_uid)
            for file in files
        }

    assert make_secrets(tmp_path).returncode == 0
    assert sorted(seen()) == sorted(yaml.safe_load(COMPOSE.read_text())["secrets"])
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    texts = [text for text, _, _ in seen().values()]
    assert len(set(texts)) == len(texts)
    assert min(len(text) for text in texts) >= 48
    if os.geteuid() == 0:
        readers = {name: user for name, (_, mode, user) in seen().items() if mode == 0o400}
        assert readers == {
            **dict.fromkeys(("database_url", "api_key", "suppression_key"), 10001),
            **dict.fromkeys(("postgres_password", "owner_password"), 999),
        }
    first = seen()
    assert make_secrets(tmp_path).returncode == 0
    assert seen() == first

    (tmp_path / "secrets" / "owner_password").unlink()  # as before there was one
    refused = make_secrets(tmp_path)
    assert refused.returncode == 1
    assert "an earlier version: docs/operations.md" in refused.stderr
    assert "owner_password" not in seen()


def test_the_code_location_and_the_bundled_api_outlive_each_others_restarts() -> None:
    modes = {name: each.get("network_mode") for name, each in services().items()}
    assert modes["code-location"] == modes["retail-api"] == "service:network"
    assert modes["network"] is None
    assert services()["network"]["networks"]["default"]["aliases"] == ["code-location"]


def namespaces() -> bool:
    """Return whether this machine lets a test make its own network and mounts, as root only can."""
    return os.geteuid() == 0 and not _run("unshare", "--net", "--mount", "true").returncode


class Host:
    """A stand-in of Docker: one network of its own, and for each service a root of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        users = {"home": 10001, "superset": 10001, "postgres": 999, "ready": 0}
        for volume, user in users.items():
            (folder / volume).mkdir()
            os.chown(folder / volume, user, user)
        make_secrets(folder)
        (folder / "hosts").write_text("127.0.0.1 localhost postgres code-location\n")
        (folder / "passwd").write_text("postgres:x:999:999::/:\nretail:x:10001:10001::/:\n")
        prepare_manifest()
        self.network = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", NETWORK], stdout=subprocess.PIPE
        )
        assert self.network.stdout is not None
        assert self.network.stdout.readline() == b"up\n"

    def container(self, name: str, *command: str) -> list[str]:
        """Return the words that run a command as in the container of a service."""
        service = services()[name]
        is_database = name == "postgres"
        [(volume, held)] = [
            each.split(":") for each in service.get("volumes", ["home:/var/lib/retail"])[:1]
        ]
        variables = {
            "SHOWN": ";".join(str(path) for path in _shown(is_database)),
            "SECRETS": ";".join(service.get("secrets", ())),
            "VOLUME": volume,
            "HELD": held,
            "OF_IMAGE": f"{os.environ.get('RETAIL_TEST_SUPERSET')}/venv" if held == STATE else "",
            "FOLDER": "/" if is_database else str(PROJECT_ROOT),
            "ACCOUNT": str(USERS.get(name, 10001)),
        }
        own = {} if is_database else _image_variables()
        own |= {key: _given(value) for key, value in service.get("environment", {}).items()}
        return [
            *("env", *(f"{key}={value}" for key, value in variables.items())),
            *("nsenter", f"--net=/proc/{self.network.pid}/ns/net", "unshare", "--mount"),
            *("sh", "-c", CONTAINER, "sh", f"{self.folder}/ready/{name}", str(self.folder)),
            *(f"{key}={value}" for key, value in own.items()),
            *(_given(word) for word in command),
        ]

    def create_database(self) -> None:
        """Do what the entry point of PostgreSQL's image does with an empty volume."""
        service = services()["postgres"]
        scripts = [each for each in service["volumes"] if each.endswith(":ro")]
        assert scripts == ["./deploy/postgres:/docker-entrypoint-initdb.d:ro"]
        run = f"""
set -eu
cd /tmp
initdb -D /var/lib/postgresql/data -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \\
    $POSTGRES_INITDB_ARGS
pg_ctl -D /var/lib/postgresql/data -o "-c unix_socket_directories=/tmp" -w start
for script in {PROJECT_ROOT}/deploy/postgres/*; do
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc \\
        --username "$POSTGRES_USER" --dbname "$POSTGRES_USER" --host /tmp -f "$script"
done
pg_ctl -D /var/lib/postgresql/data -m fast -w stop
"""
        done = self.run("postgres", f"PATH={binaries()}:/usr/bin:/bin", "sh", "-c", run)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Return what a command in the container of a service ended with."""
        words = self.container(name, *command)
        return subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
        )

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Start the commands of services and wait for their health checks; stop them at the end."""
        started = {name: self._start(name) for name in names}
        try:
            for name, process in started.items():
                self._wait(name, process)
            yield
        finally:
            for process in started.values():
                process.send_signal(signal.SIGINT if process is started.get("postgres") else 15)
            for process in started.values():
                process.wait(60)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("w") as file:
            return subprocess.Popen(
                self.container(name, *self.command(name)), stdout=file, stderr=subprocess.STDOUT
            )

    def command(self, name: str) -> list[str]:
        """Return the command of the file, with what the image of PostgreSQL adds."""
        words = services()[name]["command"]
        if name != "postgres":
            return list(words)
        data = ("-D", "/var/lib/postgresql/data", "-c", "unix_socket_directories=/tmp")
        return [f"PATH={binaries()}:/usr/bin:/bin", *words, *data]

    def _wait(self, name: str, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        check = services()[name]["healthcheck"]["test"][1:]
        if name == "postgres":
            check = [f"PATH={binaries()}:/usr/bin:/bin", *check]
        log = self.folder / f"{name}.log"
        while (done := self.run(name, *check)).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, done.stderr + log.read_text()
            time.sleep(1)

    def graph(self) -> dict[str, Any]:
        """Return the asset graph that the webserver shows."""
        done = self.run("webserver", "python", "-c", GRAPH)
        assert done.returncode == 0, done.stderr
        return shown(json.loads(done.stdout)["data"]["assetNodes"])


def shown(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the asset graph of the nodes that a webserver answers."""
    return {
        "/".join(node["assetKey"]["path"]): {
            "upstream": sorted("/".join(key["path"]) for key in node["dependencyKeys"]),
            "group": node["groupName"],
        }
        for node in nodes
    }


NETWORK = """
import fcntl, socket, struct, time
up = struct.pack("16sh22x", b"lo", 1)  # SIOCSIFFLAGS with IFF_UP
fcntl.ioctl(socket.socket(), 0x8914, up)
print("up", flush=True)
time.sleep(3600)
"""
"""Holds a network that has loopback only, as the service `network` holds that of the others."""


def _given(text: str) -> str:
    """Return a value with its variables: the address of a proxy, and else their defaults."""
    own = {"RETAIL_DAGSTER_URL": PUBLIC_URL}
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: own.get(m[1], m[2]), str(text))


def _image_variables() -> dict[str, str]:
    """Return the variables of the Dockerfile's last stage, for this checkout's environment."""
    [block] = re.findall(r"^ENV (PATH=.*?[^\\])$", DOCKERFILE.read_text(), re.MULTILINE | re.DOTALL)
    own = dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())
    bin_folder = str(Path(sys.executable).parent)
    path = own["PATH"].replace("/opt/venv/bin", bin_folder).replace("$PATH", "/usr/bin:/bin")
    return {**own, "PATH": path, "HOME": own["RETAIL_HOME"]}


def let_in() -> list[str]:
    """Return the files and folders of the checkout that get into the image."""
    lines = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    everything, *rest = [line for line in lines if not line.startswith("#")]
    assert everything == "*"
    return [line[1:] for line in rest if line.startswith("!")]


def _shown(is_database: bool) -> list[Path]:
    """Return what a container shows of this machine: its programs and what the image would have."""
    system = [Path(path) for path in ("/usr", "/etc") if Path(path).exists()]
    system += [path for path in map(Path, ("/bin", "/lib", "/lib64")) if not path.is_symlink()]
    python = [Path(sys.prefix), Path(sys.base_prefix)]
    checkout = [PROJECT_ROOT / "deploy" / "postgres"] if is_database else []
    if not is_database:
        checkout = [PROJECT_ROOT / name for name in let_in() if not name.startswith(".ci")]
    return [*system, *python, *checkout]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    if not namespaces():
        pytest.skip("needs root and Linux namespaces; CI's image job starts real containers")
    host = Host(tmp_path)
    try:
        host.create_database()
        yield host
    finally:
        host.network.kill()
        host.network.wait(10)


def reviewed() -> dict[str, Any]:
    golden = json.loads(GOLDEN.read_text())
    return {
        name: {"upstream": node["upstream"], "group": node["group"]}
        for name, node in golden.items()
    }


def test_each_command_gets_healthy_and_shows_the_reviewed_graph(host: Host) -> None:
    with host.running("postgres"), host.running("code-location"):
        with host.running("retail-api", "webserver", "daemon"):
            assert host.graph() == reviewed()
        owner = "select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = 'retail'"
        url = (host.folder / "secrets" / "database_url").read_text()
        done = host.run("code-location", "python", "-c", SELECT.format(url=url, statement=owner))
        assert done.stdout == "(False, True, True)\n", done.stderr


def test_the_dashboards_are_served_without_a_secret(host: Host) -> None:
    if not Path(os.environ.get("RETAIL_TEST_SUPERSET", "")).is_absolute():
        pytest.skip("needs the folder of an installed Superset in RETAIL_TEST_SUPERSET")
    marts = ("--source", "simulator:?customers=300&seed=7", "--select", "+group:warehouse")
    with host.running("postgres"):
        too_early = host.run("dashboards", *host.command("dashboards"))
        assert 'relation "warehouse.' in too_early.stderr, too_early.stdout + too_early.stderr
        for name, command in (
            ("code-location", ("retail-pipeline", "run", *marts)),
            ("dashboards", host.command("dashboards")),
        ):
            done = host.run(name, *command)
            assert done.returncode == 0, done.stdout + done.stderr
        with host.running("superset"):
            password = json.loads((host.folder / "superset" / "logins.json").read_text())["viewer"]
            done = host.run("superset", "python", "-c", LOG_IN.format(password=password))
            assert "Business" in done.stdout, done.stderr
            assert host.run("superset", "ls", "/run/secrets").returncode
            again = host.run("dashboards", *host.command("dashboards"))
            assert "nothing to change" in again.stdout, again.stderr


LOG_IN = """
import json, urllib.request as r
def ask(path, token="", **content):
    headers = {{"content-type": "application/json", "authorization": "Bearer " + token}}
    data = json.dumps(content).encode() if content else None
    request = r.Request("http://127.0.0.1:8088/api/v1/" + path, data, headers)
    return json.load(r.urlopen(request, timeout=60))
login = ask("security/login", username="viewer", password={password!r}, provider="db")
found = ask("dashboard/", login["access_token"])["result"]
print([each["dashboard_title"] for each in found])
"""

SELECT = """
import psycopg
print(psycopg.connect({url!r}).execute({statement!r}).fetchone())
"""


def test_a_container_is_the_user_of_the_image_without_rights_on_a_disk_it_cannot_write(
    host: Host,
) -> None:
    status = host.run(
        "webserver", "grep", "-E", "^(Uid|CapBnd|CapEff|NoNewPrivs)", "/proc/self/status"
    )
    read = dict(line.split(":\t") for line in status.stdout.splitlines())
    assert read["Uid"].split()[0] == "10001"
    assert read["NoNewPrivs"] == "1"
    assert int(read["CapBnd"], 16) == int(read["CapEff"], 16) == 0
    for place in (
        PROJECT_ROOT,
        PROJECT_ROOT / "dbt_project" / ".prepared",
        sys.prefix,
        "/",
        "/run",
    ):
        assert host.run("webserver", "touch", f"{place}/x").returncode, place
    for place in ("/tmp", "/var/lib/retail"):
        assert host.run("webserver", "touch", f"{place}/x").returncode == 0, place


def test_postgresql_takes_the_options_of_its_command(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "postgres")
    server.start()
    server.stop()
    command = services()["postgres"]["command"]
    options = [*("-D", str(server.folder / "data"), "-c", "listen_addresses=127.0.0.1")]
    options += ["-c", f"port={_free_port(0)}", "-c", "unix_socket_directories="]
    account = choose_account(server.folder / "data", binaries())
    program = [*account.prefix, str(binaries() / command[0])]
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
