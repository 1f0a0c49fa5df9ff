"""Explanations of the served model, and whether it still fits, as Dagster assets."""

import time

import dagster as dg

from retail_pipeline.dagster_support.asset_results import markdown, table_result
from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database, Role

MOST_EXPLAINED = 100_000
"""Customers with reasons, those of the highest predicted value first: each costs some twenty
predictions and three rows."""

_FEATURES = dg.AssetKey(["warehouse", "customer_features"])
_ENTRIES = dg.AssetKey(["warehouse", "customer_day_entries"])
_PREDICTIONS = dg.AssetKey(["clv", "predictions"])
_BACKTEST = dg.AssetKey(["clv", "backtest_summary"])
_KINDS = {"python", "postgres"}
_AFTER_DECISIONS = {"dagster/priority": "-1"}
"""Steps that decide come before a step that explains."""


@dg.asset(
    key_prefix="clv",
    deps=[_PREDICTIONS, _FEATURES, ["warehouse", "revenue_daily"]],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
)
@retried
def prediction_reasons(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A reason for a customer's prediction: what moved it, in money and in words."""
    import pandas as pd

    from retail_pipeline.clv.data.tables import exact
    from retail_pipeline.clv.evaluation import promotion
    from retail_pipeline.clv.monitoring import reasons, tables

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    model = promotion.load_serving(database, as_of, horizon_days).model
    currency = tables.currency(database)
    against = reasons.reference(model, tables.features(database, [as_of]))
    rows, customers, strongest = 0, 0, pd.Series(dtype=int)
    for part in tables.best_customers(database, as_of, horizon_days, MOST_EXPLAINED):
        found = reasons.explain(model, part, against, currency)
        dated = found.assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days)
        rows += database.publish(
            "clv.prediction_reasons",
            exact(dated, "effect"),
            ["customer_id", "as_of_date", "horizon_days", "reason_rank"],
            replace_where=None if customers else f"horizon_days = {horizon_days}",
        )
        customers += len(part)
        first = found.loc[found["reason_rank"] == 1, "feature_group"]
        strongest = strongest.add(first.value_counts(), fill_value=0)
    table = strongest.sort_values(ascending=False).astype(int).rename("strongest reason of")
    return table_result(
        database,
        "clv.prediction_reasons",
        rows,
        started,
        customers=customers,
        champion=model.name,
        typical_prediction=round(against.prediction, 2),
        groups_read=", ".join(group.name for group in against.groups) or "none",
        strongest=markdown(table.rename_axis("feature group").reset_index()),
    )


@dg.asset(
    key_prefix="clv",
    deps=[["clv", "model"], _BACKTEST, _FEATURES, _ENTRIES],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
    op_tags=_AFTER_DECISIONS,
)
@retried
def feature_importance(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A group of features: how much worse the champion predicts without it, out of time."""
    import pandas as pd

    from retail_pipeline.clv.data import dataset
    from retail_pipeline.clv.data import tables as inputs
    from retail_pipeline.clv.evaluation import promotion
    from retail_pipeline.clv.monitoring import importance, tables

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    name = promotion.load_serving(database, as_of, horizon_days).model.name
    due = dataset.training_cutoffs(inputs.as_of_dates(database), as_of, horizon_days)
    database.execute(
        "delete from clv.feature_importance where as_of_date = %s and horizon_days = %s",
        [as_of, horizon_days],
    )
    table = pd.DataFrame(columns=importance.COLUMNS)
    if due:
        needed = [*dataset.training_cutoffs(due, due[-1], horizon_days), due[-1]]
        features = tables.features(database, needed, most=importance.MOST_TRAINING_ROWS)
        entries = tables.entries_of(database, features["customer_id"], as_of)
        table = importance.at_cutoff(name, features, entries, due[-1], as_of, horizon_days)
    if len(table):
        database.publish(
            "clv.feature_importance",
            table.assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days),
            ["as_of_date", "horizon_days", "feature_group"],
        )
    return table_result(
        database,
        "clv.feature_importance",
        len(table),
        started,
        champion=name,
        cutoff=dataset.listed(due[-1:]),
        customers=int(table["customers"].max()) if len(table) else 0,
        importance=markdown(table[importance.COLUMNS].round(4)),
    )


@dg.asset(
    key_prefix="clv",
    deps=[_PREDICTIONS, ["clv", "training_set"], _BACKTEST, _FEATURES],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
)
@retried
def drift(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A feature or prediction: how far its distribution has moved from a reference."""
    import pandas as pd

    from retail_pipeline.clv.monitoring import stability, tables
    from retail_pipeline.clv.monitoring.drift import compared

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    parts = [
        compared(now, then, is_prediction=is_prediction).assign(
            reference=reference, reference_date=pd.Timestamp(day)
        )
        for is_prediction, samples in (
            (False, tables.compared_features(database, as_of, horizon_days)),
            (True, tables.compared_predictions(database, as_of, horizon_days)),
        )
        for reference, day, now, then in samples
    ]
    columns = ["as_of_date", "horizon_days", "reference", "reference_date"]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    if len(table):
        database.publish(
            "clv.drift",
            table.assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days),
            ["as_of_date", "horizon_days", "reference", "quantity"],
            replace_where=f"as_of_date = '{as_of}' and horizon_days = {horizon_days}",
        )
        table = table.sort_values("stability_index", ascending=False)
    shown = [
        *("reference", "reference_date", "quantity", "stability_index", "chance_95"),
        *("mean_value", "reference_mean_value"),
    ]
    changed = int((table["stability_index"] >= stability.CHANGED).sum()) if len(table) else 0
    most = markdown(table[shown].head(15).round(3)) if len(table) else "nothing to compare"
    return table_result(
        database, "clv.drift", len(table), started, changed=changed, most_moved=most
    )


@dg.asset(
    key_prefix="clv",
    deps=[_PREDICTIONS, _BACKTEST, _ENTRIES],
    group_name="clv",
    owners=["team:data-science"],
    kinds=_KINDS,
)
@retried
def realised_predictions(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A decile of past predictions whose horizon has passed: predicted beside actual value."""
    import pandas as pd

    from retail_pipeline.clv.data.tables import exact
    from retail_pipeline.clv.monitoring import realised, tables

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    served = tables.dates_to_judge(database, as_of, horizon_days)
    parts = [
        realised.judged(
            tables.served_with_outcome(database, day, horizon_days, as_of), day, "served", as_of
        )
        for day in served
    ]
    parts += [
        realised.judged(past, cutoff, "backtest", as_of, one_customer_in)
        for cutoff, past, one_customer_in in tables.latest_backtests(database, as_of, horizon_days)
    ]
    database.execute(
        "delete from clv.realised_predictions where horizon_days = %s and origin = 'backtest'",
        [horizon_days],
    )
    if parts:
        table = pd.concat(parts, ignore_index=True).assign(horizon_days=horizon_days)
        database.publish(
            "clv.realised_predictions",
            exact(table, "predicted_value", "realised_value"),
            ["as_of_date", "horizon_days", "origin", "clv_decile"],
        )
    known = database.read(
        "clv.realised_predictions",
        where="horizon_days = %s order by as_of_date desc",
        params=[horizon_days],
    )
    totals = realised.totals(known)
    return table_result(
        database,
        "clv.realised_predictions",
        len(known),
        started,
        judged=", ".join(day.isoformat() for day in served) or "no served date is due",
        totals=markdown(totals.round(3)) if len(totals) else "nothing has come due",
    )
