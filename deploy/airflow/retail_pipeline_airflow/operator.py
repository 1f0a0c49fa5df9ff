"""Operators that run a job of the pipeline's Dagster, or a command of `retail-pipeline`."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import requests
from airflow.sdk import BaseOperator, Connection, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

_ENDED: Final = ("SUCCESS", "FAILURE", "CANCELED")
_LAUNCH: Final = """mutation ($execution: ExecutionParams!) {
  result: launchRun(executionParams: $execution) { __typename
    ... on LaunchRunSuccess { run { runId } } ... on Error { message }
    ... on RunConfigValidationInvalid { errors { message } } } }"""
_RUNS: Final = """query ($filter: RunsFilter!) {
  result: runsOrError(filter: $filter, limit: 25) { ... on Error { message }
    ... on Runs { results { runId status tags { key value } } } } }"""
_TERMINATE: Final = """mutation ($run: String!) {
  result: terminateRun(runId: $run) { __typename ... on Error { message } } }"""
_EVENTS: Final = """query ($run: ID!, $cursor: String) {
  result: logsForRun(runId: $run, afterCursor: $cursor) { ... on Error { message }
    ... on EventConnection { cursor hasMore events { __typename
      ... on ExecutionStepFailureEvent { stepKey error { message causes { message } }
        failureMetadata { description metadataEntries {
          label ... on JsonMetadataEntry { jsonString } } } }
      ... on RunFailureEvent { message error { message causes { message } } }
      ... on AssetCheckEvaluationEvent { evaluation {
        success severity checkName description assetKey { path } } } } } } }"""


class DagsterJobOperator(BaseOperator):
    """Runs a job of Dagster and waits for its end; a retry goes on with the run of the earlier try.

    A failure names the failed assets with their reasons. A run that was stopped in Dagster, or
    that Dagster refuses to start, is not tried again.

    Args:
        job: The name of the job.
        as_of: The as-of date of the run; if empty, the run has no window in its configuration.
        horizon_days: The horizon of the run; if empty, that of the pipeline's settings.
        dagster_conn_id: The connection with the address of Dagster's webserver.
        poll_seconds: Seconds between two questions for the state of the run.
    """

    template_fields: Sequence[str] = ("as_of", "horizon_days")

    def __init__(
        self,
        *,
        job: str,
        as_of: str = "",
        horizon_days: str = "",
        dagster_conn_id: str = "retail_dagster",
        poll_seconds: float = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.as_of = as_of
        self.horizon_days = horizon_days
        self.dagster_conn_id = dagster_conn_id
        self.poll_seconds = poll_seconds
        self._task_tags: dict[str, str] = {}
        self._killed = False

    def execute(self, context: Context) -> str:
        """Return the id of the Dagster run, which has succeeded."""
        server = Connection.get(self.dagster_conn_id)
        scheme = server.schema or server.conn_type
        if scheme not in ("http", "https"):
            words = f"the connection {self.dagster_conn_id} has the schema {scheme!r}"
            raise AirflowFailException(f"{words}: set http or https, a host and a port")
        port = f":{server.port}" if server.port else ""
        self._url = f"{scheme}://{server.host}{port}"
        self._login = (server.login, server.password or "") if server.login else None
        ti, dag_run = context["ti"], context["dag_run"]
        names = ("dag_id", "run_id", "task_id", "map_index")
        self._task_tags = {f"airflow/{name}": str(getattr(ti, name)) for name in names}
        own = {
            "airflow/try_number": str(ti.try_number),
            "airflow/logical_date": str(dag_run.logical_date or dag_run.run_after),
        }
        # A cleared task counts on from its last try, and does its work again.
        run_id = self._run_of_try_since(ti.max_tries - (self.retries or 0) + 1)
        self.log.info("Dagster run %s", "found" if run_id else "is launched")
        run_id = run_id or self._launch({**self._task_tags, **own})
        self.log.info("%s/runs/%s", self._url, run_id)
        while (status := self._status(run_id)) not in _ENDED:
            time.sleep(self.poll_seconds)
        if status == "CANCELED":
            kind = AirflowException if self._killed else AirflowFailException
            raise kind(f"the Dagster run {run_id} of {self.job} was stopped")
        if found := list(dict.fromkeys(self._failures(run_id))):
            raise AirflowException("\n".join([f"{self.job} failed in Dagster:", *found]))
        return run_id

    def on_kill(self) -> None:
        """End the Dagster run of this task."""
        self._killed = True
        for run in self._runs() if self._task_tags else []:
            if run["status"] not in _ENDED:
                result = self._ask(_TERMINATE, run=run["runId"])
                self.log.info("the end of %s: %s", run["runId"], result)

    def _run_of_try_since(self, first_try: int) -> str | None:
        """Return this task's run that is unfinished, or that succeeded since a try; or None."""
        for run in self._runs():
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            is_of_these_tries = int(tags["airflow/try_number"]) >= first_try
            if run["status"] not in _ENDED or (run["status"] == "SUCCESS" and is_of_these_tries):
                return str(run["runId"])
        return None

    def _launch(self, tags: dict[str, str]) -> str:
        window: dict[str, Any] = {"as_of": self.as_of} if self.as_of else {}
        if self.horizon_days:
            window["horizon_days"] = int(self.horizon_days)
        execution = {
            "selector": {
                "jobName": self.job,
                "repositoryName": "__repository__",
                "repositoryLocationName": "retail_pipeline",
            },
            "runConfigData": {"resources": {"run_window": {"config": window}}} if window else {},
            "executionMetadata": {"tags": _tags(tags)},
        }
        result = self._ask(_LAUNCH, execution=execution)
        if "run" not in result:
            # A job is also unknown while the code location starts, so only a wrong configuration
            # is final.
            kind = AirflowFailException if "errors" in result else AirflowException
            words = [str(error["message"]) for error in result.get("errors", [result])]
            raise kind(f"Dagster refuses to start {self.job}: {' '.join(words)}")
        return str(result["run"]["runId"])

    def _runs(self) -> list[dict[str, Any]]:
        """Return the runs of this task in this run of the DAG, the latest first."""
        return list(self._ask(_RUNS, filter={"tags": _tags(self._task_tags)})["results"])

    def _status(self, run_id: str) -> str:
        runs = self._ask(_RUNS, filter={"runIds": [run_id]})["results"]
        if not runs:
            raise AirflowException(f"the Dagster run {run_id} was removed")
        return str(runs[0]["status"])

    def _failures(self, run_id: str) -> Iterator[str]:
        """Yield a line for each failed asset and each check that found an error."""
        page: dict[str, Any] = {"cursor": None, "hasMore": True}
        while page["hasMore"]:
            page = self._ask(_EVENTS, run=run_id, cursor=page["cursor"])
            for event in page["events"]:
                yield from _failures_of(event)

    def _ask(self, document: str, **variables: Any) -> dict[str, Any]:
        body = {"query": document, "variables": variables}
        url = f"{self._url}/graphql"
        answer = requests.post(url, json=body, auth=self._login, timeout=60)
        is_json = "json" in answer.headers.get("content-type", "")
        content = answer.json() if is_json else {}
        if not answer.ok or not content.get("data") or content.get("errors"):
            raise AirflowException(f"{url} answers {answer.status_code}: {answer.text[:300]}")
        return dict(content["data"]["result"])


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _failures_of(event: dict[str, Any]) -> Iterator[str]:
    kind = event["__typename"]
    if kind == "AssetCheckEvaluationEvent":
        check = event["evaluation"]
        if not check["success"] and check["severity"] == "ERROR":
            name = f"{'/'.join(check['assetKey']['path'])}: check {check['checkName']}"
            yield f"{name} did not pass: {check['description'] or 'see Dagster'}"
    elif kind == "RunFailureEvent":
        yield _reason(event) or str(event["message"])
    elif kind == "ExecutionStepFailureEvent":
        metadata = event["failureMetadata"] or {"description": None, "metadataEntries": []}
        entries = {each["label"]: each.get("jsonString") for each in metadata["metadataEntries"]}
        assets = json.loads(entries.get("failed_assets") or "{}")
        reason = metadata["description"] or _reason(event) or "no reason was given"
        for asset, words in (assets or {event["stepKey"].replace("__", "/"): reason}).items():
            yield f"{asset}: {words}"


