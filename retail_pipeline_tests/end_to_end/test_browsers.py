"""Attacks of web pages on Dagster's UI, directly and behind the proxy of `deploy/nginx.conf`."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from retail_pipeline.postgres.server import _free_port
from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.end_to_end.local_ui import LocalUi

MUTATION = 'mutation{setConcurrencyLimit(concurrencyKey:"planted",limit:3)}'
READ = {"query": "{version}"}
EVIL = "http://evil.example"
BY_FORM = {"content-type": "text/plain", "sec-fetch-site": "cross-site", "origin": EVIL}
KEY = "key-of-the-test"
PUBLIC_URL = "https://dagster.example.org"
PUBLIC_HOST = PUBLIC_URL.removeprefix("https://")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalUi]:
    folder = tmp_path_factory.mktemp("host")
    ui = LocalUi(folder, RETAIL_DAGSTER_URL=PUBLIC_URL, CODE_LOCATION_HOST="127.0.0.1")
    try:
        with ui.serving("webserver", port=ui.port):  # as in Compose; no code location is running
            yield ui
    finally:
        ui.server.remove()


@pytest.fixture(scope="module")
def ui(host: LocalUi) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{host.port}", timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"host": "evil.example:3000"}, 400, id="a name that points at loopback"),
        pytest.param({"host": "127.0.0.1.evil.example"}, 400, id="a name that begins like ours"),
        pytest.param({"origin": EVIL}, 403, id="a page of another site"),
        pytest.param({"origin": "null"}, 403, id="a page without an origin"),
        pytest.param({"origin": "http://127.0.0.1:1"}, 403, id="a page of another port"),
        pytest.param({"sec-fetch-site": "cross-site"}, 403, id="a request without an origin"),
        pytest.param({"sec-fetch-site": "same-site"}, 403, id="another port without an origin"),
        pytest.param({"content-type": "text/plain; application/json"}, 405, id="a disguised form"),
        pytest.param({"content-type": "application/x-www-form-urlencoded"}, 405, id="a form"),
    ],
)
def test_a_query_of_a_foreign_page_is_refused(
    ui: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = ui.post("/graphql", json=READ, headers=headers)
    assert (answer.status_code, "version" in answer.text) == (status, False)


def test_the_bundled_api_is_closed_to_pages_that_know_its_key(host: LocalUi) -> None:
    host.environment["RETAIL_API_KEY"] = KEY
    port, source = _free_port(0), "simulator:?customers=20&seed=1"
    address = f"http://127.0.0.1:{port}/v1/users"
    with host.serving("api", "serve", "--source", source, port=port):
        for headers, status in ({}, 200), ({"host": "evil.example"}, 400), ({"origin": EVIL}, 403):
            sent = {"authorization": f"Bearer {KEY}", **headers}
            assert httpx.get(address, headers=sent, timeout=60).status_code == status


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", [{}, BY_FORM])
def test_no_mutation_in_an_address_is_done(
    ui: httpx.Client, method: str, headers: dict[str, str]
) -> None:
    answer = ui.request(method, "/graphql", params={"query": MUTATION}, headers=headers)
    assert answer.status_code in (403, 405)
    limits = {"query": "{instance{concurrencyLimits{concurrencyKey}}}"}
    assert "planted" not in ui.post("/graphql", json=limits).raise_for_status().text


@pytest.mark.parametrize("path", ["/report_asset_materialization/planted", "/logs/a.out", "/"])
def test_other_paths_are_closed_to_foreign_pages_and_frames(ui: httpx.Client, path: str) -> None:
    method = "POST" if path.startswith("/report") else "GET"
    for headers in ({"host": "evil.example"}, {"origin": EVIL}, {"sec-fetch-site": "cross-site"}):
        assert ui.request(method, path, headers=headers).status_code in (400, 403)
    framed = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}
    assert ui.request(method, path, headers=framed).status_code == 403
    assert ui.get("/").headers["x-frame-options"] == "SAMEORIGIN"


def test_links_own_pages_and_programs_are_answered(ui: httpx.Client) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert ui.get("/runs", headers={**link, "sec-fetch-dest": "document"}).is_success
    assert ui.get("/graphql", headers={"accept": "text/html"}).is_success
    port = ui.base_url.port
    for name in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        own = {"host": name, "origin": f"http://{name}", "sec-fetch-site": "same-origin"}
        assert ui.post("/graphql", json=READ, headers=own).is_success, name
    behind_proxy = {"host": PUBLIC_HOST, "origin": PUBLIC_URL}
    assert ui.post("/graphql", json=READ, headers=behind_proxy).is_success
    assert ui.post("/graphql", json=READ).is_success


def test_a_websocket_of_a_foreign_page_is_refused(host: LocalUi) -> None:
    port = host.port
    own = f"http://127.0.0.1:{port}"
    assert _greeting(f"ws://127.0.0.1:{port}/graphql", port, origin=own)
    with pytest.raises(InvalidStatus, match="403"):
        _greeting(f"ws://127.0.0.1:{port}/graphql", port, origin=EVIL)
    with pytest.raises(InvalidStatus, match="400"):
        _greeting(f"ws://evil.example:{port}/graphql", port, origin=f"{EVIL}:{port}")


def _greeting(address: str, port: int, **options: Any) -> bool:
    """Return whether the websocket of the UI's subscriptions answers at a port of loopback."""
    protocol: Any = "graphql-ws"
    with (
        socket.create_connection(("127.0.0.1", port)) as sock,
        connect(address, sock=sock, subprotocols=[protocol], **options) as subscription,
    ):
        subscription.send(json.dumps({"type": "connection_init"}))
        return "connection_ack" in str(subscription.recv(timeout=30))


