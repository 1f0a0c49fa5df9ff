"""The backtest and the choice of the model that serves, as Dagster assets."""

import warnings
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from retail_pipeline import shared_queries
from retail_pipeline.clv.steps import Step, clv_asset
from retail_pipeline.dagster_support.asset_results import markdown

if TYPE_CHECKING:
    import pandas as pd

    from retail_pipeline.clv.evaluation.selection import Decision
    from retail_pipeline.clv.evaluation.stored_backtest import Progress

# Dagster is pinned exactly, so a beta parameter cannot change and needs no warning at each load.
warnings.filterwarnings("ignore", message=".*backfill_policy", category=dg.BetaWarning)

CUTOFFS = dg.DynamicPartitionsDefinition(name="cutoff")
"""Past cut-offs of the backtest (ISO dates): `clv/backtest_summary` adds and removes them."""

_BACKTEST = dg.AssetKey(["clv", "backtest"])
_KINDS = ("python", "scikitlearn", "postgres")


@clv_asset(
    "warehouse/customer_features",
    "warehouse/customer_day_entries",
    table="backtest_metrics",
    kinds=_KINDS,
    partitions_def=CUTOFFS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def backtest(step: Step) -> tuple[int, dict[str, Any]]:
    """A model at a past cut-off: its predictions then, and metrics against the actual outcome.

    A run of this asset tests the cut-offs of the selected partitions, stale or not. The main job
    leaves it out, as Dagster would require a choice of partitions before any exist; there,
    `clv/backtest_summary` tests the cut-offs and reports them as partitions of this asset.
    """
    from retail_pipeline.clv.data import dataset, tables
    from retail_pipeline.clv.evaluation import stored_backtest

    context = dg.AssetExecutionContext.get()
    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    cutoffs = {key: date.fromisoformat(key) for key in context.partition_keys}
    done = stored_backtest.test(database, as_of, horizon_days, list(cutoffs.values()))
    metrics = tables.backtest_metrics(database, as_of, horizon_days)
    for key, cutoff in cutoffs.items():
        if cutoff not in done.tested:
            context.log.warning(
                f"{key} was not tested: the cut-offs with a complete outcome of {horizon_days} "
                f"days as of {as_of} are: {dataset.listed(done.due)}"
            )
        context.add_asset_metadata(_of_cutoff(metrics, cutoff, horizon_days), partition_key=key)
    return int(metrics["cutoff_date"].dt.date.isin(done.tested).sum()), {
        "horizon_days": horizon_days,
        "cutoffs": dataset.listed(done.tested),
        "predictions": done.predictions,
    }


@clv_asset(
    # No dependency on clv/backtest: the UI warns before a run with an unmaterialized upstream.
    "clv/candidates",
    "warehouse/customer_features",
    "warehouse/customer_day_entries",
    kinds=_KINDS,
)
def backtest_summary(step: Step) -> tuple[int, dict[str, Any]]:
    """A model's mean metrics over the past cut-offs; tests those that are missing or stale.

    Each tested cut-off is reported as a partition of `clv/backtest`. The main job cannot include
    `clv/backtest` itself: Dagster would require a choice of partitions, which a new instance does
    not have and which change every month. A run launched by the main job could end after it.
    """
    from retail_pipeline.clv.data import dataset, tables
    from retail_pipeline.clv.evaluation import stored_backtest

    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    done = stored_backtest.bring_up_to_date(
        database, as_of, horizon_days, afresh=step.run_window.full_refresh
    )
    metrics = tables.backtest_metrics(database, as_of, horizon_days)
    _report_partitions(stored_backtest.all_cutoffs(database), done, metrics, horizon_days)
    rows = database.publish(
        "clv.backtest_summary",
        stored_backtest.summary(metrics, as_of, horizon_days),
        ["model_name", "horizon_days"],
        replace_where=f"horizon_days = {horizon_days}",
    )
    return rows, {
        "cutoffs": dataset.listed(done.due),
        "tested": len(done.tested),
        "reused": len(done.kept),
        "metrics": markdown(stored_backtest.mean_metrics(metrics)),
        "abstentions": markdown(stored_backtest.abstentions(database, horizon_days, done.due)),
        "predictions": done.predictions,
    }


@clv_asset("clv/candidates", "clv/backtest_summary", table="model_decisions", kinds=_KINDS)
def model(step: Step) -> tuple[int, dict[str, Any]]:
    """A decision on the model that serves: the champion, with its metrics and the reason."""
    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.evaluation import promotion, selection
    from retail_pipeline.clv.models import registry

    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    versions = registry.candidate_versions(database, as_of, horizon_days)
    metrics = tables.backtest_metrics(database, as_of, horizon_days)
    decision = selection.choose(metrics, versions, as_of)
    now = datetime.now(UTC)
    served = promotion.promote(database, decision, versions, as_of, horizon_days, now)
    if not served.decision.validated or served.is_pinned:
        dg.AssetExecutionContext.get().log.warning(served.decision.reason)
    return 1, {
        "champion": served.decision.model_name,
        "model_version": served.model_version,
        "validated": served.decision.validated,
        "pinned": served.is_pinned,
        "reason": served.decision.reason,
        "incumbent": selection.INCUMBENT,
        "leaderboard": markdown(_rounded(decision.leaderboard)),
        "bias_by_cutoff": markdown(_biases(step, served.decision.model_name)),
        **_numbers_of(decision, served.decision.model_name),
    }


@clv_asset("clv/candidates", "warehouse/customer_features", "warehouse/customer_days")
def purchase_tracking(step: Step) -> tuple[int, dict[str, Any]]:
    """A week: repeat purchases, actual and expected by Pareto/NBD as fitted at a past cut-off.

    It fills `clv.recency_frequency`, too: probabilities by purchase history as fitted last.
    Only the latest as-of date of a horizon stays in both.
    """
    import pandas as pd

    from retail_pipeline.clv.evaluation import tracking

    inputs = (step.database, step.as_of, step.horizon_days)
    rows = {}
    for table, frame, key in (
        ("purchase_tracking", tracking.weeks(*inputs), ["week_start"]),
        ("recency_frequency", tracking.cells(*inputs), ["purchases", "days_since_last"]),
    ):
        rows[table] = step.database.publish(
            f"clv.{table}",
            frame.assign(as_of_date=pd.Timestamp(step.as_of), horizon_days=step.horizon_days),
            ["as_of_date", "horizon_days", *key],
            replace_where=f"horizon_days = {step.horizon_days}",
        )
    return rows["purchase_tracking"], {"histories": rows["recency_frequency"]}


def _report_partitions(
    held: set[date], done: "Progress", metrics: "pd.DataFrame", horizon_days: int
) -> None:
    """Set the partitions to the cut-offs in the tables; report those new or tested now."""
    context = dg.AssetExecutionContext.get()
    instance, name = context.instance, str(CUTOFFS.name)
    keys = {cutoff.isoformat() for cutoff in {*held, *done.due}}
    for key in sorted(set(instance.get_dynamic_partitions(name)) - keys):
        instance.delete_dynamic_partition(name, key)
    instance.add_dynamic_partitions(name, sorted(keys))
    known = instance.get_materialized_partitions(_BACKTEST)
    for cutoff in done.due:
        if cutoff in done.tested or cutoff.isoformat() not in known:
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=_BACKTEST,
                    partition=cutoff.isoformat(),
                    metadata=_of_cutoff(metrics, cutoff, horizon_days),
                )
            )


