"""The figures as Dagster assets: read the tables, draw, keep the file, show a small image.

How anything looks is the other modules' matter; matplotlib is imported while drawing only.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    Definitions,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
)

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role
from retail_pipeline.run_window import RunWindow
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from retail_pipeline.figures.style import Plot

GROUP = "figures"
OWNER = "team:data-science"

_REVENUE = AssetKey(["warehouse", "revenue_daily"])
_RETENTION = AssetKey(["warehouse", "cohort_retention"])
_BACKTEST = AssetKey(["clv", "backtest_summary"])
_PREDICTIONS = AssetKey(["clv", "predictions"])
_SEGMENTS = AssetKey(["clv", "segments"])

_OUTCOMES = ["cutoff_date", "customer_id", "predicted_value", "actual_value"]
_METRICS = [
    "model_name",
    "cutoff_date",
    "tweedie_deviance",
    "normalized_gini",
    "bias",
    "mae_over_mean",
]


@dataclass(frozen=True)
class Tables:
    """What the figures of one run may read: the tables, as of the run's date and horizon."""

    database: Database
    as_of: date
    horizon_days: int

    def currency(self) -> str:
        """Return the ISO code of the amounts, or nothing where they are in none or in several."""
        found = self.database.query(
            "select distinct currency from warehouse.revenue_daily where currency is not null"
        )
        return str(found["currency"].iloc[0]) if len(found) == 1 else ""

    def served_model(self) -> str:
        """Return the name of the model that made this run's predictions.

        Raises:
            PipelineError: There are none for this date and horizon.
        """
        return self._served()[0]

    def is_validated(self) -> bool:
        """Return whether that model met the selection's rule on past outcomes.

        Raises:
            PipelineError: There are no predictions for this date and horizon.
        """
        return self._served()[1]

    def _served(self) -> tuple[str, bool]:
        found = self.database.query(
            "select p.model_name, coalesce(v.validated, false) as validated "
            "from clv.predictions p left join clv.model_versions v using (model_version) "
            "where p.as_of_date = %s and p.horizon_days = %s "
            "order by p.predicted_at desc limit 1",
            [self.as_of, self.horizon_days],
        )
        if found.empty:
            raise PipelineError(
                f"there are no predictions as of {self.as_of} over {self.horizon_days} days: "
                "materialize clv/predictions and clv/segments with this horizon first"
            )
        return str(found["model_name"].iloc[0]), bool(found["validated"].iloc[0])

    def backtest(
        self, table: str, columns: Sequence[str], model: str | None = None
    ) -> "pd.DataFrame":
        """Return the rows of this run's cut-offs: the latest twelve months with an outcome.

        Older cut-offs stay in the tables; the choice of the model does not count them either.

        Args:
            table: `clv.backtest_predictions` or `clv.backtest_metrics`.
            columns: Their names.
            model: Only this model's rows; all by default.
        """
        where = (
            "horizon_days = %(horizon)s and cutoff_date + horizon_days <= %(as_of)s "
            "and cutoff_date > %(as_of)s::date - %(horizon)s - interval '12 months'"
        )
        if model is not None:
            where += " and model_name = %(model)s"
        params = {"horizon": self.horizon_days, "as_of": self.as_of, "model": model}
        return self.database.read(table, columns, where=where, params=params)


def build_figures() -> Definitions:
    """Return the six figures' assets; contacts nothing."""
    return Definitions(
        assets=[
            _figure(
                "revenue_over_time",
                "Net revenue and returns by day, week or month, whichever fits the time covered.",
                [_REVENUE],
                _draw_revenue,
            ),
            _figure(
                "cohort_retention",
                "The share of each monthly cohort of customers that buys again, month by month.",
                [_RETENTION],
                _draw_retention,
            ),
            _figure(
                "segments",
                "Each segment's number of customers beside its predicted value.",
                [_SEGMENTS, _PREDICTIONS, _REVENUE],
                _draw_segments,
            ),
            _figure(
                "predicted_against_actual",
                "The served model's past predictions against what came, by decile, out-of-time.",
                [_BACKTEST, _PREDICTIONS, _REVENUE],
                _draw_predicted_against_actual,
            ),
            _figure(
                "gain_curve",
                "The share of actual value that the customers ranked highest brought, out-of-time.",
                [_BACKTEST, _PREDICTIONS],
                _draw_gain_curve,
            ),
            _figure(
                "model_comparison",
                "Each model's deviance, ranking, bias and error over the backtest's cut-offs.",
                [_BACKTEST, _PREDICTIONS],
                _draw_model_comparison,
            ),
        ]
    )


