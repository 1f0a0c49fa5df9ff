"""The declarations: automation by environment, the assets of jobs, the table in the docs."""

import re

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetMaterialization,
    DagsterInstance,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    evaluate_automation_conditions,
)

from retail_pipeline.automation import build_automation
from retail_pipeline.automation.environments import ON_BY_DEFAULT, Starter
from retail_pipeline.automation.jobs import LONGEST_HOURS
from retail_pipeline.build import build_definitions
from retail_pipeline.settings import (
    PROJECT_ROOT,
    Environment,
    Scheduler,
    Settings,
)
from retail_pipeline_tests.automation.world import CLV, FIGURES, STREAMS, WAREHOUSE, World


def unasked(environment: Environment, scheduler: Scheduler = Scheduler.DAGSTER) -> set[str]:
    declared = build_automation(Settings(environment=environment, scheduler=scheduler))
    running = {DefaultScheduleStatus.RUNNING, DefaultSensorStatus.RUNNING}
    automation = [*(declared.schedules or []), *(declared.sensors or [])]
    assert {each.name for each in automation} == set(Starter)
    return {each.name for each in automation if each.default_status in running}


@pytest.mark.parametrize("environment", list(Environment))
def test_every_environment_is_decided_and_declared_so(environment: Environment) -> None:
    assert unasked(environment) == ON_BY_DEFAULT[environment]


def test_a_laptop_starts_nothing_and_only_production_ingests_by_itself() -> None:
    assert ON_BY_DEFAULT[Environment.LOCAL] == frozenset()
    ingesting = [env for env, names in ON_BY_DEFAULT.items() if Starter.DAILY_INGESTION in names]
    assert ingesting == [Environment.PRODUCTION]


@pytest.mark.parametrize("environment", list(Environment))
def test_where_airflow_is_the_scheduler_nothing_starts_a_run(environment: Environment) -> None:
    on = {"alerts"} if Starter.ALERTS in ON_BY_DEFAULT[environment] else set()
    assert unasked(environment, Scheduler.AIRFLOW) == on


def test_the_docs_show_the_same_table() -> None:
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    shown: dict[str, set[Environment]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 + len(Environment) and re.fullmatch(r"`\w+`", cells[0]):
            environments = zip(Environment, cells[-len(Environment) :], strict=True)
            shown[cells[0].strip("`")] = {env for env, cell in environments if cell == "yes"}
    declared = {
        name: {env for env, names in ON_BY_DEFAULT.items() if name in names}
        for name in set(Starter)
    }
    assert shown == declared


@pytest.fixture
def definitions(world: World) -> Definitions:
    return world.definitions()


@pytest.mark.parametrize(
    ("job", "assets"),
    [
        ("ingestion", {*STREAMS}),
        ("refresh", {*STREAMS, *WAREHOUSE}),
        ("clv", {*CLV, *FIGURES}),
        ("score", {*CLV} - {"clv/model"}),
        ("realised", {"clv/realised_predictions"}),
        ("draw", {*FIGURES}),
        ("pipeline", {*STREAMS, *WAREHOUSE, *CLV, *FIGURES}),
    ],
)
def test_the_jobs_select_by_group(definitions: Definitions, job: str, assets: set[str]) -> None:
    layer = definitions.resolve_job_def(job).asset_layer
    assert {key.to_user_string() for key in layer.executable_asset_keys} == assets


def test_the_real_warehouse_is_requested_as_a_whole_and_once(instance: DagsterInstance) -> None:
    pipeline = build_definitions(Settings())
    nodes = pipeline.resolve_asset_graph().asset_nodes
    selection = pipeline.resolve_sensor_def(Starter.WAREHOUSE_AFTER_LANDING).asset_selection
    cursor, requested = None, []
    landing = [node for node in nodes if node.group_name == "transactional"]
    landed = [AssetMaterialization(node.key) for node in landing] + [
        AssetCheckEvaluation(asset_key=check.asset_key, check_name=check.name, passed=True)
        for node in landing
        for check in node.check_keys
    ]
    for events in ([], landed[: len(landing)], landed[len(landing) :], []):
        for event in events:
            instance.report_runless_asset_event(event)
        tick = evaluate_automation_conditions(
            pipeline, instance, asset_selection=selection, cursor=cursor
        )
        cursor = tick.cursor
        requested.append(tick.total_requested)
    built = [n for n in nodes if n.group_name in ("staging", "intermediate", "warehouse")]
    assert requested == [0, 0, len(built), 0]


def test_every_job_has_its_longest_time(definitions: Definitions) -> None:
    for job, hours in LONGEST_HOURS.items():
        tags = definitions.resolve_job_def(job).tags
        assert tags["dagster/max_runtime"] == str(hours * 3600)
