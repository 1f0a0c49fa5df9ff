"""The DAGs: every night through Dagster, or by the command line alone; runs are removed weekly."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, Param, task
from retail_pipeline_airflow.operator import DagsterJobOperator, RetailPipelineOperator

ZONE = os.environ.get("RETAIL_TIME_ZONE") or "UTC"
COMMAND = str(Path(__file__).resolve().parents[2] / ".venv" / "bin" / "retail-pipeline")
AS_OF = (
    "{{ params.as_of or "
    "(dag_run.logical_date or dag_run.run_after).astimezone(dag.timezone).date() }}"
)
HORIZON = "{{ params.horizon_days or '' }}"
PARAMS = {
    "as_of": Param(None, type=["null", "string"], format="date", title="As-of date"),
    "horizon_days": Param(None, type=["null", "integer"], minimum=1, maximum=1095),
}
SETTINGS: dict[str, Any] = {
    "start_date": pendulum.datetime(2020, 1, 1, tz=ZONE),
    "catchup": False,  # an earlier as-of date than the stored one would rebuild every layer
    "max_active_runs": 1,
    "default_args": {"retries": 2, "retry_delay": timedelta(minutes=1)},
    "tags": ["retail"],
}
WAREHOUSE = [Asset(f"warehouse.{name}") for name in ("fct_transactions", "customer_features")]
SERVED = [Asset(f"clv.{name}") for name in ("predictions", "totals")]

with DAG(
    "retail_pipeline",
    schedule="30 2 * * *",
    params={**PARAMS, "model": Param("auto", enum=["auto", "train", "score"])},
    **SETTINGS,
):

    @task.branch
    def train_or_score(wish: str, as_of: str, **context: Any) -> str:
        """Return `train` if no earlier run of this DAG succeeded in the month of the as-of date."""
        last = context.get("prev_data_interval_start_success")
        in_month = last and last.in_timezone(ZONE).strftime("%Y-%m") == as_of[:7]
        return wish if wish != "auto" else "score" if in_month else "train"

    window: dict[str, Any] = {"as_of": AS_OF, "horizon_days": HORIZON}
    refresh = DagsterJobOperator(task_id="refresh", job="refresh", outlets=WAREHOUSE, **window)
    train = DagsterJobOperator(task_id="train", job="clv", outlets=SERVED, **window)
    score = DagsterJobOperator(task_id="score", job="score", outlets=SERVED, **window)
    realised = DagsterJobOperator(
        task_id="realised",
        job="realised",
        outlets=[Asset("clv.realised_predictions")],
        trigger_rule="none_failed_min_one_success",
        **window,
    )
    draw = DagsterJobOperator(task_id="draw", job="draw", **window)
    choice = train_or_score("{{ params.model }}", AS_OF)
    refresh >> choice >> [train, score] >> realised >> draw

with DAG("retail_pipeline_upkeep", schedule="30 5 * * 0", **SETTINGS):
    DagsterJobOperator(task_id="upkeep", job="upkeep")

with DAG("retail_pipeline_by_command", schedule=None, params=PARAMS, **SETTINGS):
    horizon = "{% if params.horizon_days %}--horizon-days={{ params.horizon_days }}{% endif %}"
    RetailPipelineOperator(
        task_id="run",
        command=COMMAND,
        arguments=["run", "--as-of", AS_OF, horizon],
        outlets=[*WAREHOUSE, *SERVED, Asset("clv.realised_predictions")],
    )
