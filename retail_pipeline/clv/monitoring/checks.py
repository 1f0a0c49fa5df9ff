"""The checks of drift and of realised predictions: warnings, for people to judge."""

import dagster as dg

from retail_pipeline.dagster_support.check_results import one_row, passed, warned
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.postgres import Database

LOWEST_RATIO = 0.67
HIGHEST_RATIO = 1.5
"""Realised over predicted value of a whole population: a season is allowed for, a wrong level is
not."""

LOWEST_COVERAGE = 0.65
HIGHEST_COVERAGE = 0.95
MOST_CHANGED = 0.25
"""Share of the features that may have left what was learned from: a shop that grows older moves
some of them by itself."""


@dg.asset_check(asset=["clv", "drift"])
def predictions_are_stable(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """Predicted values are spread as in the backtest and as served before: index below .25."""
    from retail_pipeline.clv.monitoring.stability import CHANGED

    as_of, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "select count(*) as compared, "
        + ", ".join(
            f"max(stability_index) filter (where reference = '{reference}') as {reference}, "
            f"max(reference_date) filter (where reference = '{reference}')::text "
            f"as {reference}_date"
            for reference in ("training", "previous")
        )
        + ", count(*) filter (where stability_index >= greatest(%(bar)s, chance_95)) as changed "
        "from clv.drift where as_of_date = %(as_of)s and horizon_days = %(horizon)s "
        "and quantity = 'predicted_value'",
        {"as_of": as_of, "horizon": horizon_days, "bar": CHANGED},
    )
    if not found["compared"]:
        return warned(found, "no earlier predictions are there to compare with")
    if found["changed"]:
        return warned(found, f"the stability index of predicted_value is {CHANGED} or more")
    return passed(found)


@dg.asset_check(asset=["clv", "drift"])
def features_are_stable(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """No feature changed since the month start before, few since what was learned from.

    Features that move with the calendar or the age of the shop are left out.
    """
    from retail_pipeline.clv.data.features import CLOCKS
    from retail_pipeline.clv.monitoring.stability import CHANGED

    as_of, horizon_days = run_window.landed(database)
    changed = "stability_index >= greatest(%(bar)s, chance_95)"
    found = one_row(
        database,
        "select "
        + ", ".join(
            f"count(*) filter (where reference = '{reference}') as features_{reference}, "
            f"count(*) filter (where reference = '{reference}' and {changed}) "
            f"as changed_{reference}, "
            f"max(stability_index) filter (where reference = '{reference}') as highest_{reference}"
            for reference in ("training", "previous")
        )
        + f", string_agg(quantity || ' (' || reference || ')', ', ' order by stability_index desc) "
        f"filter (where {changed}) as changed from clv.drift where as_of_date = %(as_of)s "
        "and horizon_days = %(horizon)s and not is_prediction and quantity <> all(%(clocks)s)",
        {"as_of": as_of, "horizon": horizon_days, "bar": CHANGED, "clocks": sorted(CLOCKS)},
    )
    if not found["features_training"] and not found["features_previous"]:
        return warned(found, "no earlier features are there to compare with")
    if found["changed_previous"] or (
        found["changed_training"] > MOST_CHANGED * found["features_training"]
    ):
        return warned(found, f"customers are not those of before: {found['changed']}")
    return passed(found)


@dg.asset_check(asset=["clv", "realised_predictions"])
def what_was_predicted_came(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.AssetCheckResult:
    """The latest served predictions whose horizon has passed came true, in total and in intervals.

    Where none was served so long ago, those of the backtest's latest cut-off stand in.
    """
    _, horizon_days = run_window.landed(database)
    found = one_row(
        database,
        "select origin, as_of_date::text as predicted_from, sum(customers) as customers, "
        "sum(predicted_value) as predicted_value, sum(realised_value) as realised_value, "
        "sum(realised_value) / nullif(sum(predicted_value), 0) as ratio, "
        "sum(inside_80) / sum(customers)::double precision as share_inside_80 "
        "from clv.realised_predictions where horizon_days = %(horizon)s "
        "group by origin, as_of_date order by origin = 'served' desc, as_of_date desc limit 1",
        {"horizon": horizon_days},
    )
    if not found:
        return warned(found, f"no prediction over {horizon_days} days has come due")
    if found["ratio"] is None:
        return warned(found, "nothing was predicted, so no ratio tells what came of it")
    if not LOWEST_RATIO <= found["ratio"] <= HIGHEST_RATIO:
        return warned(
            found,
            f"realised over predicted value is {found['ratio']:.2f}, "
            f"outside {LOWEST_RATIO}-{HIGHEST_RATIO}",
        )
    if not LOWEST_COVERAGE <= found["share_inside_80"] <= HIGHEST_COVERAGE:
        return warned(
            found,
            f"the 80 % intervals held {found['share_inside_80']:.0%} of the outcomes, "
            f"outside {LOWEST_COVERAGE:.0%}-{HIGHEST_COVERAGE:.0%}",
        )
    return passed(found)
