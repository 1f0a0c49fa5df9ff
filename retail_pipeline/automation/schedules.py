"""Schedules: what starts at a time of day, in UTC."""

import dagster as dg

from retail_pipeline.automation.environments import Starter, status
from retail_pipeline.automation.jobs import INGESTION, UPKEEP
from retail_pipeline.settings import Environment


def build_schedules(environment: Environment) -> list[dg.ScheduleDefinition]:
    """Return the schedules with the status that the environment gives them.

    After a downtime Dagster's scheduler starts the latest missed time alone: one run, not one for
    each night.
    """

    def schedule(name: Starter, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
        return dg.ScheduleDefinition(
            name=name.value,
            job_name=job,
            cron_schedule=cron,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus[status(name, environment)],
            description=description,
        )

    return [
        schedule(
            Starter.DAILY_INGESTION,
            INGESTION,
            "30 2 * * *",  # the European business day is over and nobody waits for the database
            "Syncs the retail API once a night; the sensors go on from there.",
        ),
        schedule(
            Starter.WEEKLY_UPKEEP,
            UPKEEP,
            "30 5 * * 0",  # on Sunday, when the night's runs are over
            "Removes runs, events and logs that are older than they are kept.",
        ),
    ]
