"""Served predictions, totals and segments, as Dagster assets."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from retail_pipeline.clv.steps import Step, clv_asset
from retail_pipeline.dagster_support.asset_results import markdown
from retail_pipeline.dagster_support.spark_driver import run_driver
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import Engine, Settings

if TYPE_CHECKING:
    import pandas as pd


@clv_asset(
    *("clv/model", "warehouse/customer_features"),
    *("warehouse/fct_transaction_items", "warehouse/product_costs"),
)
def predictions(step: Step, settings: dg.ResourceParam[Settings]) -> tuple[int, dict[str, Any]]:
    """A customer's predicted value over the horizon, with interval, decile and segment."""
    from retail_pipeline.clv.serving.predicting import Prediction, predict

    wanted = Prediction(
        step.as_of,
        step.horizon_days,
        step.run_window.default_horizon_days,
        step.run_window.discount_rate,
    )
    if settings.engine is Engine.POSTGRES:
        return predict(step.database, wanted)
    done = run_driver(settings, step.database, **wanted.as_json())
    return done["rows"], {**done["metadata"], "executors": done["executors"]}


@clv_asset("clv/predictions", "warehouse/customer_features", "warehouse/customer_day_entries")
def totals(step: Step) -> tuple[int, dict[str, Any]]:
    """A group of customers: the predicted total over the horizon with an 80 % interval."""
    import pandas as pd

    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.models.seasonal import WITHOUT_SEASON
    from retail_pipeline.clv.serving import totals as groups

    model, version = _served_by(step)
    parts = (
        tables.customers_of_part(step.database, step.as_of, step.horizon_days, ids)
        for ids in tables.parts(step.database, step.as_of)
    )
    tests = tables.totals_tested(step.database, step.as_of, step.horizon_days, model)
    levels = groups.level_draws(tests, pd.Timestamp(step.as_of), model in WITHOUT_SEASON)
    table = groups.group_totals(parts, levels)
    then = model
    year_ago = groups.year_before(tests, pd.Timestamp(step.as_of))
    if not year_ago and model in WITHOUT_SEASON:
        then = WITHOUT_SEASON[model]
        others = tables.totals_tested(step.database, step.as_of, step.horizon_days, then)
        year_ago = groups.year_before(others, pd.Timestamp(step.as_of))
    everyone = table["grouping"] == "all"
    for name in ("predicted_year_ago", "actual_year_ago"):
        table[name] = pd.Series(year_ago.get(name), index=table.index, dtype=float).where(everyone)
    table = table.assign(
        as_of_date=pd.Timestamp(step.as_of),
        horizon_days=step.horizon_days,
        model_version=version,
        model_year_ago=pd.Series(then if year_ago else None, table.index, "string").where(everyone),
    )
    rows = step.database.publish(
        "clv.totals",
        tables.exact(
            table,
            *("predicted_value", "lower_80", "upper_80", "actual_before"),
            *("predicted_year_ago", "actual_year_ago"),
        ),
        ["as_of_date", "horizon_days", "grouping", "group_value"],
        replace_where=step.at,
    )
    whole = table[everyone].iloc[0]
    dated = ["as_of_date", "horizon_days", "model_version", "model_year_ago"]
    shown = table.drop(columns=dated).round(0).convert_dtypes()
    return rows, {
        **{name: float(whole[name]) for name in ("predicted_value", "lower_80", "upper_80")},
        **{f"{name}": float(value) for name, value in year_ago.items()},
        "segments": markdown(_spans(table[table["grouping"] == "segment"])),
        "totals": markdown(shown),
        "model_version": version,
    }


def _spans(groups: "pd.DataFrame") -> "pd.DataFrame":
    """Return the groups, the largest first, with total and range as numbers and as marks."""
    from retail_pipeline.wording import span

    numbers = ["lower_80", "predicted_value", "upper_80"]
    shown = groups.sort_values("predicted_value", ascending=False)[["group_value", *numbers]]
    most = float(shown["upper_80"].max())
    marks = [
        f"`{span(low, value, high, most, width=20)}`"
        for low, value, high in shown[numbers].to_numpy(float)
    ]
    shown.insert(1, "total and 80 % range", marks)
    return shown.drop(columns=["lower_80", "upper_80"]).round(0).convert_dtypes()


