"""`airbyte plan|apply|check` against a stand-in of a server's management API."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from starlette.responses import JSONResponse

from retail_pipeline.settings import PROJECT_ROOT
from retail_pipeline_tests.cli.command import DONE, FAILED, WRONG_USE, Cli
from retail_pipeline_tests.ingestion import management_api
from retail_pipeline_tests.ingestion.management_api import (
    CLIENT_ID,
    CLIENT_SECRET,
    WORKSPACE,
    Management,
)

API_KEY, PASSWORD = "the-api-key", "the-db-password"
SECRETS = (API_KEY, PASSWORD, CLIENT_SECRET)


class Airbyte:
    """The commands on a copy of the files; a call returns exit code and output."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._cli = Cli(environment)

    def __call__(self, *arguments: str, **environment: str) -> tuple[int, str]:
        done = self._cli("airbyte", *arguments, **environment)
        output = done.stdout + done.stderr
        assert not any(secret in output for secret in SECRETS)
        return done.returncode, output

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def server() -> Iterator[Management]:
    with management_api.serving(Management()) as management:
        yield management


@pytest.fixture
def airbyte(server: Management, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Airbyte:
    folder = tmp_path / "airbyte"
    shutil.copytree(PROJECT_ROOT / "airbyte", folder)
    monkeypatch.setattr("retail_pipeline.ingestion.specs.AIRBYTE_FOLDER", folder)
    environment = {
        "AIRBYTE_URL": server.address,
        "AIRBYTE_WORKSPACE_ID": WORKSPACE,
        "AIRBYTE_CLIENT_ID": CLIENT_ID,
        "AIRBYTE_CLIENT_SECRET": CLIENT_SECRET,
        "RETAIL_SOURCE": "https://retail.example.com",
        "RETAIL_API_KEY": API_KEY,
        "RETAIL_DATABASE_URL": f"postgresql://loader:{PASSWORD}@db.example.com:5433/retail",
    }
    return Airbyte(folder, environment)


def test_the_first_apply_creates_the_second_changes_nothing(
    airbyte: Airbyte, server: Management
) -> None:
    code, shown = airbyte("plan")
    assert (code, server.writes) == (DONE, [])
    assert "6 to create, 0 to change, 0 to delete" in shown
    assert airbyte("check")[0] == FAILED

    code, shown = airbyte("apply")
    assert code == DONE, shown
    kinds = ["definitions", "sources", "destinations", *["connections"] * 3]
    assert server.writes == [("POST", kind) for kind in kinds]
    source = server.named("sources")["retail_api"]
    address = "https://retail.example.com"
    assert source["configuration"] == {"api_url": address, "api_key": API_KEY, "lookback": "PT10M"}
    warehouse = server.named("destinations")["warehouse"]["configuration"]
    assert (warehouse["host"], warehouse["port"]) == ("db.example.com", 5433)
    assert warehouse["password"] == PASSWORD
    connection = server.named("connections")["retail_api_users"]
    assert connection["namespaceFormat"] == "transactional"
    assert connection["schedule"] == {"scheduleType": "manual"}

    code, shown = airbyte("apply")
    assert (code, len(server.writes)) == (DONE, 6)
    assert "0 to create, 0 to change, 0 to delete" in shown
    assert airbyte("check")[0] == DONE


def test_an_edit_changes_one_thing_and_says_which(airbyte: Airbyte, server: Management) -> None:
    airbyte("apply")
    server.writes.clear()
    airbyte.edit("connections/users.yaml", "transactional", "elsewhere")
    code, shown = airbyte("check")
    assert code == FAILED
    assert "~ connection retail_api_users" in shown
    assert 'namespaceFormat: "transactional" → "elsewhere"' in shown
    airbyte("apply")
    assert server.writes == [("PATCH", "connections")]

    airbyte.edit("sources/retail_api/manifest.yaml", "page_size: 1000", "page_size: 500")
    _, shown = airbyte("apply")
    assert "page_size: 1000 → 500" in shown
    assert server.writes[1:] == [("PUT", "definitions")]

    # A change made on the server is shown and reverted; a secret is sent only on request.
    server.named("sources")["retail_api"]["configuration"]["start_date"] = "2020-01-01T00:00:00Z"
    _, shown = airbyte("apply")
    assert 'configuration.start_date: "2020-01-01T00:00:00Z" → nothing' in shown
    assert "start_date" not in server.named("sources")["retail_api"]["configuration"]
    assert airbyte("apply", RETAIL_API_KEY="another-key")[0] == DONE
    assert server.named("sources")["retail_api"]["configuration"]["api_key"] == API_KEY
    airbyte("apply", "--renew-secrets", RETAIL_API_KEY="another-key")
    assert server.named("sources")["retail_api"]["configuration"]["api_key"] == "another-key"
    assert airbyte("check")[0] == DONE


def test_prune_deletes_what_the_files_do_not_have_and_nothing_of_another_source(
    airbyte: Airbyte, server: Management
) -> None:
    airbyte("apply")
    users = server.named("connections")["retail_api_users"]
    foreign = {**users, "connectionId": "foreign", "name": "another shop", "sourceId": "theirs"}
    server.objects["connections"]["foreign"] = foreign
    (airbyte.folder / "connections" / "users.yaml").unlink()
    server.writes.clear()
    assert airbyte("apply")[0] == DONE
    assert server.writes == []
    code, shown = airbyte("plan", "--prune")
    assert (code, "- connection retail_api_users" in shown) == (DONE, True)
    code, shown = airbyte("apply", "--prune")  # no terminal to confirm on
    assert (code, "confirm with --yes" in shown, server.writes) == (WRONG_USE, True, [])
    assert airbyte("apply", "--prune", "--yes")[0] == DONE
    assert server.writes == [("DELETE", "connections")]
    names = {"another shop", "retail_api_products", "retail_api_transactions"}
    assert set(server.named("connections")) == names

    source = server.named("sources")["retail_api"]
    server.objects["sources"]["old"] = {
        **source,
        "sourceId": "old",
        "name": "the shop of last year",
    }
    old = {**users, "connectionId": "old", "name": "old users", "sourceId": "old"}
    server.objects["connections"]["old"] = old
    server.writes.clear()
    assert airbyte("apply", "--prune", "--yes")[0] == DONE
    assert server.writes == [("DELETE", "connections"), ("DELETE", "sources")]
    assert airbyte("check")[0] == DONE


def test_an_object_of_two_or_of_another_definition_is_named(
    airbyte: Airbyte, server: Management
) -> None:
    airbyte("apply")
    users = server.named("connections")["retail_api_users"]
    server.objects["connections"]["twin"] = {**users, "connectionId": "twin"}
    code, shown = airbyte("apply")
    assert code == FAILED
    assert "holds 2 connections of the name 'retail_api_users'" in shown
    del server.objects["connections"]["twin"]
    server.named("connections")["retail_api_users"]["sourceId"] = "theirs"
    code, shown = airbyte("apply")
    assert (code, "has another sourceId, which cannot be changed" in shown) == (FAILED, True)


def test_a_failure_is_one_message_and_the_next_apply_goes_on(
    airbyte: Airbyte, server: Management
) -> None:
    code, shown = airbyte("apply", AIRBYTE_CLIENT_SECRET="a-wrong-secret")
    assert code == FAILED
    assert "refuses the credentials (HTTP 401: invalid credentials): check AIRBYTE_CL" in shown
    code, shown = airbyte("plan", AIRBYTE_URL="http://127.0.0.1:9")
    assert code == FAILED
    assert "the Airbyte server at http://127.0.0.1:9 does not answer" in shown
    code, shown = airbyte("plan", AIRBYTE_WORKSPACE_ID="another")
    assert code == FAILED
    assert "refuses to show the workspace (HTTP 404" in shown
    code, shown = airbyte("plan", AIRBYTE_CLIENT_ID="")
    assert (code, "AIRBYTE_CLIENT_ID" in shown) == (WRONG_USE, True)
    code, shown = airbyte("plan", RETAIL_SOURCE="simulator:?customers=10&seed=1")
    assert (code, "set RETAIL_SOURCE to https://" in shown) == (WRONG_USE, True)
    assert server.writes == []

    detail = f"a check with {PASSWORD} failed"
    server.refuse = lambda method, path: (
        JSONResponse({"detail": detail}, status_code=422)
        if (method, path) == ("POST", "destinations")
        else None
    )
    code, shown = airbyte("apply")
    assert code == FAILED
    assert "refuses to create the destination warehouse (HTTP 422: a check with ******" in shown
    server.refuse = lambda method, path: None
    assert airbyte("apply")[0] == DONE
    assert len(server.objects["sources"]) == 1
    assert airbyte("check")[0] == DONE


def test_the_manifest_is_sent_as_it_is(airbyte: Airbyte, server: Management) -> None:
    airbyte("apply")
    manifest = (PROJECT_ROOT / "airbyte/sources/retail_api/manifest.yaml").read_text()
    sent = server.named("definitions")["retail_api"]["manifest"]
    assert sent == yaml.safe_load(manifest)
