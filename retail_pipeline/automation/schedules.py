"""Schedules: what starts at a time of day, in UTC."""

import dagster as dg

from retail_pipeline.automation.environments import (
    DAILY_INGESTION,
    WEEKLY_UPKEEP,
    schedule_status,
)
from retail_pipeline.automation.jobs import (
    INGESTION,
    UPKEEP,
)
from retail_pipeline.settings import Environment

DAILY_INGESTION_CRON = "30 2 * * *"
"""Half past two at night in UTC: the European business day is over and nobody waits for the
database."""
WEEKLY_UPKEEP_CRON = "30 5 * * 0"
"""On Sunday morning, when the night's runs are over."""


def build_schedules(environment: Environment) -> list[dg.ScheduleDefinition]:
    """Return the schedules with the status that the environment gives them.

    After a downtime Dagster's scheduler starts the latest missed time alone: one run, not one for
    each night.

    Raises:
        KeyError: An environment was added and nobody decided what runs in it.
    """
    return [
        dg.ScheduleDefinition(
            name=DAILY_INGESTION,
            job_name=INGESTION,
            cron_schedule=DAILY_INGESTION_CRON,
            execution_timezone="UTC",
            default_status=schedule_status(DAILY_INGESTION, environment),
            description="Syncs the retail API once a night; the sensors go on from there.",
        ),
        dg.ScheduleDefinition(
            name=WEEKLY_UPKEEP,
            job_name=UPKEEP,
            cron_schedule=WEEKLY_UPKEEP_CRON,
            execution_timezone="UTC",
            default_status=schedule_status(WEEKLY_UPKEEP, environment),
            description="Removes runs, events and logs that are older than they are kept.",
        ),
    ]
