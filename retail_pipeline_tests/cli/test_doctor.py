"""`doctor`: its findings on a working machine and on a broken one."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from retail_pipeline.cli import doctor
from retail_pipeline.errors import PipelineError
from retail_pipeline_tests.cli.command import DONE, FAILED, WRONG_USE, Cli


def statuses(output: str) -> dict[str, str]:
    return {finding["what"]: finding["status"] for finding in json.loads(output)}


def test_a_machine_that_works_is_called_ok_and_nothing_is_made(cli: Cli, tmp_path: Path) -> None:
    done = cli("doctor", "--port", "0", "--json")
    assert done.returncode == DONE, done.stderr
    found = statuses(done.stdout)
    for what in ("settings", "disk", "PostgreSQL", "Airbyte", "source"):
        assert found[what] == "ok"
    assert not (tmp_path / "home").exists()


def test_a_broken_part_is_named_with_its_remedy(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "doctor",
        RETAIL_DATABASE_URL="postgresql://a:hidden@127.0.0.1:1/x",
        RETAIL_SOURCE=f"file:{tmp_path / 'absent.csv'}",
    )
    assert done.returncode == FAILED
    assert "127.0.0.1:1/x cannot be used" in done.stdout
    assert "absent.csv does not exist" in done.stdout
    assert "PostgreSQL, source" in done.stderr
    assert "hidden" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout


def test_the_limit_of_a_container_is_its_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(doctor, "MEMORY_LIMIT", limit)
    limit.write_text(f"{2**30}\n")
    with pytest.raises(PipelineError, match=r"1\.0 GiB free; 1\.5 GiB are needed") as broken:
        doctor.check_memory()
    assert not isinstance(broken.value, doctor.DoubtfulError)
    monkeypatch.setattr(doctor, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(f"MemAvailable: {9 * 2**20} kB\n")
    limit.write_text("max\n")
    assert doctor.check_memory() == "9.0 GiB free"


def test_wrong_settings_do_not_hide_the_rest(cli: Cli) -> None:
    done = cli("doctor", "--json", RETAIL_ENV="moon")
    assert done.returncode == WRONG_USE
    found = statuses(done.stdout)
    assert found["settings"] == "error"
    assert found["Airbyte"] == "ok"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETAIL_SOURCE", "http://localhost:80a"),
        ("RETAIL_SOURCE", "http://..example"),
        ("RETAIL_API_KEY", "clé"),
        ("AIRBYTE_URL", "http://localhost:80a"),
    ],
)
def test_an_address_without_a_possible_request_is_a_finding(
    cli: Cli, name: str, value: str
) -> None:
    airbyte = {"AIRBYTE_WORKSPACE_ID": "w", "AIRBYTE_CLIENT_ID": "c", "AIRBYTE_CLIENT_SECRET": "s"}
    others = {"AIRBYTE_MODE": "server", **airbyte} if name == "AIRBYTE_URL" else {}
    done = cli("doctor", "--json", **{name: value, **others})
    broken = {what for what, status in statuses(done.stdout).items() if status == "error"}
    assert broken & {"settings", "Airbyte"}
    assert name in done.stdout or value in done.stdout
    assert "unexpected error" not in done.stderr


class Totals(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        names = ("products", "users", "transactions", "lines")
        amounts = ("net_amount", "sales_amount", "returns_amount")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict.fromkeys((*names, *amounts), 1)).encode())


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_sources_login_is_not_printed(cli: Cli, as_json: tuple[str, ...]) -> None:
    with HTTPServer(("127.0.0.1", 0), Totals) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{api.server_port}"
        done = cli("doctor", "--port", "0", *as_json, RETAIL_SOURCE=f"http://me:hidden@{address}")
        api.shutdown()
    assert f"http://{address} serves 1 products" in done.stdout
    assert "hidden" not in done.stdout + done.stderr
