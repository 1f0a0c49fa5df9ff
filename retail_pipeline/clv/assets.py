"""Customer value as Dagster assets: read tables, call the pure modules, publish, attach metadata.

No modelling here: the steps and their order are those of `valuation`, with a table between each
two. scikit-learn and SciPy are imported while an asset runs only. The checks are in `checks`.
"""

import time
import warnings
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    BackfillPolicy,
    BetaWarning,
    Definitions,
    DynamicPartitionsDefinition,
    MaterializeResult,
    ResourceParam,
)

from retail_pipeline.clv.asset_parts import (
    GROUP,
    clv_asset,
    markdown,
    result,
    served_predictions,
    window,
)
from retail_pipeline.clv.checks import build_checks
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from retail_pipeline.clv.evaluation.selection import Decision

# Dagster is pinned exactly, so a beta parameter cannot change; saying so at each load helps nobody.
warnings.filterwarnings("ignore", message=".*backfill_policy", category=BetaWarning)

CUTOFFS = DynamicPartitionsDefinition(name="cutoff")
"""Past cut-offs of the backtest (ISO dates): `clv/backtest_summary` adds and removes them."""

_BACKTEST = AssetKey([GROUP, "backtest"])
_SUMMARY = AssetKey([GROUP, "backtest_summary"])
_RFM = AssetKey(["warehouse", "customer_rfm"])
_FEATURES = AssetKey(["warehouse", "customer_features"])
_ENTRIES = AssetKey(["warehouse", "customer_day_entries"])
_ITEMS = AssetKey(["warehouse", "fct_transaction_items"])
_COSTS = AssetKey(["warehouse", "product_costs"])
_TABLE_KINDS = {"python", "postgres"}
_MODEL_KINDS = {"python", "scikitlearn", "postgres"}


def build_clv() -> Definitions:
    """Return the assets and checks of customer lifetime value; contacts nothing."""
    assets = [
        training_set(),
        candidates(),
        backtest(),
        backtest_summary(),
        model(),
        predictions(),
        segments(),
        rfm_segments(),
        segment_changes(),
    ]
    return Definitions(assets=assets, asset_checks=build_checks())


