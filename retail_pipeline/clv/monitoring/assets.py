"""Explanations and monitoring of the served model, as Dagster assets."""

from typing import Any

from retail_pipeline.clv.steps import Step, clv_asset
from retail_pipeline.dagster_support.asset_results import markdown

MOST_EXPLAINED = 100_000
"""Most customers with reasons, by predicted value: each takes some twenty predictions and up to
three rows."""


@clv_asset("clv/predictions", "warehouse/customer_features", "warehouse/revenue_daily")
def prediction_reasons(step: Step) -> tuple[int, dict[str, Any]]:
    """A reason for a customer's prediction: a group of features and its effect in money."""
    import pandas as pd

    from retail_pipeline import shared_queries
    from retail_pipeline.clv.data.tables import exact
    from retail_pipeline.clv.evaluation import promotion
    from retail_pipeline.clv.monitoring import reasons, tables

    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    model = promotion.load_serving(database, as_of, horizon_days).model
    currency = shared_queries.currency(database)
    against = reasons.reference(model, tables.features(database, [as_of]))
    best = tables.best_customers(database, as_of, horizon_days, MOST_EXPLAINED)
    found = pd.concat(
        [reasons.explain(model, part, against, currency) for part in best], ignore_index=True
    )
    rows = database.publish(
        "clv.prediction_reasons",
        exact(found, "effect").assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days),
        ["customer_id", "as_of_date", "horizon_days", "reason_rank"],
        replace_where=f"horizon_days = {horizon_days}",
    )
    strongest = found.loc[found["reason_rank"] == 1, "feature_group"].value_counts()
    table = strongest.rename("strongest reason of").rename_axis("feature group").reset_index()
    return rows, {
        "customers": int(found["customer_id"].nunique()),
        "champion": model.name,
        "typical_prediction": round(against.prediction, 2),
        "groups_read": ", ".join(group.name for group in against.groups) or "none",
        "strongest": markdown(table),
    }


@clv_asset(
    *("clv/model", "clv/backtest_summary"),
    *("warehouse/customer_features", "warehouse/customer_day_entries"),
    # Lower priority than the steps that predictions depend on.
    op_tags={"dagster/priority": "-1"},
)
def feature_importance(step: Step) -> tuple[int, dict[str, Any]]:
    """A group of features: how much worse the champion predicts with it shuffled, out of time.

    A season moves all customers alike: of a seasonal model, the one without season is measured.
    """
    import pandas as pd

    from retail_pipeline.clv.data import dataset
    from retail_pipeline.clv.data import tables as inputs
    from retail_pipeline.clv.evaluation import promotion
    from retail_pipeline.clv.models.seasonal import WITHOUT_SEASON
    from retail_pipeline.clv.monitoring import importance, tables

    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    name = promotion.load_serving(database, as_of, horizon_days).model.name
    due = dataset.training_cutoffs(inputs.as_of_dates(database), as_of, horizon_days)
    table = importance.NOTHING
    if due:
        needed = [*dataset.training_cutoffs(due, due[-1], horizon_days), due[-1]]
        features = tables.features(database, needed, most=importance.MOST_TRAINING_ROWS)
        entries = tables.entries_of(database, features["customer_id"], as_of)
        fitted = WITHOUT_SEASON.get(name, name)
        table = importance.at_cutoff(fitted, features, entries, due[-1], as_of, horizon_days)
    rows = database.publish(
        "clv.feature_importance",
        table.assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days),
        ["as_of_date", "horizon_days", "feature_group"],
        replace_where=step.at,
    )
    return rows, {
        "champion": name,
        "cutoff": dataset.listed(due[-1:]),
        "importance": markdown(table[importance.COLUMNS].round(4)),
    }


@clv_asset(
    *("clv/predictions", "clv/training_set", "clv/backtest_summary"),
    "warehouse/customer_features",
)
def drift(step: Step) -> tuple[int, dict[str, Any]]:
    """A feature or prediction: the difference of its distribution from a reference."""
    import pandas as pd

    from retail_pipeline.clv.monitoring import stability, tables
    from retail_pipeline.clv.monitoring.drift import COLUMNS, compared

    sides = tables.comparisons(step.database, step.as_of, step.horizon_days)
    found = [row for reference, now, then in sides for row in compared(reference, now, then)]
    table = pd.DataFrame(found, columns=COLUMNS)
    rows = step.database.publish(
        "clv.drift",
        table.assign(as_of_date=pd.Timestamp(step.as_of), horizon_days=step.horizon_days),
        ["as_of_date", "horizon_days", "reference", "quantity"],
        replace_where=step.at,
    )
    shown = [
        *("reference", "reference_date", "quantity", "stability_index", "chance_95"),
        *("mean_value", "reference_mean_value"),
    ]
    most_moved = table.sort_values("stability_index", ascending=False)[shown].head(15)
    return rows, {
        "changed": int((table["stability_index"] >= stability.CHANGED).sum()),
        "most_moved": markdown(most_moved.round(3)),
    }


@clv_asset("clv/predictions", "clv/backtest_summary", "warehouse/customer_day_entries")
def realised_predictions(step: Step) -> tuple[int, dict[str, Any]]:
    """A decile of past predictions whose horizon has passed: predicted and actual value."""
    import pandas as pd

    from retail_pipeline.clv.data import tables as inputs
    from retail_pipeline.clv.monitoring import realised, tables

    database, as_of, horizon_days = step.database, step.as_of, step.horizon_days
    one_in = inputs.training_sample(database, as_of).one_customer_in
    served = tables.dates_to_judge(database, as_of, horizon_days)
    judged = [
        realised.by_decile(tables.latest_backtests(database, as_of, horizon_days), one_in),
        *(
            realised.by_decile(tables.served_with_outcome(database, day, horizon_days, as_of))
            for day in served
        ),
    ]
    table = pd.concat(judged, ignore_index=True)
    database.publish(
        "clv.realised_predictions",
        inputs.exact(table, "predicted_value", "realised_value").assign(
            horizon_days=horizon_days, judged_at_date=pd.Timestamp(as_of)
        ),
        [*realised.KEY, "horizon_days"],
        replace_where=f"horizon_days = {horizon_days} and origin = 'backtest'",
    )
    known = database.read("clv.realised_predictions", where=f"horizon_days = {horizon_days}")
    return len(known), {
        "judged": ", ".join(day.isoformat() for day in served) or "no served date is due",
        "totals": markdown(realised.totals(known).round(3)),
    }
