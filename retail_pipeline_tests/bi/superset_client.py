"""A user of Superset's pages and of its REST API."""

import re
from typing import Any

import httpx

from retail_pipeline.bi.superset import Superset


class SupersetUser:
    """A logged-in user, who sends the token against forged requests as the pages do."""

    def __init__(self, superset: Superset, name: str) -> None:
        self._http = httpx.Client(base_url=str(superset.address()), timeout=60)
        self._http.headers["Referer"] = str(superset.address())
        page = self.get("/login/").text
        form = {"username": name, "password": superset.logins()[name]}
        form["csrf_token"] = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)[0]
        answer = self._http.post("/login/", data=form)
        assert answer.status_code == 302, answer.text
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
