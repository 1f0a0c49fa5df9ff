"""DAGs of one task each, which Airflow loads from a folder of a test."""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG
from retail_dags import COMMAND
from retail_pipeline_airflow.operator import DagsterJobOperator, RetailPipelineOperator

SETTINGS = {
    "schedule": None,
    "start_date": pendulum.datetime(1999, 1, 1),
    "default_args": {"retries": 1, "retry_delay": timedelta(seconds=1)},
}

with DAG("wrong_date", **SETTINGS):
    DagsterJobOperator(task_id="score", job="score", as_of="2020-01-01", retries=0)

with DAG("wrong_job", **SETTINGS):
    DagsterJobOperator(task_id="upkeep", job="upkeep", as_of="{{ ds }}")

with DAG("ingestion", **SETTINGS):
    DagsterJobOperator(task_id="sync", job="ingestion", as_of="{{ ds }}", poll_seconds=1)

with DAG("killed", **SETTINGS):
    DagsterJobOperator(task_id="sync", job="ingestion", as_of="{{ ds }}", retries=0)

with DAG("command", **SETTINGS):
    RetailPipelineOperator(
        task_id="run",
        command=COMMAND,
        arguments=["run", "--as-of", "{{ ds }}", "", "--select={{ dag_run.conf.select }}"],
    )

with DAG("killed_command", **SETTINGS):
    RetailPipelineOperator(
        task_id="run", command=COMMAND, arguments=["run", "--as-of", "{{ ds }}"], retries=0
    )