def _reason(event: dict[str, Any]) -> str:
    """Return the message of the first cause, without the name of an error of the pipeline."""
    error = event["error"]
    words = str([error, *error["causes"]][-1]["message"]).strip() if error else ""
    return words.partition(": ")[2] if words.startswith("retail_pipeline.") else words


class RetailPipelineOperator(BaseOperator):
    """Runs `retail-pipeline` without a Dagster server; wrong use or settings are not tried again.

    Args:
        arguments: The arguments; empty ones are left out.
        command: The path of `retail-pipeline`.
    """

    template_fields: Sequence[str] = ("arguments",)

    def __init__(
        self, *, arguments: Sequence[str], command: str = "retail-pipeline", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self.command = command
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> None:  # noqa: ARG002 (Airflow's signature)
        """Run the command, with its output in the task's log."""
        process = self._process = subprocess.Popen(
            [self.command, *filter(None, self.arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        told: list[str] = []
        for line in process.stdout or ():
            self.log.info("%s", line.rstrip())
            if told or line.startswith("error: "):
                told.append(line.rstrip())
        code = process.wait()
        if code != 0:
            kind = AirflowFailException if code == 2 else AirflowException
            raise kind("\n".join(told) or f"{self.command} ended with {code}")

    def on_kill(self) -> None:
        """Stop the command as Ctrl-C does, with the processes that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)
