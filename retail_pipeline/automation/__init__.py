"""Jobs, schedules, automation conditions and sensors of the pipeline.

They refer to assets by key and group, without importing the modules of the stages. `environments`
defines which of them are on by default.
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
    """Return the jobs, schedules and sensors, with the default status of the environment.

    Args:
        settings: The settings with the environment and the addresses of alerts.
    """
    jobs = build_jobs()
    return dg.Definitions(
        jobs=jobs,
        schedules=build_schedules(settings),
        sensors=[*build_condition_sensors(settings), *build_sensors(settings, jobs)],
    )
