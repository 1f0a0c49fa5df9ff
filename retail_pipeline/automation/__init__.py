"""What starts by itself, and what can be started by name: jobs, schedules, conditions, sensors.

Assets are referred to by key and group only: no stage's module is imported here. Which of it runs
unasked is in `environments`.
"""

import dagster as dg

from retail_pipeline.automation.conditions import (
    build_condition_sensors,
    with_conditions,
)
from retail_pipeline.automation.jobs import build_jobs
from retail_pipeline.automation.schedules import build_schedules
from retail_pipeline.automation.sensors import build_sensors
from retail_pipeline.settings import Settings

__all__ = ["build_automation", "with_conditions"]


def build_automation(settings: Settings) -> dg.Definitions:
    """Return the jobs, and the schedules and sensors as the environment wants them.

    Args:
        settings: Its environment decides what runs without being switched on in the UI; it says
            where alerts go.
    """
    jobs = build_jobs()
    return dg.Definitions(
        jobs=jobs,
        schedules=build_schedules(settings.environment),
        sensors=[*build_condition_sensors(settings.environment), *build_sensors(settings, jobs)],
    )