def _figure(
    name: str, description: str, deps: Sequence[AssetKey], draw: Callable[[Tables], "Plot"]
) -> AssetsDefinition:
    @asset(
        key=AssetKey([GROUP, name]),
        description=description,
        deps=deps,
        group_name=GROUP,
        owners=[OWNER],
        kinds={"matplotlib"},
    )
    def figure(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        started = time.monotonic()
        as_of = run_window.landed_as_of(settings, database)
        reader = database.as_role(Role.READER)
        plot = draw(Tables(reader, as_of, run_window.horizon(settings)))
        metadata = _keep(plot, name, settings)
        metadata["as_of_date"] = MetadataValue.text(as_of.isoformat())
        metadata["seconds"] = MetadataValue.float(round(time.monotonic() - started, 3))
        return MaterializeResult(metadata=metadata)

    return figure


def _keep(plot: "Plot", name: str, settings: Settings) -> dict[str, Any]:
    """Write the full image to its file; return it, reduced, and the numbers as metadata."""
    from retail_pipeline.figures.images import inline_markdown, png, write_atomically

    image = png(plot.figure)
    path = settings.home / GROUP / f"{name}.png"
    write_atomically(image, path)
    return {
        "figure": MetadataValue.md(inline_markdown(image, name.replace("_", " "))),
        "path": MetadataValue.path(path),
        **plot.numbers,
    }


def _draw_revenue(tables: Tables) -> "Plot":
    from retail_pipeline.figures.revenue import revenue_over_time

    columns = ["date_day", "sales_amount", "returns_amount", "net_amount"]
    frame = tables.database.read("warehouse.revenue_daily", columns)
    return revenue_over_time(frame, currency=tables.currency(), as_of=tables.as_of)


def _draw_retention(tables: Tables) -> "Plot":
    from retail_pipeline.figures.customers import cohort_retention

    columns = ["cohort_month", "months_since", "cohort_customers", "active_customers"]
    frame = tables.database.read("warehouse.cohort_retention", columns)
    return cohort_retention(frame, as_of=tables.as_of)


def _draw_segments(tables: Tables) -> "Plot":
    from retail_pipeline.figures.customers import segments

    frame = tables.database.read(
        "clv.segments",
        ["segment", "customers", "predicted_value"],
        where="as_of_date = %s and horizon_days = %s",
        params=[tables.as_of, tables.horizon_days],
    )
    return segments(
        frame,
        currency=tables.currency(),
        as_of=tables.as_of,
        horizon_days=tables.horizon_days,
        model_name=tables.served_model(),
    )


def _draw_predicted_against_actual(tables: Tables) -> "Plot":
    from retail_pipeline.figures.models import predicted_against_actual

    model = tables.served_model()
    return predicted_against_actual(
        tables.backtest("clv.backtest_predictions", _OUTCOMES, model),
        currency=tables.currency(),
        as_of=tables.as_of,
        horizon_days=tables.horizon_days,
        model_name=model,
    )


def _draw_gain_curve(tables: Tables) -> "Plot":
    from retail_pipeline.figures.models import gain_curve

    model = tables.served_model()
    return gain_curve(
        tables.backtest("clv.backtest_predictions", _OUTCOMES, model),
        as_of=tables.as_of,
        horizon_days=tables.horizon_days,
        model_name=model,
    )


def _draw_model_comparison(tables: Tables) -> "Plot":
    from retail_pipeline.figures.models import model_comparison

    return model_comparison(
        tables.backtest("clv.backtest_metrics", _METRICS),
        as_of=tables.as_of,
        horizon_days=tables.horizon_days,
        served=tables.served_model(),
        validated=tables.is_validated(),
    )