def training_set() -> AssetsDefinition:
    """Return the asset `clv/training_set`."""

    @clv_asset("training_set", [_FEATURES, _ENTRIES], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A customer at a past cut-off, with its features and the outcome that followed."""
        from retail_pipeline.clv.data import (
            dataset,
            inputs,
            tables,
        )

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        cutoffs = dataset.training_cutoffs(tables.as_of_dates(database), as_of, horizon_days)
        buckets = tables.buckets(database, as_of)
        features = tables.features(database, [*cutoffs, as_of], buckets)
        entries = tables.entries(database, as_of, buckets)
        digest = inputs.digest(
            [inputs.code_version(), cutoffs, inputs.of_rows(features), inputs.of_rows(entries)]
        )
        kept = _is_kept(database, "training_set", run_window, as_of, horizon_days, digest)
        if kept:
            rows = _count(database, "clv.training_set", f"horizon_days = {horizon_days}")
        else:
            frame = dataset.training_set(features, entries, as_of, horizon_days)
            rows = tables.publish_training_set(database, frame, horizon_days)
            tables.keep_digests(database, "training_set", horizon_days, {as_of: digest})
        return result(
            database,
            "clv.training_set",
            rows,
            started,
            cutoffs=_listed(cutoffs),
            one_customer_in=buckets.count,
            reused=kept,
            input_digest=digest,
        )

    return build


def candidates() -> AssetsDefinition:
    """Return the asset `clv/candidates`."""

    @clv_asset("candidates", [AssetKey([GROUP, "training_set"]), _FEATURES], _MODEL_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A model fitted as of this run's date, stored as plain parameters; a challenger so far."""
        from retail_pipeline.clv.data import (
            dataset,
            inputs,
            tables,
        )
        from retail_pipeline.clv.evaluation.candidates import fit_candidates
        from retail_pipeline.clv.serving import store

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        buckets = tables.buckets(database, as_of)
        today = dataset.population(tables.features(database, [as_of], buckets), as_of)
        learned_from = tables.digests(database, "training_set", horizon_days).get(as_of)
        digest = inputs.digest([inputs.code_version(), learned_from, inputs.of_rows(today)])
        kept = learned_from is not None and _is_kept(
            database, "candidates", run_window, as_of, horizon_days, digest
        )
        if not kept:
            labelled = dataset.prepare_features(
                database.read("clv.training_set", where="horizon_days = %s", params=[horizon_days])
            )
            fitted = fit_candidates(labelled, today, horizon_days)
            training = store.Training(
                as_of,
                horizon_days,
                read_state(database).data_version,
                datetime.now(UTC),
                inputs.code_version(),
                is_extrapolated=labelled.empty,
                one_customer_in=buckets.count,
            )
            tables.forget_digests(database, "candidates", horizon_days, [as_of])
            store.save_candidates(database, fitted, training)
            tables.keep_digests(database, "candidates", horizon_days, {as_of: digest})
        table = store.training_report(database, as_of, horizon_days)
        return result(
            database,
            "clv.model_versions",
            int(table["version"].notna().sum()),
            started,
            models=markdown(table.round(3)),
            fit_seconds=0.0 if kept else round(float(table["fit seconds"].sum()), 3),
            artifact_kib=round(float(table["KiB"].sum()), 1),
            customers=len(today),
            one_customer_in=buckets.count,
            reused=kept,
            input_digest=digest,
            code_version=inputs.code_version(),
        )

    return build


def backtest() -> AssetsDefinition:
    """Return the partitioned asset `clv/backtest`: chosen cut-offs, tested whatever is there.

    It is in no job that a fresh instance starts with one click: that would ask for partitions, and
    there are none yet. `clv/backtest_summary` fills and reports the partitions of a run.
    """

    @clv_asset(
        "backtest",
        [_FEATURES, _ENTRIES],
        _MODEL_KINDS,
        partitions_def=CUTOFFS,
        backfill_policy=BackfillPolicy.single_run(),
    )
    def build(
        context: AssetExecutionContext,
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A model at a past cut-off: what it would have predicted, and how good that was."""
        import pandas as pd

        from retail_pipeline.clv.data import tables
        from retail_pipeline.clv.evaluation import cutoffs

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        asked = {key: date.fromisoformat(key) for key in context.partition_keys}
        done = cutoffs.test(database, as_of, horizon_days, list(asked.values()))
        metrics = tables.backtest_metrics(database, as_of, horizon_days)
        for key, cutoff in asked.items():
            if cutoff not in done.tested:
                context.log.warning(
                    f"{key} is none of the cut-offs whose outcome of {horizon_days} days is "
                    f"complete as of {as_of} ({_listed(done.due)}): nothing was tested there"
                )
            context.add_asset_metadata(_of_cutoff(metrics, cutoff, horizon_days), partition_key=key)
        return result(
            database,
            "clv.backtest_metrics",
            int(metrics["cutoff_date"].isin([pd.Timestamp(day) for day in done.tested]).sum()),
            started,
            horizon_days=horizon_days,
            cutoffs=_listed(done.tested),
            predictions=done.predictions,
        )

    return build


def backtest_summary() -> AssetsDefinition:
    """Return the asset `clv/backtest_summary`, which brings `clv/backtest` up to date."""

    # Not on clv/backtest: what was never materialized upstream, the UI asks about before it starts.
    @clv_asset(
        "backtest_summary", [AssetKey([GROUP, "candidates"]), _FEATURES, _ENTRIES], _MODEL_KINDS
    )
    def build(
        context: AssetExecutionContext,
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A model over the past cut-offs that are due: its mean metrics; missing ones are made."""
        from retail_pipeline.clv.data import tables
        from retail_pipeline.clv.evaluation import cutoffs

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        done = cutoffs.bring_up_to_date(
            database, as_of, horizon_days, afresh=run_window.full_refresh
        )
        metrics = tables.backtest_metrics(database, as_of, horizon_days)
        _note_partitions(context, cutoffs.all_cutoffs(database), done, metrics, horizon_days)
        rows = database.publish(
            "clv.backtest_summary",
            cutoffs.summary(metrics, as_of, horizon_days),
            ["model_name", "horizon_days"],
            replace_where=f"horizon_days = {horizon_days}",
        )
        return result(
            database,
            "clv.backtest_summary",
            rows,
            started,
            cutoffs=_listed(done.due),
            tested=len(done.tested),
            reused=len(done.kept),
            metrics=markdown(cutoffs.mean_metrics(metrics)),
            abstentions=markdown(cutoffs.abstentions(database, horizon_days, done.due)),
            predictions=done.predictions,
        )

    return build


def model() -> AssetsDefinition:
    """Return the asset `clv/model`."""

    @clv_asset("model", [AssetKey([GROUP, "candidates"]), _SUMMARY], _MODEL_KINDS)
    def build(
        context: AssetExecutionContext,
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A decision on which model serves: the champion, with its numbers and the reason."""
        from retail_pipeline.clv.data import tables
        from retail_pipeline.clv.evaluation import selection
        from retail_pipeline.clv.serving import store

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        versions = store.candidate_versions(database, as_of, horizon_days)
        metrics = tables.backtest_metrics(database, as_of, horizon_days)
        decision = selection.choose(metrics, versions, as_of)
        store.promote(database, decision, versions, as_of, horizon_days, datetime.now(UTC))
        served = store.serving_record(database, as_of, horizon_days)
        if not served.validated or served.is_pinned:
            context.log.warning(served.reason)
        return result(
            database,
            "clv.model_decisions",
            1,
            started,
            champion=served.model_name,
            model_version=served.model_version,
            validated=served.validated,
            pinned=served.is_pinned,
            reason=served.reason,
            incumbent=decision.incumbent,
            leaderboard=markdown(_leaderboard(decision)),
            artifact_kib=round(served.artifact_bytes / 1024, 1),
            load_seconds=round(served.load_seconds, 4),
            **_numbers_of(decision, served.model_name),
        )

    return build


def predictions() -> AssetsDefinition:
    """Return the asset `clv/predictions`."""

    @clv_asset("predictions", [AssetKey([GROUP, "model"]), _FEATURES, _ITEMS, _COSTS], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A customer's predicted value over the horizon, with interval, decile and segment."""
        import pandas as pd

        from retail_pipeline.clv.data import (
            dataset,
            tables,
        )
        from retail_pipeline.clv.serving import (
            margin,
            scoring,
            store,
            valuation,
        )

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        rate = run_window.yearly_rate(settings)
        serving = store.load_serving(database, as_of, horizon_days)
        past = database.read(
            "clv.backtest_predictions",
            valuation.PAST_COLUMNS,
            where="horizon_days = %s and model_name = %s",
            params=[horizon_days, serving.model.name],
        )
        calibration = valuation.calibration_for(serving.model, past, as_of)
        parts = scoring.predicted(database, serving.model, as_of, rate, draws=calibration is None)
        scored = valuation.ranked(
            serving.model, [part.predictions for part in parts], calibration, as_of
        )
        sales = pd.concat([part.sales for part in parts], ignore_index=True)
        frame = margin.with_margins(scored, sales).assign(
            is_extrapolated=not dataset.training_cutoffs(
                tables.as_of_dates(database), as_of, horizon_days
            ),
            model_version=serving.model_version,
            predicted_at=pd.Timestamp.now(UTC),
        )
        totals = {name: float(frame[name].sum()) for name in tables.WORTH if name in frame}
        rows = database.publish(
            "clv.predictions",
            tables.exact(frame, "lower_80", "upper_80", *totals),
            ["customer_id", "as_of_date", "horizon_days"],
            replace_where=f"as_of_date = '{as_of}' and horizon_days = {horizon_days}",
        )
        return result(
            database,
            "clv.predictions",
            rows,
            started,
            champion=serving.model.name,
            model_version=serving.model_version,
            predicted_total=totals.pop("predicted_value"),
            discount_rate=rate,
            is_extrapolated=bool(frame["is_extrapolated"].any()),
            parts=len(parts),
            **totals,
        )

    return build


def segments() -> AssetsDefinition:
    """Return the asset `clv/segments`."""

    @clv_asset("segments", [AssetKey([GROUP, "predictions"])], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A segment of customers: how many they are and how much value is predicted for them."""
        from retail_pipeline.clv.data import tables
        from retail_pipeline.clv.serving.segments import (
            past_worth,
            summarise,
            worth,
        )

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        served = served_predictions(database, as_of, horizon_days)
        past = database.read(
            "clv.backtest_predictions",
            ["cutoff_date", "predicted_value", "probability_active", "actual_value"],
            where="horizon_days = %s and model_name = %s order by cutoff_date, customer_id",
            params=[horizon_days, served["model_name"].iloc[0]],
        )
        learned = tables.buckets(database, as_of).count
        table = summarise(served).join(past_worth(past, horizon_days), on="segment")
        table["past_customers"] = table["past_customers"].fillna(0).astype(int) * learned
        table = table.join(worth(served), on="segment")
        rows = tables.publish_sizes(database, "segments", "segment", table, as_of, horizon_days)
        return result(
            database,
            "clv.segments",
            rows,
            started,
            segments=markdown(table.round(3)),
            model_version=str(served["model_version"].iloc[0]),
        )

    return build


def rfm_segments() -> AssetsDefinition:
    """Return the asset `clv/rfm_segments`."""

    @clv_asset("rfm_segments", [AssetKey([GROUP, "predictions"]), _RFM], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A named RFM segment, for communication: its size and the value predicted for it."""
        from retail_pipeline.clv.data import tables
        from retail_pipeline.clv.serving.segments import summarise_rfm

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        named = database.read("warehouse.customer_rfm", ["customer_id", "rfm_segment"])
        table = summarise_rfm(
            served_predictions(database, as_of, horizon_days).merge(named, on="customer_id")
        )
        rows = tables.publish_sizes(
            database, "rfm_segments", "rfm_segment", table, as_of, horizon_days
        )
        return result(
            database, "clv.rfm_segments", rows, started, segments=markdown(table.round(3))
        )

    return build


def segment_changes() -> AssetsDefinition:
    """Return the asset `clv/segment_changes`."""

    @clv_asset("segment_changes", [AssetKey([GROUP, "predictions"]), _FEATURES], _TABLE_KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A move of customers between two labels since the month first before, bought or not."""
        import pandas as pd

        from retail_pipeline.clv.data import tables
        from retail_pipeline.clv.serving import (
            scoring,
            store,
        )
        from retail_pipeline.clv.serving.segments import (
            idle_changes,
            moves,
        )

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        earlier = [day for day in tables.as_of_dates(database) if day < as_of and day.day == 1]
        since = max(earlier, default=as_of)
        served = store.load_serving(database, as_of, horizon_days).model
        before, after = (scoring.labelled(database, served, day) for day in (since, as_of))
        table = moves(before, after, since, horizon_days)
        rows_written = database.publish(
            "clv.segment_changes",
            table.assign(
                as_of_date=pd.Timestamp(as_of),
                horizon_days=horizon_days,
                since_date=pd.Timestamp(since),
            ),
            ["as_of_date", "horizon_days", "scheme", "label_before", "label_after"],
            replace_where=f"as_of_date = '{as_of}' and horizon_days = {horizon_days}",
        )
        return result(
            database,
            "clv.segment_changes",
            rows_written,
            started,
            since=since.isoformat(),
            **idle_changes(table),
            **_moves_by_scheme(table),
        )

    return build


def _is_kept(
    database: Database,
    name: str,
    run_window: RunWindow,
    as_of: date,
    horizon_days: int,
    digest: str,
) -> bool:
    """Whether the tables hold what these inputs give; never in a full refresh."""
    from retail_pipeline.clv.data import tables

    kept = tables.digests(database, name, horizon_days).get(as_of)
    return kept == digest and not run_window.full_refresh


def _count(database: Database, table: str, where: str) -> int:
    rows = database.query(f"select count(*) as rows from {table} where {where}")
    return int(rows["rows"].iloc[0])


def _note_partitions(
    context: AssetExecutionContext,
    cutoffs: set[date],
    done: Any,
    metrics: "pd.DataFrame",
    horizon_days: int,
) -> None:
    """Make the partitions those that the tables hold; report each that was made or is unknown."""
    instance, name = context.instance, str(CUTOFFS.name)
    held = {cutoff.isoformat() for cutoff in {*cutoffs, *done.due}}
    for key in sorted(set(instance.get_dynamic_partitions(name)) - held):
        instance.delete_dynamic_partition(name, key)
    instance.add_dynamic_partitions(name, sorted(held))
    known = instance.get_materialized_partitions(_BACKTEST)
    for cutoff in done.due:
        if cutoff in done.tested or cutoff.isoformat() not in known:
            context.log_event(
                AssetMaterialization(
                    asset_key=_BACKTEST,
                    partition=cutoff.isoformat(),
                    metadata=_of_cutoff(metrics, cutoff, horizon_days),
                )
            )


def _of_cutoff(metrics: "pd.DataFrame", cutoff: date, horizon_days: int) -> dict[str, Any]:
    """Return what a partition shows: its rows, and each model's metrics there."""
    import pandas as pd

    from retail_pipeline.clv.evaluation.metrics import METRICS

    here = metrics[metrics["cutoff_date"] == pd.Timestamp(cutoff)]
    table = here[["model_name", "customers", "training_rows", *METRICS]].round(3)
    return {
        "dagster/partition_row_count": len(here),
        "horizon_days": horizon_days,
        "metrics": markdown(table.sort_values("tweedie_deviance")),
    }


def _moves_by_scheme(moves: "pd.DataFrame") -> dict[str, Any]:
    moved = moves[moves["label_before"] != moves["label_after"]]
    moved = moved.sort_values("customers_without_purchase", ascending=False)
    columns = ["label_before", "label_after", "customers", "customers_without_purchase"]
    return {f"{scheme}_moves": markdown(own[columns]) for scheme, own in moved.groupby("scheme")}


def _numbers_of(decision: "Decision", model_name: str) -> dict[str, float]:
    """Return a model's row of the leaderboard as numbers, which Dagster plots over time."""
    board = decision.leaderboard
    if model_name not in set(board.get("model_name", ())):
        return {}
    row = board.set_index("model_name").loc[model_name].dropna()
    return {
        str(name): round(float(value), 4)
        for name, value in row.items()
        if isinstance(value, int | float)
    }


def _leaderboard(decision: "Decision") -> "pd.DataFrame":
    board = decision.leaderboard
    return board.round(dict.fromkeys(board.select_dtypes("number").columns, 3))


def _listed(cutoffs: Sequence[date]) -> str:
    return ", ".join(cutoff.isoformat() for cutoff in cutoffs) or "none has a complete outcome"
