"""Automation conditions of the assets, by group.

The warehouse follows the landing tables; figures and the report follow the tables that they show.
Work that depends on metadata and not only on updates is started by sensors: see `retraining`.
"""

import warnings
from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

import dagster as dg

from retail_pipeline.automation.environments import Starter, status
from retail_pipeline.settings import Settings

LANDING = "transactional"
WAREHOUSE = ("staging", "intermediate", "warehouse")
CLV = "clv"
SHOWN = ("figures", "report")


def build_condition_sensors(
    settings: Settings,
) -> list[dg.AutomationConditionSensorDefinition]:
    """Return the sensors that evaluate the conditions, one per stage, each with its own switch."""

    def sensor(
        name: Starter, groups: Sequence[str], description: str
    ) -> dg.AutomationConditionSensorDefinition:
        return dg.AutomationConditionSensorDefinition(
            name.value,
            target=dg.AssetSelection.groups(*groups),
            minimum_interval_seconds=30,
            default_status=dg.DefaultSensorStatus[status(name, settings)],
            description=description,
        )

    return [
        sensor(
            Starter.WAREHOUSE_AFTER_LANDING,
            WAREHOUSE,
            "Builds and tests the whole warehouse in one run, when new data has landed in all "
            "streams and has passed its checks.",
        ),
        sensor(
            Starter.FIGURES_AFTER_PREDICTIONS,
            SHOWN,
            "Draws the figures of predictions after new predictions, and the other figures after "
            "changes in the warehouse.",
        ),
    ]


def with_conditions(definitions: dg.Definitions) -> dg.Definitions:
    """Return the definitions with automation conditions on the warehouse, figures and report."""
    landing = sorted(
        spec.key
        for assets in definitions.assets or []
        if isinstance(assets, dg.AssetsDefinition)
        for spec in assets.specs
        if spec.group_name == LANDING
    )

    def condition(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.group_name in WAREHOUSE and landing:
            return spec.replace_attributes(automation_condition=all_landed(landing))
        if spec.group_name in SHOWN:
            return spec.replace_attributes(automation_condition=sources_renewed(spec))
        return spec

    with warnings.catch_warnings():
        # A preview feature; Dagster is pinned exactly, so it cannot change unnoticed.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return definitions.map_asset_specs(func=condition)


def all_landed(landing: Sequence[dg.AssetKey]) -> dg.AutomationCondition:
    """Return a condition that is true once after new data, when all streams have landed.

    No stream may be syncing, and their blocking checks must have passed. The condition is the same
    for every asset of the warehouse, so that one run builds them all, with one `dbt build`. A
    failed build is not repeated before new data, because the same data would fail again.
    """

    def each(condition: dg.AutomationCondition) -> list[dg.AutomationCondition]:
        return [dg.AutomationCondition.asset_matches(key, condition) for key in landing]

    checked = dg.AutomationCondition.all_checks_match(
        dg.AutomationCondition.check_passed(), blocking_only=True
    )
    handled = (
        dg.AutomationCondition.newly_requested()
        | dg.AutomationCondition.newly_updated()
        | dg.AutomationCondition.execution_failed().newly_true()
        | dg.AutomationCondition.initial_evaluation()
    )
    is_new = reduce(or_, each(dg.AutomationCondition.newly_updated()))
    return (
        is_new.since(handled)
        & reduce(and_, each(~dg.AutomationCondition.in_progress()))
        & reduce(and_, each(~dg.AutomationCondition.missing()))
        & reduce(and_, each(checked))
        & ~dg.AutomationCondition.in_progress()
    )


def sources_renewed(spec: dg.AssetSpec) -> dg.AutomationCondition:
    """Return a condition that is true once after the sources of a figure or report were updated.

    No source may be in progress. A table of the warehouse counts as updated only if its rows, and
    hence its data version, have changed. A figure of predictions follows only the tables of `clv`:
    after a warehouse build there are no predictions of the new date yet.
    """
    if any(dep.asset_key.path[0] == CLV for dep in spec.deps):
        renewed = dg.AutomationCondition.any_deps_updated().allow(dg.AssetSelection.groups(CLV))
    else:
        renewed = dg.AutomationCondition.any_deps_match(
            dg.AutomationCondition.data_version_changed()
            & ~dg.AutomationCondition.executed_with_root_target()
        )
    return (
        renewed.since_last_handled().with_label("sources were updated")
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )
