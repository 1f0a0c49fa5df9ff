"""The charts of a running Superset, asked as the viewer: the dashboard's rights, no other ones."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from retail_pipeline.bi.bundle import COLUMN_KEYS, METRIC_KEYS
from retail_pipeline.bi.superset import Superset
from retail_pipeline.errors import PipelineError

if TYPE_CHECKING:
    import requests

_SECONDS: Final = 130
_USER: Final = "viewer"


@dataclass(frozen=True)
class Answer:
    """A chart's answer: rows and milliseconds of its queries, and the reason if there is none."""

    chart: str
    rows: int
    milliseconds: int
    error: str = ""


def ask(superset: Superset, slugs: list[str]) -> dict[str, list[Answer]]:
    """Return the answers of all charts by dashboard.

    A chart is asked for its columns and metrics under its filters, as it is stored in Superset.

    Args:
        superset: A running Superset.
        slugs: The dashboards, by the last word of their address.

    Raises:
        PipelineError: Superset is not running, or refuses the viewer.
    """
    import requests

    address = superset.address()
    if address is None:
        raise PipelineError("Superset is not running: `retail-pipeline bi up` starts it")
    with requests.Session() as session:
        try:
            _log_in(session, address, superset.logins()[_USER])
            return {slug: list(_dashboard(session, address, slug)) for slug in slugs}
        except requests.RequestException as error:
            raise PipelineError(
                f"Superset at {address} does not answer the viewer: {error}. "
                f"Its log is {superset.log}"
            ) from None


def _log_in(session: "requests.Session", address: str, password: str) -> None:
    login = {"username": _USER, "password": password, "provider": "db"}
    answer = session.post(f"{address}/api/v1/security/login", json=login, timeout=_SECONDS)
    answer.raise_for_status()
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _dashboard(session: "requests.Session", address: str, slug: str) -> Iterator[Answer]:
    place = f"{address}/api/v1/dashboard/{slug}"
    found = [session.get(each, timeout=_SECONDS) for each in (place, f"{place}/charts")]
    for each in found:
        each.raise_for_status()
    dashboard, charts = (each.json()["result"] for each in found)
    for chart in charts:
        asked = {**question(chart["form_data"], dashboard["id"]), "force": True}
        started = time.monotonic()
        answer = session.post(f"{address}/api/v1/chart/data", json=asked, timeout=_SECONDS)
        milliseconds = round((time.monotonic() - started) * 1000)
        content = answer.json()
        results = content.get("result") or []
        errors = [str(each["error"]) for each in results if each.get("error")]
        if not answer.ok:
            errors = [str(content.get("message") or content.get("errors") or answer.status_code)]
        rows = sum(each.get("rowcount") or 0 for each in results)
        yield Answer(chart["slice_name"], rows, milliseconds, "; ".join(errors))


def question(form: Mapping[str, Any], dashboard: int) -> dict[str, Any]:
    """Return the request for a chart's data.

    Args:
        form: The chart's parameters, as Superset stores them.
        dashboard: The id of the dashboard that gives the viewer the right.
    """
    number, _, kind = form["datasource"].partition("__")
    suffixes = ("", "_b") if form.get("metrics_b") else ("",)
    return {
        "datasource": {"id": int(number), "type": kind},
        "form_data": {**form, "dashboardId": dashboard},
        "queries": [_query(form, suffix) for suffix in suffixes],
        "result_format": "json",
        "result_type": "full",
    }


def _query(form: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    is_raw = form.get("query_mode") == "raw"
    columns = ["all_columns"] if is_raw else [each for each in COLUMN_KEYS if each != "all_columns"]
    metrics = [] if is_raw else [each for each in METRIC_KEYS if each != "metrics_b"]
    axis, grain = form.get("x_axis"), form.get("time_grain_sqla")
    names = _listed(form, [f"groupby{suffix}" if each == "groupby" else each for each in columns])
    names = [each for each in names if each != form.get("granularity_sqla") or each == axis]
    asked = _listed(form, [f"metrics{suffix}" if each == "metrics" else each for each in metrics])
    filters = form.get(f"adhoc_filters{suffix}") or []
    return {
        "columns": [_by_grain(each, grain) if grain and each == axis else each for each in names],
        "metrics": asked,
        "filters": [
            {"col": each["subject"], "op": each["operator"], "val": each.get("comparator")}
            for each in filters
            if each.get("expressionType") == "SIMPLE"
        ],
        "granularity": form.get("granularity_sqla"),
        "time_range": form.get("time_range", "No filter"),
        "extras": {"time_grain_sqla": grain} if grain else {},
        "orderby": [[each, False] for each in asked[:1]],
        "row_limit": form.get("row_limit") or 10_000,
    }


def _by_grain(column: str, grain: str) -> dict[str, Any]:
    label = {"label": column, "sqlExpression": column, "expressionType": "SQL"}
    return {"timeGrain": grain, "columnType": "BASE_AXIS", **label}


def _listed(form: Mapping[str, Any], keys: list[str]) -> list[str]:
    """Return the names under some keys, each once; a key has one name, a list, or nothing."""
    found: list[str] = []
    for key in keys:
        value = form.get(key)
        found += value if isinstance(value, list) else [value] if value else []
    return list(dict.fromkeys(found))
