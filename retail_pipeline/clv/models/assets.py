"""The fitted models as a Dagster asset."""

import time
from datetime import UTC, datetime

import dagster as dg

from retail_pipeline.dagster_support.asset_results import markdown, table_result
from retail_pipeline.dagster_support.retrying import retried
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.generation import read_state
from retail_pipeline.postgres import Database, Role


@dg.asset(
    key_prefix="clv",
    deps=[["clv", "training_set"], ["warehouse", "customer_features"]],
    group_name="clv",
    owners=["team:data-science"],
    kinds={"python", "scikitlearn", "postgres"},
)
@retried
def candidates(
    database: dg.ResourceParam[Database],
    run_window: RunWindow,
) -> dg.MaterializeResult:
    """A model fitted as of this run's date, stored as plain parameters; a challenger so far."""
    from retail_pipeline.clv.data import dataset, digests, tables
    from retail_pipeline.clv.models import registry
    from retail_pipeline.clv.models.candidates import fit_candidates

    started, database = time.monotonic(), database.as_role(Role.SCIENTIST)
    as_of, horizon_days = run_window.landed(database)
    sample = tables.training_sample(database, as_of)
    today = dataset.population(tables.features(database, [as_of], sample), as_of)
    labelled = dataset.prepare_features(
        database.read("clv.training_set", where="horizon_days = %s", params=[horizon_days])
    )
    training = registry.Training(
        as_of,
        horizon_days,
        read_state(database).data_version,
        datetime.now(UTC),
        digests.code_version(),
        is_extrapolated=labelled.empty,
        one_customer_in=sample.one_customer_in,
    )
    fitted = fit_candidates(labelled, today, horizon_days)
    registry.save_candidates(database, fitted, training)
    table = registry.training_report(database, as_of, horizon_days)
    return table_result(
        database,
        "clv.model_versions",
        int(table["version"].notna().sum()),
        started,
        models=markdown(table.round(3)),
        fit_seconds=round(float(table["fit seconds"].sum()), 3),
        artifact_kib=round(float(table["KiB"].sum()), 1),
        customers=len(today),
        one_customer_in=sample.one_customer_in,
        code_version=training.code_version,
    )