@clv_asset("clv/predictions")
def segments(step: Step) -> tuple[int, dict[str, Any]]:
    """A segment of customers: its size and predicted value."""
    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.serving.segments import ACTIONS, SEGMENTS, past_values, with_shares

    model, version = _served_by(step)
    past = step.database.read(
        "clv.backtest_predictions",
        ["cutoff_date", "predicted_value", "probability_active", "actual_value"],
        where="horizon_days = %s and model_name = %s order by cutoff_date, customer_id",
        params=[step.horizon_days, model],
    )
    one_in = tables.training_sample(step.database, step.as_of).one_customer_in
    counted = tables.counted_by(step.database, "segment", step.as_of, step.horizon_days)
    table = with_shares(counted).sort_values(
        "segment", key=lambda names: names.map(SEGMENTS.index), ignore_index=True
    )
    table["action"] = table["segment"].map(ACTIONS)
    table = table.join(past_values(past, step.horizon_days), on="segment")
    table["past_customers"] = table["past_customers"].fillna(0).astype(int) * one_in
    rows = _publish_sizes(step, "segment", table)
    return rows, {"segments": markdown(table.round(3)), "model_version": version}


@clv_asset("clv/predictions", "warehouse/customer_rfm")
def rfm_segments(step: Step) -> tuple[int, dict[str, Any]]:
    """A named RFM segment of customers: its size and predicted value."""
    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.serving.segments import with_shares

    _served_by(step)
    counted = tables.counted_by(step.database, "rfm_segment", step.as_of, step.horizon_days)
    table = with_shares(counted).drop(columns=[*tables.MONEY[1:]])
    table = table.sort_values(["predicted_value", "rfm_segment"], ascending=[False, True])
    rows = _publish_sizes(step, "rfm_segment", table)
    return rows, {"segments": markdown(table.round(3))}


@clv_asset("clv/predictions", "warehouse/customer_features", "warehouse/customer_rfm")
def segment_changes(step: Step) -> tuple[int, dict[str, Any]]:
    """A move of customers between two segments since the month start before, and their number."""
    import pandas as pd

    from retail_pipeline.clv.data import tables
    from retail_pipeline.clv.evaluation import promotion
    from retail_pipeline.clv.serving import segment_changes as changes

    database, as_of = step.database, step.as_of
    earlier = [day for day in tables.as_of_dates(database) if day < as_of and day.day == 1]
    since = max(earlier, default=as_of)
    served = promotion.load_serving(database, as_of, step.horizon_days).model
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
            horizon_days=step.horizon_days,
            since_date=pd.Timestamp(since),
        ),
        ["as_of_date", "horizon_days", "scheme", "label_before", "label_after"],
        replace_where=step.at,
    )
    moved = table[table["label_before"] != table["label_after"]]
    moved = moved.sort_values("customers_without_purchase", ascending=False)
    columns = ["label_before", "label_after", "customers", "customers_without_purchase"]
    return rows, {
        "since": since.isoformat(),
        **changes.idle_changes(table),
        **{f"{scheme}_moves": markdown(own[columns]) for scheme, own in moved.groupby("scheme")},
    }


def _served_by(step: Step) -> tuple[str, str]:
    """Return name and version of the model that the step's predictions are from.

    Raises:
        PipelineError: There are no predictions.
    """
    found = step.row(
        "select model_name, model_version from clv.predictions "
        "where as_of_date = %(as_of)s and horizon_days = %(horizon)s limit 1"
    )
    if not found:
        raise PipelineError(
            f"there are no predictions as of {step.as_of} for {step.horizon_days} days: "
            "materialize clv/predictions first"
        )
    return str(found["model_name"]), str(found["model_version"])


def _publish_sizes(step: Step, label: str, table: "pd.DataFrame") -> int:
    """Replace the rows of `clv.<label>s` at the step's date and horizon; return their number."""
    import pandas as pd

    from retail_pipeline.clv.data.tables import exact

    dated = table.assign(as_of_date=pd.Timestamp(step.as_of), horizon_days=step.horizon_days)
    return step.database.publish(
        f"clv.{label}s",
        exact(dated, "predicted_value", "mean_predicted_value"),
        ["as_of_date", "horizon_days", label],
        replace_where=step.at,
    )
