"""The schedules, in UTC."""

import dagster as dg

from retail_pipeline.automation.environments import Starter, status
from retail_pipeline.automation.jobs import INGESTION, UPKEEP
from retail_pipeline.settings import Environment


def build_schedules(environment: Environment) -> list[dg.ScheduleDefinition]:
    """Return the schedules with their default status in the environment.

    After a downtime Dagster starts only the latest missed tick: one run, not one for each night.
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
            "30 2 * * *",  # after the European business day, when the database is idle
            "Syncs the retail API once a night; sensors then start the later stages.",
        ),
        schedule(
            Starter.WEEKLY_UPKEEP,
            UPKEEP,
            "30 5 * * 0",  # on Sunday, when the night's runs are over
            "Removes finished runs, with their events and logs, after the retention time.",
        ),
    ]
