"""A user of Superset's REST API."""

from typing import Any

import httpx

from retail_pipeline.bi.superset import Superset


class SupersetUser:
    """A logged-in user, who sends the token against forged requests as the pages do."""

    def __init__(self, superset: Superset, name: str) -> None:
        self._http = httpx.Client(base_url=str(superset.address()), timeout=60)
        login = {"username": name, "password": superset.logins()[name], "provider": "db"}
        answer = self._http.post("/api/v1/security/login", json=login).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._http.headers["Referer"] = str(superset.address())
        token = self.get("/api/v1/security/csrf_token/").json()["result"]
        self._http.headers["X-CSRFToken"] = token

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        return self._http.request(method, path, json=content)

    def ids(self, kind: str) -> dict[str, int]:
        """Return the ids of charts, dashboards, data sets or databases by name."""
        names = ("slice_name", "dashboard_title", "table_name", "database_name")
        found = self.get(f"/api/v1/{kind}/").json()["result"]
        return {str(next(each[n] for n in names if n in each)): each["id"] for each in found}
