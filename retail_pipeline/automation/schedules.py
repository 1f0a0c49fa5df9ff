"""What starts by the clock, in UTC, and in which environment it does so unasked."""

from dagster import DefaultScheduleStatus, ScheduleDefinition

from retail_pipeline.automation.jobs import REFRESH
from retail_pipeline.settings import Environment

DAILY_INGESTION_CRON = "30 2 * * *"
"""Half past two at night in UTC: the European business day is over and nobody waits for the
database."""

_STATUS = {
    # A laptop must not start work by itself; the UI can switch the schedule on.
    Environment.LOCAL: DefaultScheduleStatus.STOPPED,
    # Staging shares the source's rate limits with production: it syncs when someone asks.
    Environment.STAGING: DefaultScheduleStatus.STOPPED,
    Environment.PRODUCTION: DefaultScheduleStatus.RUNNING,
}


def build_schedules(environment: Environment) -> list[ScheduleDefinition]:
    """Return the schedules with the status that the environment gives them.

    Raises:
        KeyError: An environment was added and nobody decided what runs in it.
    """
    return [
        ScheduleDefinition(
            name="daily_ingestion",
            job_name=REFRESH,
            cron_schedule=DAILY_INGESTION_CRON,
            execution_timezone="UTC",
            default_status=_STATUS[environment],
            description="Syncs the retail API once a night and rebuilds the warehouse; the sensor "
            "clv_after_new_features goes on from there.",
        )
    ]