def _of_cutoff(metrics: "pd.DataFrame", cutoff: date, horizon_days: int) -> dict[str, Any]:
    """Return a partition's metadata: its number of rows and each model's metrics."""
    from retail_pipeline.clv.evaluation.metrics import METRICS

    here = metrics[metrics["cutoff_date"].dt.date == cutoff]
    table = here[["model_name", "customers", "training_rows", *METRICS]].round(3)
    return {
        "dagster/partition_row_count": len(here),
        "horizon_days": horizon_days,
        "metrics": markdown(table.sort_values("tweedie_deviance")),
    }


def _numbers_of(decision: "Decision", model_name: str) -> dict[str, float]:
    """Return the numbers in a model's row of the leaderboard; Dagster plots them over time."""
    board = decision.leaderboard
    if model_name not in set(board.get("model_name", ())):
        return {}
    row = board.set_index("model_name").loc[model_name].dropna()
    return {
        str(name): round(float(value), 4)
        for name, value in row.items()
        if isinstance(value, int | float)
    }


def _biases(step: Step, model_name: str) -> "pd.DataFrame":
    """Return a model's bias at each cut-off beside that of the one without season."""
    from retail_pipeline.clv.models.seasonal import WITHOUT_SEASON

    models = dict.fromkeys([model_name, WITHOUT_SEASON.get(model_name, model_name)])
    found = shared_queries.bias_by_cutoff(step.database, step.as_of, step.horizon_days, models)
    return found.round(3).replace({"same_season": {True: "a year before", False: ""}})


def _rounded(board: "pd.DataFrame") -> "pd.DataFrame":
    return board.round(dict.fromkeys(board.select_dtypes("number").columns, 3))
