"""The DAGs and operators of `deploy/airflow`, run by Airflow."""

import json
import subprocess

import pytest

from retail_pipeline_tests.airflow.conftest import DAGS, Airflow, loses_an_answer


def window(run: dict) -> dict:
    return run["runConfig"]["resources"]["run_window"]["config"]


def test_the_dags_import_without_a_warning(airflow: Airflow) -> None:
    code = f"import sys; sys.path.insert(0, {str(DAGS)!r}); import retail_dags"
    command = [str(airflow.python), "-W", "error", "-c", code]
    done = subprocess.run(
        command, env=airflow.variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def nights(airflow: Airflow) -> list[dict]:
    """The Dagster runs of two nights of a month."""
    for night in ("2024-06-01", "2024-06-09"):
        code, output = airflow.run(
            "dags", "test", "retail_pipeline", night, "-c", '{"horizon_days": 90}'
        )
        assert code == 0, output
    return airflow.runs("retail_pipeline")


def test_a_night_trains_once_a_month_and_runs_have_its_date_and_tags(nights: list[dict]) -> None:
    jobs = [run["jobName"] for run in nights]
    assert jobs == ["refresh", "clv", "realised", "draw", "refresh", "score", "realised", "draw"]
    assert {run["status"] for run in nights} == {"SUCCESS"}
    assert window(nights[0]) == {"as_of": "2024-06-01", "horizon_days": 90}
    assert window(nights[5]) == {"as_of": "2024-06-09", "horizon_days": 90}
    tags = dict(nights[5]["tags"])
    assert tags.pop("run_id").startswith("manual__")
    assert tags == {
        "dag_id": "retail_pipeline",
        "task_id": "score",
        "map_index": "-1",
        "try_number": "1",
        "logical_date": "2024-06-09 00:00:00+00:00",
    }


@pytest.mark.usefixtures("nights")
def test_a_failed_asset_fails_the_task_with_its_reason(airflow: Airflow) -> None:
    code, output = airflow.run("dags", "test", "wrong_date", "2024-06-01")
    assert code == 1
    assert "score failed in Dagster:\\nclv/predictions: " in output.replace("\n", "\\n"), output
    assert "this run has the as-of date 2020-01-01" in output


def test_a_wrong_configuration_is_not_tried_again(airflow: Airflow) -> None:
    code, output = airflow.run("dags", "test", "wrong_job", "2024-06-01")
    assert (code, airflow.runs("wrong_job")) == (1, [])
    assert output.count("FailException: Dagster refuses to start upkeep: ") == 1, output


def test_a_retry_goes_on_with_the_run_of_the_first_try(airflow: Airflow) -> None:
    with loses_an_answer(airflow.ui) as url:
        code, output = airflow.run(
            "dags", "test", "ingestion", "2024-06-10", AIRFLOW_CONN_RETAIL_DAGSTER=url
        )
    assert code == 0, output
    assert output.count("answers 502") == 1
    [run] = airflow.runs("ingestion")
    assert (run["status"], run["tags"]["try_number"]) == ("SUCCESS", "1")


@pytest.mark.parametrize(
    ("as_of", "select", "tries", "message"),
    [
        pytest.param("2024-06-12", "key:(", 1, "is not a selection", id="2: wrong use"),
        pytest.param("2000-01-01", "group:figures", 2, "error: ", id="1: the work failed"),
    ],
)
def test_exit_codes_decide_whether_a_command_is_tried_again(
    airflow: Airflow, as_of: str, select: str, tries: int, message: str
) -> None:
    code, output = airflow.run(
        *("dags", "test", "command", as_of, "-c", json.dumps({"select": select}))
    )
    assert code == 1
    assert output.count("Task failed with exception") == tries, output
    assert message in output


@pytest.mark.parametrize(("dag", "runs_of"), [("killed", "killed"), ("killed_command", None)])
def test_a_killed_task_ends_its_run(airflow: Airflow, dag: str, runs_of: str | None) -> None:
    process = airflow.start("dags", "test", dag, "2024-06-11")
    airflow.wait_for(runs_of, "STARTED")
    process.terminate()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    assert "stopped" in output
    airflow.wait_for(runs_of, "CANCELED", "FAILURE")
