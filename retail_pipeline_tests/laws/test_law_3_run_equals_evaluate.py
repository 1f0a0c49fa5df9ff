"""`run` and `evaluate` give the same predictions, to the bit."""

import functools
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from retail_pipeline.evaluation import evaluate_file
from retail_pipeline.postgres import Database
from retail_pipeline.settings import FileSource, Settings
from retail_pipeline_tests.end_to_end.conftest import Run

AS_OF, LATER = date(2023, 10, 1), date(2023, 11, 30)
"""The first date has five past cut-offs, of which the later are calibrated on the earlier."""
TO_PREDICTIONS = '+key:"clv/predictions"'
TO_CUSTOMER_DAYS = 'group:transactional or +key:"warehouse/customer_days"'


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_run_and_evaluate_predict_the_same(
    run: Run, database: Database, settings: Settings, lines_file: Path, zone: str
) -> None:
    source, horizon = FileSource(lines_file), 60
    settings = settings.model_copy(update={"time_zone": zone})
    run = functools.partial(run, time_zone=zone, horizon_days=horizon, source=source)
    run(as_of=AS_OF, select=TO_PREDICTIONS)
    served = database.read("clv.predictions").set_index("customer_id").sort_index()

    evaluated = evaluate_file(settings, FileSource(lines_file), cutoff=AS_OF, horizon_days=horizon)
    offline = evaluated.predictions.set_index("customer_id").sort_index()

    assert evaluated.valuation.decision.validated
    columns = ["predicted_value", "lower_80", "upper_80", "expected_orders", "probability_active"]
    assert served["model_name"].unique().tolist() == offline["model_name"].unique().tolist()
    pd.testing.assert_frame_equal(served[columns], offline[columns], check_exact=True)

    run(as_of=LATER, select=TO_CUSTOMER_DAYS)
    later = database.query(
        "select customer_id, greatest(sum(net_amount), 0) as value from warehouse.customer_days "
        f"where date_day >= '{AS_OF}' group by 1"
    ).set_index("customer_id")["value"]
    outcome = later.reindex(offline.index).fillna(0.0)
    pd.testing.assert_series_equal(offline["actual_value"], outcome, check_names=False)