class Proxy:
    """A running nginx with the configuration of `deploy/`, with the ports of this machine."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.port, self.folder = _free_port(0), folder
        text = (PROJECT_ROOT / "deploy" / "nginx.conf").read_text()
        for old, new in {
            "127.0.0.1:3000": f"127.0.0.1:{upstream}",
            "listen 80;": f"listen 127.0.0.1:{_free_port(0)};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            f"/etc/letsencrypt/live/{PUBLIC_HOST}": str(folder),
            "/etc/nginx": str(folder),
        }.items():
            assert old in text
            text = text.replace(old, new)
        (folder / "site.conf").write_text(text)
        spare = "".join(
            f"{kind}_temp_path {folder}/{kind}; "
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root; " if os.geteuid() == 0 else ""  # the folders of tests are closed
        (folder / "nginx.conf").write_text(
            f"{user}daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {spare} include {folder}/site.conf; }}\n"
        )

    @contextmanager
    def running(self) -> Iterator[httpx.Client]:
        """Start nginx; yield a client for its address that sends the public name."""
        process = subprocess.Popen(["nginx", "-c", str(self.folder / "nginx.conf")])
        context = ssl.create_default_context(cafile=self.folder / "fullchain.pem")
        address, headers = f"https://localhost:{self.port}", {"host": PUBLIC_HOST}
        with httpx.Client(base_url=address, verify=context, headers=headers, timeout=60) as client:
            try:
                for _ in range(100):
                    with suppress(httpx.ConnectError):
                        client.get("/")
                        break
                    time.sleep(0.1)
                yield client
            finally:
                process.terminate()
                process.wait(30)


@pytest.fixture
def proxy(host: LocalUi, tmp_path: Path) -> Proxy:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx)")
    names = [
        "-subj",
        f"/CN={PUBLIC_HOST}",
        "-addext",
        f"subjectAltName=DNS:localhost,DNS:{PUBLIC_HOST}",
    ]
    key = ["-keyout", "privkey.pem", "-out", "fullchain.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *key, *names]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    command = ["openssl", "passwd", "-apr1", "-stdin"]
    made = subprocess.run(command, input=b"word", check=True, capture_output=True)
    (tmp_path / "dagster.htpasswd").write_text(f"analyst:{made.stdout.decode()}")
    return Proxy(tmp_path, str(host.port))


def test_the_documented_proxy_asks_for_a_login_and_keeps_foreign_pages_out(proxy: Proxy) -> None:
    login = httpx.BasicAuth("analyst", "word")
    with proxy.running() as client:
        assert client.get("/server_info").status_code == 401
        assert client.get("/server_info", auth=("analyst", "guess")).status_code == 401
        assert client.get("/server_info", auth=login).is_success
        own = {"origin": PUBLIC_URL, "sec-fetch-site": "same-origin"}
        assert client.post("/graphql", json=READ, headers=own, auth=login).is_success
        foreign = {"host": "evil.example", "origin": "https://evil.example"}
        assert client.post("/graphql", json=READ, headers=foreign, auth=login).status_code == 421
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            answer = client.post("/graphql", json=READ, headers=headers, auth=login)
            assert answer.status_code == 403
        assert client.get("/graphql", params={"query": MUTATION}, auth=login).status_code == 405

        address, port = f"wss://{PUBLIC_HOST}/graphql", proxy.port
        context = ssl.create_default_context(cafile=proxy.folder / "fullchain.pem")
        known = {"authorization": f"Basic {b64encode(b'analyst:word').decode()}"}
        assert _greeting(address, port, ssl=context, origin=PUBLIC_URL, additional_headers=known)
        with pytest.raises(InvalidStatus, match="403"):
            _greeting(address, port, ssl=context, origin=EVIL, additional_headers=known)
        with pytest.raises(InvalidStatus, match="401"):
            _greeting(address, port, ssl=context, origin=PUBLIC_URL)
