"""Oversight as Dagster assets: read tables, call the pure modules, publish, attach metadata.

The checks on what they find are in `checks`.
"""

import time
from datetime import date
from typing import TYPE_CHECKING

from dagster import AssetKey, AssetsDefinition, Definitions, MaterializeResult, ResourceParam

from retail_pipeline.clv.asset_parts import (
    GROUP,
    clv_asset,
    markdown,
    result,
    window,
)
from retail_pipeline.clv.monitoring.checks import build_oversight_checks
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import (
    Database,
    Role,
)
from retail_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from retail_pipeline.clv.models.base import ValueModel

MOST_EXPLAINED = 100_000
"""Customers who are given reasons, those of the highest predicted value first: each costs some
twenty predictions and three rows."""

_CHUNK = 20_000
_COMPARED_ROWS = 5_000
"""Rows of each side of a comparison: chance moves the stability index of so many by .007."""

_JUDGED_CUTOFFS = 4
"""Of the backtest, where no served date has come due: the latest, about a season."""

_LEARNED_ROWS = 24_000
"""Rows that the champion's kind is fitted on again, of all cut-offs together."""

_FEATURES = AssetKey(["warehouse", "customer_features"])
_ENTRIES = AssetKey(["warehouse", "customer_day_entries"])
_REVENUE = AssetKey(["warehouse", "revenue_daily"])
_PREDICTIONS = AssetKey([GROUP, "predictions"])
_MODEL = AssetKey([GROUP, "model"])
_TRAINING_SET = AssetKey([GROUP, "training_set"])
_BACKTEST = AssetKey([GROUP, "backtest_summary"])
_KINDS = {"python", "postgres"}

_PREDICTED = ["predicted_value", "expected_orders", "probability_active"]


def build_oversight() -> Definitions:
    """Return the assets and checks of oversight; contacts nothing."""
    return Definitions(
        assets=[prediction_reasons(), feature_importance(), drift(), realised_predictions()],
        asset_checks=build_oversight_checks(),
    )


def prediction_reasons() -> AssetsDefinition:
    """Return the asset `clv/prediction_reasons`."""

    @clv_asset(
        "prediction_reasons",
        [_PREDICTIONS, _FEATURES, _REVENUE],
        _KINDS,
    )
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A reason for a customer's prediction: what moved it, in money and in words."""
        import pandas as pd

        from retail_pipeline.clv.data import tables as clv_tables
        from retail_pipeline.clv.monitoring import (
            reasons,
            tables,
        )
        from retail_pipeline.clv.serving import store

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        served = store.load_serving(database, as_of, horizon_days)
        currency = tables.currency(database)
        everyone = tables.features(database, [as_of], most=_COMPARED_ROWS)
        against = reasons.reference(served.model, everyone)
        customers = tables.best_customers(database, as_of, horizon_days, MOST_EXPLAINED)
        rows, stale = 0, f"horizon_days = {horizon_days}"
        counts: pd.Series = pd.Series(dtype=int)
        for start in range(0, len(customers), _CHUNK):
            chunk = _features_of(database, customers[start : start + _CHUNK], as_of)
            found = reasons.explain(served.model, chunk, against, currency)
            dated = found.assign(as_of_date=pd.Timestamp(as_of), horizon_days=horizon_days)
            rows += database.publish(
                "clv.prediction_reasons",
                clv_tables.exact(dated, "effect"),
                ["customer_id", "as_of_date", "horizon_days", "reason_rank"],
                replace_where=stale if start == 0 else None,
            )
            first = found[found["reason_rank"] == 1]["feature_group"].value_counts()
            counts = counts.add(first, fill_value=0)
        table = counts.sort_values(ascending=False).astype(int).rename("strongest reason of")
        return result(
            database,
            "clv.prediction_reasons",
            rows,
            started,
            customers=len(customers),
            champion=served.model.name,
            typical_prediction=round(against.prediction, 2),
            groups_read=", ".join(group.name for group in against.groups) or "none",
            strongest=markdown(table.rename_axis("feature group").reset_index()),
        )

    return build


