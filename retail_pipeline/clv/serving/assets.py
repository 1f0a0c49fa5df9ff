"""Served predictions and the segments that follow from them, as Dagster assets."""

import time
from datetime import UTC, date
from typing import TYPE_CHECKING, Any

import dagster as dg

from retail_pipeline.dagster_support.asset_results import markdown, table_result
from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database, Role

if TYPE_CHECKING:
    import pandas as pd

_FEATURES = dg.AssetKey(["warehouse", "customer_features"])
_RFM = dg.AssetKey(["warehouse", "customer_rfm"])
_PREDICTIONS = dg.AssetKey(["clv", "predictions"])
_KINDS = {"python", "postgres"}


@dg.asset(
    key_prefix="clv",
    deps=[
        ["clv", "model"],
        _FEATURES,
        ["warehouse", "fct_transaction_items"],
        ["warehouse", "product_costs"],
    ],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
)
@retried
def predictions(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A customer's predicted value over the horizon, with interval, decile and segment."""
    import pandas as pd

    from retail_pipeline.clv.data import dataset, tables
    from retail_pipeline.clv.evaluation import promotion
    from retail_pipeline.clv.serving.score import score_tables

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    rate = run_window.discount_rate
    serving = promotion.load_serving(database, as_of, horizon_days)
    cutoffs = dataset.training_cutoffs(tables.as_of_dates(database), as_of, horizon_days)
    frame = score_tables(database, serving.model, as_of, rate).assign(
        is_extrapolated=not cutoffs,
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
    return table_result(
        database,
        "clv.predictions",
        rows,
        started,
        champion=serving.model.name,
        model_version=serving.model_version,
        predicted_total=totals.pop("predicted_value"),
        discount_rate=rate,
        is_extrapolated=not cutoffs,
        **totals,
    )


@dg.asset(
    key_prefix="clv",
    deps=[_PREDICTIONS],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
)
@retried
def segments(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A segment of customers: how many they are and how much value is predicted for them."""
    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.serving.segments import past_values, present_values, summarise

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    served = _served(database, as_of, horizon_days)
    past = database.read(
        "clv.backtest_predictions",
        ["cutoff_date", "predicted_value", "probability_active", "actual_value"],
        where="horizon_days = %s and model_name = %s order by cutoff_date, customer_id",
        params=[horizon_days, served["model_name"].iloc[0]],
    )
    one_in = tables.training_sample(database, as_of).one_customer_in
    table = summarise(served).join(past_values(past, horizon_days), on="segment")
    table["past_customers"] = table["past_customers"].fillna(0).astype(int) * one_in
    table = table.join(present_values(served), on="segment")
    rows = tables.publish_sizes(database, "segments", "segment", table, as_of, horizon_days)
    return table_result(
        database,
        "clv.segments",
        rows,
        started,
        segments=markdown(table.round(3)),
        model_version=str(served["model_version"].iloc[0]),
    )


@dg.asset(
    key_prefix="clv",
    deps=[_PREDICTIONS, _RFM],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
)
@retried
def rfm_segments(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A named RFM segment, for communication: its size and the value predicted for it."""
    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.serving.segments import summarise_rfm

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    named = database.read("warehouse.customer_rfm", ["customer_id", "rfm_segment"])
    served = _served(database, as_of, horizon_days)
    table = summarise_rfm(served.merge(named, on="customer_id"))
    rows = tables.publish_sizes(database, "rfm_segments", "rfm_segment", table, as_of, horizon_days)
    return table_result(
        database, "clv.rfm_segments", rows, started, segments=markdown(table.round(3))
    )


@dg.asset(
    key_prefix="clv",
    deps=[_PREDICTIONS, _FEATURES, _RFM],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
)
@retried
def segment_changes(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A move of customers between two labels since the month start before, bought or not."""
    import pandas as pd

    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.evaluation import promotion
    from retail_pipeline.clv.serving import segment_changes as changes

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    earlier = [day for day in tables.as_of_dates(database) if day < as_of and day.day == 1]
    since = max(earlier, default=as_of)
    served = promotion.load_serving(database, as_of, horizon_days).model
    table = pd.concat(
        [
            changes.of_decisions(database, served, since, as_of).assign(scheme="decision"),
            changes.of_rfm(database).assign(scheme="rfm"),
        ],
        ignore_index=True,
    )
    rows = database.publish(
        "clv.segment_changes",
        table.assign(
            as_of_date=pd.Timestamp(as_of),
            horizon_days=horizon_days,
            since_date=pd.Timestamp(since),
        ),
        ["as_of_date", "horizon_days", "scheme", "label_before", "label_after"],
        replace_where=f"as_of_date = '{as_of}' and horizon_days = {horizon_days}",
    )
    return table_result(
        database,
        "clv.segment_changes",
        rows,
        started,
        since=since.isoformat(),
        **changes.idle_changes(table),
        **_moves_by_scheme(table),
    )


def _served(database: Database, as_of: date, horizon_days: int) -> "pd.DataFrame":
    """Return the served predictions in the order of the customers.

    Raises:
        PipelineError: There are none.
    """
    served = database.read(
        "clv.predictions",
        [
            *("customer_id", "segment", "predicted_value", "probability_active"),
            *("discounted_value", "predicted_margin", "discounted_margin"),
            *("model_name", "model_version"),
        ],
        where="as_of_date = %s and horizon_days = %s",
        params=[as_of, horizon_days],
    )
    if served.empty:
        raise PipelineError(
            f"there are no predictions as of {as_of} for {horizon_days} days: "
            "materialize clv/predictions first"
        )
    return served.sort_values("customer_id", ignore_index=True)


def _moves_by_scheme(moves: "pd.DataFrame") -> dict[str, Any]:
    moved = moves[moves["label_before"] != moves["label_after"]]
    moved = moved.sort_values("customers_without_purchase", ascending=False)
    columns = ["label_before", "label_after", "customers", "customers_without_purchase"]
    return {f"{scheme}_moves": markdown(own[columns]) for scheme, own in moved.groupby("scheme")}
