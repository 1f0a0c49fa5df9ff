"""The stand-in refuses every request without its token, whatever else the request has."""

import requests

from retail_pipeline.airbyte_engine.api import CONFIGURATION_PATH, REST_PATH, serving
from retail_pipeline.postgres import Database
from retail_pipeline_tests.airbyte_engine.test_sync import PRODUCTS, engine_for


def test_no_call_is_answered_but_with_the_token(database: Database) -> None:
    with engine_for(database, "http://127.0.0.1:9") as engine, serving(engine) as stand_in:
        token = stand_in.token
        rest, configuration = stand_in.base_url + REST_PATH, stand_in.base_url + CONFIGURATION_PATH
        calls = [
            ("GET", f"{rest}/connections", None),
            ("POST", f"{rest}/jobs", {"jobType": "sync", "connectionId": PRODUCTS}),
            ("POST", f"{configuration}/connections/get", {"connectionId": PRODUCTS}),
        ]
        wrong = ["", "Bearer", "Bearer ", "Bearer guess", f"Bearer {token}x", f"Basic {token}"]
        for method, url, body in calls:
            for given in [*wrong, token, token[:-1]]:
                answer = requests.request(
                    method, url, json=body, headers={"Authorization": given}, timeout=5
                )
                assert answer.status_code == 401, (url, given)
                assert token not in answer.text
        guess = {"client_id": stand_in.client_id, "client_secret": "guess"}
        answer = requests.post(f"{rest}/applications/token", json=guess, timeout=5)
        assert answer.status_code == 401
        right = {"Authorization": f"Bearer {token}"}
        assert requests.get(calls[0][1], headers=right, timeout=5).status_code == 200
    assert database.query("select from quality.sync_jobs").empty
