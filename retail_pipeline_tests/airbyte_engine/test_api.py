"""The stand-in keeps the contract of Airbyte's API, failures included.

The client is that of dagster-airbyte, unmodified. Typed models of airbyte-api parse each response.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from airbyte_api.models.jobresponse import JobResponse
from airbyte_api.models.jobsresponse import JobsResponse
from dagster import Failure
from dagster_airbyte import AirbyteWorkspace

from retail_pipeline.airbyte_engine.api import CONFIGURATION_PATH, REST_PATH, StandIn, serving
from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine import paged_api
from retail_pipeline_tests.airbyte_engine.paged_api import PagedApi, products
from retail_pipeline_tests.airbyte_engine.test_sync import PRODUCTS, engine_for, wait_until


@contextmanager
def served(database: Database, api: PagedApi) -> Iterator[tuple[Engine, StandIn]]:
    with (
        paged_api.serving(api),
        engine_for(database, api.address) as engine,
        serving(engine) as stand_in,
    ):
        yield engine, stand_in


def workspace_at(stand_in: StandIn, **options) -> AirbyteWorkspace:
    return AirbyteWorkspace(
        rest_api_base_url=stand_in.base_url + REST_PATH,
        configuration_api_base_url=stand_in.base_url + CONFIGURATION_PATH,
        workspace_id=stand_in.workspace_id,
        client_id=stand_in.client_id,
        client_secret=stand_in.client_secret,
        poll_interval=0.1,
        **options,
    )


class Caller:
    """A client of the stand-in with the calls of an Airbyte client."""

    def __init__(self, stand_in: StandIn) -> None:
        self._root = stand_in.base_url + REST_PATH
        given = {"client_id": stand_in.client_id, "client_secret": stand_in.client_secret}
        token = requests.post(f"{self._root}/applications/token", json=given, timeout=5).json()
        assert token["token_type"] == "Bearer" and token["expires_in"] > 150
        self._headers = {"Authorization": f"Bearer {token['access_token']}"}

    def __call__(self, method: str, path: str, *, status: int = 200, **options: Any) -> Any:
        url = path if path.startswith("http") else f"{self._root}/{path}"
        answer = requests.request(method, url, headers=self._headers, timeout=5, **options)
        assert answer.status_code == status, answer.text
        return answer.json()


def test_jobs_and_failures_through_the_workspace(database: Database) -> None:
    with served(database, PagedApi({"products": products(5)})) as (engine, stand_in):
        client = workspace_at(stand_in, request_max_retries=0).get_client()
        output = client.sync_and_poll(PRODUCTS)
        assert output.job_details["rowsSynced"] == 5
        assert output.job_details["duration"].startswith("PT")
        engine.values = {**engine.values, "RETAIL_API_KEY": "wrong"}
        for _ in range(2):
            with pytest.raises(Failure, match="Job failed"):
                client.sync_and_poll(PRODUCTS)
        with pytest.raises(Failure):
            client.sync_and_poll("no-such-connection")
        jobs = client.get_jobs_for_connection(PRODUCTS, datetime.now(UTC) - timedelta(days=1))
        assert [job.status for job in jobs] == ["failed", "failed", "succeeded"]


def test_typed_models_read_every_answer_about_a_job(database: Database) -> None:
    with served(database, PagedApi({"products": products(5)})) as (engine, stand_in):
        call = Caller(stand_in)
        body = {"connectionId": PRODUCTS, "jobType": "sync"}
        started = JobResponse.model_validate(call("POST", "jobs", json=body))
        engine.wait(started.job_id)
        job = JobResponse.model_validate(call("GET", f"jobs/{started.job_id}"))
        assert (job.status.value, job.rows_synced, job.job_type.value) == ("succeeded", 5, "sync")
        jobs = JobsResponse.model_validate(call("GET", f"jobs?connectionId={PRODUCTS}"))
        assert [each.job_id for each in jobs.data] == [started.job_id]


def test_the_workspace_renews_a_token_that_has_expired(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine_for(database, "http://127.0.0.1:9") as engine, serving(engine) as stand_in:
        client = workspace_at(stand_in, request_max_retries=0).get_client()
        assert client.get_jobs_for_connection(PRODUCTS) == []
        stand_in.token = "the next one"  # the client's own token has expired
        with pytest.raises(Failure):
            client.get_jobs_for_connection(PRODUCTS)
        monkeypatch.setattr("dagster_airbyte.resources.AIRBYTE_REFRESH_TIMEDELTA_SECONDS", 0)
        assert client.get_jobs_for_connection(PRODUCTS) == []


def test_unknown_and_wrong_requests_are_refused_with_a_reason(database: Database) -> None:
    with served(database, PagedApi({"products": []})) as (_, stand_in):
        call = Caller(stand_in)
        nobody = "11111111-0000-4000-8000-000000000000"
        for method in ("GET", "DELETE"):
            assert "there is no job" in call(method, "jobs/999", status=422)["detail"]
        job = {"connectionId": nobody, "jobType": "sync"}
        assert nobody in call("POST", "jobs", json=job, status=422)["detail"]
        reset = {"connectionId": PRODUCTS, "jobType": "reset"}
        assert "'sync'" in call("POST", "jobs", json=reset, status=422)["detail"]
        details = f"{stand_in.base_url}{CONFIGURATION_PATH}/connections/get"
        assert nobody in call("POST", details, json={"connectionId": nobody}, status=422)["detail"]


def test_a_timeout_cancels_the_sync(database: Database) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    with served(database, api) as (engine, stand_in):
        client = workspace_at(stand_in, poll_timeout=1.5).get_client()
        with pytest.raises(Failure, match="Timeout"):
            client.sync_and_poll(PRODUCTS)
        wait_until(lambda: engine.jobs[0].status == "cancelled")
        assert [job.status for job in client.get_jobs_for_connection(PRODUCTS)] == ["cancelled"]


def test_a_second_sync_is_refused_and_a_cancelled_one_says_so(database: Database) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    with served(database, api) as (engine, stand_in):
        call = Caller(stand_in)
        body = {"connectionId": PRODUCTS, "jobType": "sync"}
        first = JobResponse.model_validate(call("POST", "jobs", json=body))
        assert first.status.value == "running"
        with pytest.raises(Failure, match="already running"):
            workspace_at(stand_in, request_max_retries=0).get_client().sync_and_poll(PRODUCTS)
        wait_until(lambda: len(api.requests) > 1)
        call("DELETE", f"jobs/{first.job_id}")
        assert engine.wait(first.job_id).status == "cancelled"
        ended = JobResponse.model_validate(call("GET", f"jobs/{first.job_id}"))
        assert ended.status.value == "cancelled"
        address = f"{stand_in.base_url}{CONFIGURATION_PATH}/jobs/get"
        info = call("POST", address, json={"id": first.job_id})
        [failure] = info["attempts"][-1]["attempt"]["failureSummary"]["failures"]
        assert failure["externalMessage"] == "it was cancelled"
