"""The schedules, in the shop's time zone."""

import dagster as dg

from retail_pipeline.automation.environments import Starter, status
from retail_pipeline.automation.jobs import INGESTION, REFRESH, UPKEEP
from retail_pipeline.settings import Settings, TablesSource


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Return the schedules with their default status in the environment.

    Where another Airbyte fills the tables, the nightly job builds the warehouse, as nothing syncs.

    After a downtime Dagster starts only the latest missed tick: one run, not one for each night.
    """

    def schedule(name: Starter, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
        return dg.ScheduleDefinition(
            name=name.value,
            job_name=job,
            cron_schedule=cron,
            execution_timezone=settings.time_zone,
            default_status=dg.DefaultScheduleStatus[status(name, settings)],
            description=description,
        )

    return [
        schedule(
            Starter.DAILY_INGESTION,
            REFRESH if isinstance(settings.source, TablesSource) else INGESTION,
            "30 2 * * *",  # after the business day, when the database is idle
            "Syncs the retail API once a night; sensors then start the later stages.",
        ),
        schedule(
            Starter.WEEKLY_UPKEEP,
            UPKEEP,
            "30 5 * * 0",  # on Sunday, when the night's runs are over
            "Removes finished runs, with their events and logs, after the retention time.",
        ),
    ]
