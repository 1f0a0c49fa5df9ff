"""The stand-in keeps Airbyte's contract, also where something goes wrong.

The typed models of airbyte-api read every answer; the client is dagster-airbyte's, unmodified.
"""

import threading
from typing import Any

import pytest
import requests
from airbyte_api.models.connectionsresponse import ConnectionsResponse
from airbyte_api.models.destinationresponse import DestinationResponse
from airbyte_api.models.jobresponse import JobResponse
from airbyte_api.models.jobsresponse import JobsResponse
from airbyte_api.models.workspaceresponse import WorkspaceResponse
from dagster import Failure

from retail_pipeline.airbyte_engine.api import StandIn
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.paged_api import PagedApi, products
from retail_pipeline_tests.airbyte_engine.test_api import served, workspace_at
from retail_pipeline_tests.airbyte_engine.test_sync import FOLDER, PRODUCTS, wait_until


class Caller:
    """Calls a stand-in as a client of Airbyte does."""

    def __init__(self, stand_in: StandIn) -> None:
        self._root = stand_in.rest_api_base_url
        token = requests.post(
            f"{self._root}/applications/token",
            json={
                "client_id": stand_in.credentials.client_id,
                "client_secret": stand_in.credentials.client_secret,
            },
            timeout=5,
        ).json()
        assert token["token_type"] == "Bearer" and token["expires_in"] > 150
        self._headers = {"Authorization": f"Bearer {token['access_token']}"}

    def __call__(self, method: str, path: str, *, status: int = 200, **options: Any) -> Any:
        url = path if path.startswith("http") else f"{self._root}/{path}"
        answer = requests.request(method, url, headers=self._headers, timeout=5, **options)
        assert answer.status_code == status, answer.text
        return answer.json()


def test_typed_models_read_every_answer(database: Database) -> None:
    with served(database, PagedApi({"products": products(5)})) as (engine, stand_in):
        call = Caller(stand_in)
        workspace = WorkspaceResponse.model_validate(
            call("GET", f"workspaces/{stand_in.workspace_id}")
        )
        assert workspace.workspace_id == stand_in.workspace_id

        names, following = [], "connections?limit=2"
        while following:  # pages by their own links
            page = ConnectionsResponse.model_validate(call("GET", following))
            names += [each.name for each in page.data]
            following = page.next or ""
        assert names == list(FOLDER.connections)
        assert all(each.configurations.streams for each in page.data)

        destination = DestinationResponse.model_validate(
            call("GET", f"destinations/{page.data[0].destination_id}")
        )
        warehouse: Any = destination.configuration
        assert type(warehouse).__name__ == "DestinationPostgres"
        assert (warehouse.database, warehouse.schema_) == (database.name, "transactional")
        assert warehouse.password == "**********"

        started = JobResponse.model_validate(
            call("POST", "jobs", json={"connectionId": PRODUCTS, "jobType": "sync"})
        )
        engine.wait(started.job_id)
        job = JobResponse.model_validate(call("GET", f"jobs/{started.job_id}"))
        assert (job.status.value, job.rows_synced, job.job_type.value) == ("succeeded", 5, "sync")
        jobs = JobsResponse.model_validate(call("GET", f"jobs?connectionId={PRODUCTS}"))
        assert [each.job_id for each in jobs.data] == [started.job_id]


def test_what_is_unknown_or_wrong_is_refused_with_a_reason(database: Database) -> None:
    with served(database, PagedApi({"products": []})) as (_, stand_in):
        call = Caller(stand_in)
        nobody = "11111111-0000-4000-8000-000000000000"
        for method, path in (
            ("GET", f"workspaces/{nobody}"),
            ("GET", f"destinations/{nobody}"),
            ("GET", "jobs/999"),
            ("DELETE", "jobs/999"),
        ):
            assert "there is no" in call(method, path, status=404)["detail"]
        job = {"connectionId": nobody, "jobType": "sync"}
        assert nobody in call("POST", "jobs", json=job, status=404)["detail"]
        reset = {"connectionId": PRODUCTS, "jobType": "reset"}
        assert "'sync'" in call("POST", "jobs", json=reset, status=422)["detail"]
        assert "limit" in call("GET", "jobs?limit=0", status=422)["detail"]
        details = f"{stand_in.configuration_api_base_url}/connections/get"
        assert nobody in call("POST", details, json={"connectionId": nobody}, status=404)["detail"]


def test_a_second_job_is_refused_and_a_cancelled_one_says_so(database: Database) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    with served(database, api) as (engine, stand_in):
        call = Caller(stand_in)
        body = {"connectionId": PRODUCTS, "jobType": "sync"}
        first = JobResponse.model_validate(call("POST", "jobs", json=body))
        assert first.status.value == "running"
        assert "detail" in call("POST", "jobs", json=body, status=409)
        with pytest.raises(Failure, match="already running"):
            workspace_at(stand_in, request_max_retries=0).get_client().sync_and_poll(PRODUCTS)
        wait_until(lambda: len(api.requests) > 1)
        call("DELETE", f"jobs/{first.job_id}")
        assert engine.wait(first.job_id).status == "cancelled"
        ended = JobResponse.model_validate(call("GET", f"jobs/{first.job_id}"))
        assert ended.status.value == "cancelled"
        told = call(
            "POST", f"{stand_in.configuration_api_base_url}/jobs/get", json={"id": first.job_id}
        )
        [failure] = told["attempts"][-1]["attempt"]["failureSummary"]["failures"]
        assert failure["externalMessage"] == "it was cancelled"


def test_the_workspace_renews_a_token_that_has_expired(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(database, PagedApi({"products": []})) as (_, stand_in):
        client = workspace_at(stand_in, request_max_retries=0).get_client()
        assert len(client.get_connections()) == len(FOLDER.connections)
        stand_in.credentials.token = "the next one"  # the client's own is over
        with pytest.raises(Failure):
            client.get_connections()
        monkeypatch.setattr("dagster_airbyte.resources.AIRBYTE_REFRESH_TIMEDELTA_SECONDS", 0)
        assert len(client.get_connections()) == len(FOLDER.connections)
        stand_in.credentials.client_secret = "another"
        with pytest.raises(Failure):
            client.get_connections()
