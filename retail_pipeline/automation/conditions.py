"""Automation conditions of the assets, by group.

The warehouse follows the landing tables, figures and the report follow the tables they show. Work
whose start depends on numbers, not on freshness alone, is a sensor: see `retraining`.
"""

import warnings
from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

import dagster as dg

from retail_pipeline.automation.environments import Starter, status
from retail_pipeline.settings import Environment

LANDING = "transactional"
WAREHOUSE = ("staging", "intermediate", "warehouse")
CLV = "clv"
SHOWN = ("figures", "report")


def build_condition_sensors(
    environment: Environment,
) -> list[dg.AutomationConditionSensorDefinition]:
    """Return the sensors that evaluate the conditions, one per stage, so that each has a switch."""

    def sensor(
        name: Starter, groups: Sequence[str], description: str
    ) -> dg.AutomationConditionSensorDefinition:
        return dg.AutomationConditionSensorDefinition(
            name.value,
            target=dg.AssetSelection.groups(*groups),
            minimum_interval_seconds=30,
            default_status=dg.DefaultSensorStatus[status(name, environment)],
            description=description,
        )

    return [
        sensor(
            Starter.WAREHOUSE_AFTER_LANDING,
            WAREHOUSE,
            "Builds and tests the whole warehouse, in one run, when new data has landed in all "
            "streams and passed its checks.",
        ),
        sensor(
            Starter.FIGURES_AFTER_PREDICTIONS,
            SHOWN,
            "Draws what shows predictions when these are new, and the other figures when the "
            "warehouse is.",
        ),
    ]


def with_conditions(definitions: dg.Definitions) -> dg.Definitions:
    """Return the definitions with a condition on each asset whose group has one."""
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
        # Dagster is pinned exactly, so a preview cannot change under us.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return definitions.map_asset_specs(func=condition)


def all_landed(landing: Sequence[dg.AssetKey]) -> dg.AutomationCondition:
    """True once after new data: all streams are in, none is being read, their checks passed.

    The same for every asset of the warehouse, so that they are asked for in one run, as one `dbt
    build`. A failed build is not repeated before new data: the same data fails the same way.
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
    """True once after the sources of a figure or report were renewed, while none is at work.

    A table of the warehouse is renewed when its rows, hence its data version, are other ones. A
    figure of predictions follows these alone: between warehouse and predictions it would find no
    predictions of its date.
    """
    if any(dep.asset_key.path[0] == CLV for dep in spec.deps):
        renewed = dg.AutomationCondition.any_deps_updated().allow(dg.AssetSelection.groups(CLV))
    else:
        renewed = dg.AutomationCondition.any_deps_match(
            dg.AutomationCondition.data_version_changed()
            & ~dg.AutomationCondition.executed_with_root_target()
        )
    return (
        renewed.since_last_handled().with_label("what is shown was renewed")
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )
