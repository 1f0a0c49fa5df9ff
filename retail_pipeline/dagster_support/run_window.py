"""The settings of a single run: the as-of date, the horizon, the discount rate, a full refresh.

They are a Dagster resource, so that the UI's launchpad offers them, with the environment's horizon
and discount rate as defaults. The rules for source and as-of date are in `generation`.
"""

from datetime import date, timedelta

import dagster as dg
from pydantic import Field, PrivateAttr

from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import landed_state
from retail_pipeline.postgres import Database
from retail_pipeline.settings import TODAY, DiscountRate, Horizon, Settings, parse_as_of

_HORIZON = "Days ahead whose value is predicted, 1 to 1095."
_DISCOUNT_RATE = (
    "Yearly rate at which predicted value is discounted to the as-of date, from 0 to below 1 "
    "(0.1 is 10 % a year)."
)


class RunWindow(dg.ConfigurableResource):
    """The window of one run: data before `as_of`, value over the `horizon_days` after it."""

    # No default, because later stages check the date only if the run's configuration sets one.
    as_of: str | None = Field(
        default=None,
        description="Only data before this date is used (YYYY-MM-DD or today; 00:00 in the "
        "time zone of RETAIL_TIME_ZONE). "
        "Default: RETAIL_AS_OF, else the source's default date.",
    )
    horizon_days: Horizon = Field(
        default=Settings.model_fields["horizon_days"].default,
        description=_HORIZON,
    )
    discount_rate: DiscountRate = Field(
        default=Settings.model_fields["discount_rate"].default,
        description=_DISCOUNT_RATE,
    )
    full_refresh: bool = Field(default=False, description="Rebuild every layer from the source.")
    source: str | None = Field(
        default=None,
        description="The id of the source that this run is for; with another one it fails. Runs "
        "of the command line have it, so that they are executed again on their own source only.",
    )

    _run_id: str | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Remember the run, whose state no other run may change."""
        self._run_id = context.run_id

    @property
    def default_horizon_days(self) -> int:
        """The horizon of a run whose configuration sets none (`RETAIL_HORIZON_DAYS`)."""
        return int(type(self).model_fields["horizon_days"].default)

    def check_source(self, source_id: str) -> None:
        """Raise a PipelineError if the run is for another source than this one."""
        if self.source not in (None, source_id):
            raise PipelineError(
                f"this run is for the source {self.source}, but here it would use {source_id}: "
                "start the UI with the RETAIL_SOURCE of the run, or launch the job anew"
            )

    def landed(self, database: Database) -> tuple[date, int]:
        """Return the as-of date of the landed data and the run's horizon in days.

        Raises:
            PipelineError: Nothing was ingested, or the run's configuration sets another date or
                source.
        """
        return self.landed_as_of(database), self.horizon_days

    def landed_as_of(self, database: Database) -> date:
        """Return the as-of date of the landed data, which all later stages use.

        Only syncs use the environment's date (`RETAIL_AS_OF`).

        Raises:
            PipelineError: Nothing was ingested, a stream lags behind the others, the run's
                configuration sets another date or source, or another run has changed the state.
        """
        state = landed_state(database, self._run_id)
        self.check_source(state.source_id)
        landed = state.as_of
        if self.as_of is None:
            return landed
        given = parse_as_of(self.as_of, "as_of")
        if self.as_of == TODAY and abs(given - landed) <= timedelta(days=1):
            return landed  # the run's syncs were before midnight, or today is another day in UTC
        if given != landed:
            raise PipelineError(
                f"this run has the as-of date {given}, but the ingested data is as of "
                f"{landed}: materialize the transactional assets in the same run"
            )
        return landed


def run_window(settings: Settings) -> RunWindow:
    """Return a run window whose fields default to the environment's horizon and discount rate.

    The defaults belong to a class, because Dagster drops all values of an instance if a run sets
    any field.
    """

    class EnvironmentsRunWindow(RunWindow):
        horizon_days: Horizon = Field(default=settings.horizon_days, description=_HORIZON)
        discount_rate: DiscountRate = Field(
            default=settings.discount_rate, description=_DISCOUNT_RATE
        )

    return EnvironmentsRunWindow()
