"""The assets and checks of customer lifetime value."""

import dagster as dg

from retail_pipeline.clv.data import assets as data
from retail_pipeline.clv.data import checks as data_checks
from retail_pipeline.clv.evaluation import assets as evaluation
from retail_pipeline.clv.evaluation import checks as evaluation_checks
from retail_pipeline.clv.models import assets as models
from retail_pipeline.clv.monitoring import assets as monitoring
from retail_pipeline.clv.monitoring import checks as monitoring_checks
from retail_pipeline.clv.serving import assets as serving
from retail_pipeline.clv.serving import checks as serving_checks


def build_clv() -> dg.Definitions:
    """Return the assets and checks of this package, without contacting any service."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules([data, models, evaluation, serving, monitoring]),
        asset_checks=dg.load_asset_checks_from_modules(
            [data_checks, evaluation_checks, serving_checks, monitoring_checks]
        ),
    )