def feature_importance() -> AssetsDefinition:
    """Return the asset `clv/feature_importance`."""

    # What decides comes before what explains.
    @clv_asset(
        "feature_importance",
        [_MODEL, _BACKTEST, _FEATURES, _ENTRIES],
        _KINDS,
        op_tags={"dagster/priority": "-1"},
    )
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A group of features: how much worse the champion predicts without it, out of time."""
        from retail_pipeline.clv.data import (
            dataset,
            inputs,
        )
        from retail_pipeline.clv.data import tables as clv_tables
        from retail_pipeline.clv.serving import store

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        name = store.load_serving(database, as_of, horizon_days).model.name
        dates = clv_tables.as_of_dates(database)
        due = dataset.training_cutoffs(dates, as_of, horizon_days)
        tested = (
            clv_tables.digests(database, "backtest", horizon_days).get(due[-1]) if due else None
        )
        digest = inputs.digest([name, inputs.code_version("monitoring"), tested])
        kept = clv_tables.digests(database, "feature_importance", horizon_days).get(as_of)
        if kept != digest or run_window.full_refresh:
            clv_tables.forget_digests(database, "feature_importance", horizon_days, [as_of])
            _publish_importance(database, name, due, as_of, horizon_days)
            clv_tables.keep_digests(database, "feature_importance", horizon_days, {as_of: digest})
        table = database.read(
            "clv.feature_importance",
            where="as_of_date = %s and horizon_days = %s order by deviance_increase desc",
            params=[as_of, horizon_days],
        )
        shown = table[["feature_group", "deviance_increase", "deviance_increase_sd", "gini_loss"]]
        return result(
            database,
            "clv.feature_importance",
            len(table),
            started,
            champion=name,
            cutoff=due[-1].isoformat() if due else "none has a complete outcome",
            customers=int(table["customers"].max()) if len(table) else 0,
            reused=kept == digest,
            importance=markdown(shown.round(4)),
        )

    return build


def drift() -> AssetsDefinition:
    """Return the asset `clv/drift`."""

    @clv_asset(
        "drift",
        [_PREDICTIONS, _TRAINING_SET, _BACKTEST, _FEATURES],
        _KINDS,
    )
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A feature or prediction: how far its distribution has moved from a reference."""
        import pandas as pd

        from retail_pipeline.clv.monitoring import (
            stability,
            tables,
        )

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        now = tables.features(database, [as_of], most=_COMPARED_ROWS)
        parts = [
            *_features_moved(database, now, as_of, horizon_days),
            *_predictions_moved(database, as_of, horizon_days),
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
        return result(
            database,
            "clv.drift",
            len(table),
            started,
            changed=int((table["stability_index"] >= stability.CHANGED).sum()) if parts else 0,
            most_moved=markdown(table[shown].head(15).round(3)) if parts else "nothing to compare",
        )

    return build


def realised_predictions() -> AssetsDefinition:
    """Return the asset `clv/realised_predictions`."""

    @clv_asset("realised_predictions", [_PREDICTIONS, _BACKTEST, _ENTRIES], _KINDS)
    def build(
        database: ResourceParam[Database],
        settings: ResourceParam[Settings],
        run_window: RunWindow,
    ) -> MaterializeResult:
        """A decile of past predictions whose horizon has passed: what was predicted, what came."""
        import pandas as pd

        from retail_pipeline.clv.data import tables as clv_tables
        from retail_pipeline.clv.monitoring import (
            realised,
            tables,
        )
        from retail_pipeline.clv.serving import store

        started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
        as_of, horizon_days = window(database, settings, run_window)
        served = tables.dates_to_judge(database, as_of, horizon_days)
        parts = [
            _judged(
                tables.served_with_outcome(database, day, horizon_days, as_of), day, "served", as_of
            )
            for day in served
        ]
        name = store.load_serving(database, as_of, horizon_days).model.name
        cutoffs = clv_tables.backtest_metrics(database, as_of, horizon_days)["cutoff_date"].unique()
        days = sorted(pd.Timestamp(each).date() for each in cutoffs)
        tested = clv_tables.buckets(database, as_of).count
        for cutoff in days[-_JUDGED_CUTOFFS:]:
            past = tables.backtest_of(database, name, cutoff, horizon_days)
            if len(past):
                parts.append(_judged(past, cutoff, "backtest", as_of, tested))
        database.execute(
            "delete from clv.realised_predictions where horizon_days = %s and origin = 'backtest'",
            [horizon_days],
        )
        if parts:
            table = pd.concat(parts, ignore_index=True).assign(horizon_days=horizon_days)
            database.publish(
                "clv.realised_predictions",
                clv_tables.exact(table, "predicted_value", "realised_value"),
                ["as_of_date", "horizon_days", "origin", "clv_decile"],
            )
        known = database.read(
            "clv.realised_predictions",
            where="horizon_days = %s order by as_of_date desc",
            params=[horizon_days],
        )
        totals = [
            {"origin": origin, "from": str(day)[:10]} | realised.summary(rows)
            for (day, origin), rows in known.groupby(["as_of_date", "origin"], sort=False)
        ]
        return result(
            database,
            "clv.realised_predictions",
            len(known),
            started,
            judged=", ".join(day.isoformat() for day in served) or "no served date is due",
            totals=markdown(pd.DataFrame(totals).round(3)) if totals else "nothing has come due",
        )

    return build


def _features_of(database: Database, customers: list[str], as_of: date) -> "pd.DataFrame":
    from retail_pipeline.clv.data import dataset

    return dataset.prepare_features(
        database.read(
            "warehouse.customer_features",
            where="as_of_date = %s and customer_id = any(%s)",
            params=[as_of, customers],
        )
    )


def _publish_importance(
    database: Database, name: str, due: list[date], as_of: date, horizon_days: int
) -> None:
    """Fit the champion's kind as of the latest past cut-off and judge it by what came after."""
    import pandas as pd

    from retail_pipeline.clv.data import dataset
    from retail_pipeline.clv.monitoring import (
        importance,
        tables,
    )

    database.execute(
        "delete from clv.feature_importance where as_of_date = %s and horizon_days = %s",
        [as_of, horizon_days],
    )
    if not due:
        return
    cutoff = due[-1]
    needed = [*dataset.training_cutoffs(due, cutoff, horizon_days), cutoff]
    features = tables.features(database, needed, most=_LEARNED_ROWS)
    entries = tables.entries_of(database, features["customer_id"], as_of)
    then = dataset.at_date(features, cutoff)
    model = _fitted_at(cutoff, name, features, entries, horizon_days)
    if model is None:
        return
    actual = dataset.outcomes(entries, then["customer_id"], cutoff, horizon_days, as_of)
    table = importance.importance(model, then, actual["future_value"].to_numpy(float))
    if len(table):
        database.publish(
            "clv.feature_importance",
            table.assign(
                as_of_date=pd.Timestamp(as_of),
                horizon_days=horizon_days,
                model_name=name,
                cutoff_date=pd.Timestamp(cutoff),
                customers=min(len(then), importance.MOST_CUSTOMERS),
                repeats=importance.REPEATS,
            ),
            ["as_of_date", "horizon_days", "feature_group"],
        )


def _fitted_at(
    cutoff: date, name: str, features: "pd.DataFrame", entries: "pd.DataFrame", horizon_days: int
) -> "ValueModel | None":
    """Return a kind of model as it would have been fitted at a past date; None if it abstains."""
    from retail_pipeline.clv.data import dataset
    from retail_pipeline.clv.evaluation.candidates import fit_candidates

    labelled = dataset.training_set(features, entries, cutoff, horizon_days)
    then = dataset.at_date(features, cutoff)
    return fit_candidates(labelled, then, horizon_days, [name])[0].model


def _features_moved(
    database: Database, now: "pd.DataFrame", as_of: date, horizon_days: int
) -> list["pd.DataFrame"]:
    """Return the features compared with those learned from and those of the month first before."""
    from retail_pipeline.clv.data import dataset
    from retail_pipeline.clv.data import tables as clv_tables
    from retail_pipeline.clv.monitoring import drift as drifting
    from retail_pipeline.clv.monitoring import tables

    learned = dataset.prepare_features(
        tables.sample(
            database,
            "clv.training_set",
            "horizon_days = %(horizon)s",
            {"horizon": horizon_days},
            most=_COMPARED_ROWS,
        )
    )
    earlier = [day for day in clv_tables.as_of_dates(database) if day < as_of and day.day == 1]
    before = tables.features(database, earlier[-1:] and [max(earlier)], most=_COMPARED_ROWS)
    return [
        drifting.compared(now, frame).assign(
            reference=reference, reference_date=frame["as_of_date"].max()
        )
        for reference, frame in (("training", learned), ("previous", before))
        if len(frame)
    ]


def _predictions_moved(database: Database, as_of: date, horizon_days: int) -> list["pd.DataFrame"]:
    """Return the predictions compared with the backtest's latest and with those served before."""
    import pandas as pd

    from retail_pipeline.clv.monitoring import drift as drifting
    from retail_pipeline.clv.monitoring import tables

    where = "as_of_date = %(day)s and horizon_days = %(horizon)s"
    columns = ["customer_id", *_PREDICTED]

    def served(day: date) -> "pd.DataFrame":
        params = {"day": day, "horizon": horizon_days}
        return tables.sample(
            database, "clv.predictions", where, params, most=_COMPARED_ROWS, columns=columns
        )

    now, found = served(as_of), []
    for reference, day in tables.reference_dates(database, as_of, horizon_days).items():
        if reference == "previous":
            frame = served(day)
        else:
            frame = tables.sample(
                database,
                "clv.backtest_predictions",
                "cutoff_date = %(day)s and horizon_days = %(horizon)s and model_name = "
                "(select model_name from clv.predictions where as_of_date = %(as_of)s "
                "and horizon_days = %(horizon)s limit 1)",
                {"day": day, "horizon": horizon_days, "as_of": as_of},
                most=_COMPARED_ROWS,
                columns=columns,
            )
        moved = drifting.compared(now, frame, is_prediction=True)
        if len(moved):
            found.append(moved.assign(reference=reference, reference_date=pd.Timestamp(day)))
    return found


def _judged(
    past: "pd.DataFrame", day: date, origin: str, as_of: date, one_customer_in: int = 1
) -> "pd.DataFrame":
    import pandas as pd

    from retail_pipeline.clv.monitoring import realised

    return realised.by_decile(past, one_customer_in).assign(
        as_of_date=pd.Timestamp(day),
        origin=origin,
        model_name=past["model_name"].iloc[0],
        judged_at_date=pd.Timestamp(as_of),
    )
