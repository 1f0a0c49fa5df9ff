"""The stand-in over HTTP, through the unmodified AirbyteWorkspace of dagster-airbyte."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import requests
from dagster import Failure
from dagster_airbyte import AirbyteWorkspace
from dagster_airbyte.resources import load_airbyte_asset_specs

from retail_pipeline.airbyte_engine.api import (
    StandIn,
    serving,
)
from retail_pipeline.airbyte_engine.engine import Engine
from retail_pipeline.airbyte_engine.jobs import JobStore
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
        rest_api_base_url=stand_in.rest_api_base_url,
        configuration_api_base_url=stand_in.configuration_api_base_url,
        workspace_id=stand_in.workspace_id,
        client_id=stand_in.credentials.client_id,
        client_secret=stand_in.credentials.client_secret,
        poll_interval=0.1,
        **options,
    )


def test_specs_jobs_and_failures_through_the_workspace(database: Database) -> None:
    api = PagedApi({"products": products(5)})
    with served(database, api) as (engine, stand_in):
        workspace = workspace_at(stand_in, request_max_retries=0)
        keys = {spec.key.to_user_string() for spec in load_airbyte_asset_specs(workspace)}
        assert keys == {"products", "users", "transactions"}
        client = workspace.get_client()
        output = client.sync_and_poll(PRODUCTS)
        assert output.job_details["rowsSynced"] == 5
        assert output.job_details["duration"].startswith("PT")
        engine.values = {**engine.values, "RETAIL_API_KEY": "wrong"}
        with pytest.raises(Failure, match="Job failed"):
            client.sync_and_poll(PRODUCTS)
        with pytest.raises(Failure):
            client.sync_and_poll("no-such-connection")


def test_termination_cancels_the_sync(database: Database) -> None:
    api = PagedApi({"products": products(300)}, hold=threading.Event())
    with served(database, api) as (engine, stand_in):
        client = workspace_at(stand_in, poll_timeout=1.5).get_client()
        with pytest.raises(Failure, match="Timeout"):
            client.sync_and_poll(PRODUCTS)
        wait_until(lambda: engine.jobs.get(1).status == "cancelled")
        assert [job.status for job in client.get_jobs_for_connection(PRODUCTS)] == ["cancelled"]


def test_jobs_are_listed_in_pages_and_nothing_opens_without_the_token(database: Database) -> None:
    store = JobStore(database)
    for _ in range(5):
        with database.connect(autocommit=True) as session:
            store.start(session, connection_id=PRODUCTS, connection_name="retail_api_products")
    with engine_for(database, "http://127.0.0.1:9") as engine, serving(engine) as stand_in:
        client = workspace_at(stand_in, max_items_per_page=2).get_client()
        jobs = client.get_jobs_for_connection(PRODUCTS, datetime.now(UTC) - timedelta(days=1))
        assert [job.id for job in jobs] == [5, 4, 3, 2, 1]
        assert {job.status for job in jobs} == {"failed"}  # their workers are gone
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        assert client.get_jobs_for_connection(PRODUCTS, tomorrow) == []
        for path in ("workspaces/x", "connections", "jobs", "jobs/1", "destinations/x"):
            url = f"{stand_in.rest_api_base_url}/{path}"
            assert requests.get(url, timeout=5).status_code == 401
        wrong = {"client_id": stand_in.credentials.client_id, "client_secret": "guess"}
        token = f"{stand_in.rest_api_base_url}/applications/token"
        assert requests.post(token, json=wrong, timeout=5).status_code == 401
