"""What a single run can set: the as-of date, the horizon, the discount rate, a full refresh.

A Dagster resource, so that the UI's launchpad offers it; its defaults come from the environment.
The rule about source and as-of date itself is in `generation`.
"""

from datetime import date, timedelta

from dagster import ConfigurableResource
from pydantic import Field

from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import landed_state
from retail_pipeline.postgres import Database
from retail_pipeline.settings import (
    TODAY,
    Settings,
    parse_as_of,
    parse_discount_rate,
    parse_horizon,
)


class RunWindow(ConfigurableResource):
    """The window of one run: data before `as_of`, value over the `horizon_days` after it."""

    as_of: str | None = Field(
        default=None,
        description="Data before this date counts (00:00 UTC, YYYY-MM-DD or today). "
        "Default: RETAIL_AS_OF, else the source's own date.",
    )
    horizon_days: int | None = Field(
        default=None,
        description="Days ahead whose value is predicted. Default: RETAIL_HORIZON_DAYS.",
    )
    discount_rate: float | None = Field(
        default=None,
        description="Yearly rate at which predicted value is discounted to the as-of date, from 0 "
        "to below 1 (0.1 is 10 % a year). Default: RETAIL_DISCOUNT_RATE, else 0.",
    )
    full_refresh: bool = Field(default=False, description="Rebuild every layer from the source.")

    def landed(self, database: Database, settings: Settings) -> tuple[date, int]:
        """Return the as-of date of the landed data and the run's horizon in days.

        Raises:
            PipelineError: Nothing was ingested, or this run was given another date.
            UsageError: The horizon is not from 1 to 1095.
        """
        return self.landed_as_of(database), self.horizon(settings)

    def asked_as_of(self, settings: Settings) -> date | None:
        """Return the as-of date that this run or the environment asks for, if any.

        Raises:
            UsageError: The text is not a date.
        """
        return parse_as_of(self.as_of, "as_of") if self.as_of else settings.as_of

    def horizon(self, settings: Settings) -> int:
        """Return the horizon in days.

        Raises:
            UsageError: It is not from 1 to 1095.
        """
        if self.horizon_days is None:
            return settings.horizon_days
        return parse_horizon(self.horizon_days, "horizon_days")

    def yearly_rate(self, settings: Settings) -> float:
        """Return the discount rate, a share per year.

        Raises:
            UsageError: It is not from 0 to below 1.
        """
        if self.discount_rate is None:
            return settings.discount_rate
        return parse_discount_rate(self.discount_rate, "discount_rate")

    def landed_as_of(self, database: Database) -> date:
        """Return the as-of date of the ingested data, which all later stages share.

        The environment's date is what syncs ask for; a later stage takes what has landed.

        Raises:
            PipelineError: Nothing was ingested, a stream lags behind the others, or this run was
                given another date.
        """
        landed = landed_state(database).as_of
        if self.as_of is None:
            return landed
        asked = parse_as_of(self.as_of, "as_of")
        if self.as_of == TODAY and asked == landed + timedelta(days=1):
            return landed  # midnight has passed since the syncs
        if asked != landed:
            raise PipelineError(
                f"this run asks for the as-of date {asked}, but the ingested data is as of "
                f"{landed}: materialize the transactional assets in the same run"
            )
        return landed
