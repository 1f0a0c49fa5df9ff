"""The table of features holds each column of the mart, and no design has a gap."""

import pytest
import yaml

from retail_pipeline.clv.data import features
from retail_pipeline.settings import PROJECT_ROOT

NO_FEATURES = {
    *("customer_id", "as_of_date"),
    *("cohort_month", "first_purchase_date", "last_purchase_date"),  # features as numbers of days
    "log_purchase_value_sum",  # for the fit of Gamma-Gamma only
}


def test_each_column_of_the_mart_is_a_feature_or_named_as_none() -> None:
    path = PROJECT_ROOT / "dbt_project/models/marts/customer_features.yml"
    (model,) = yaml.safe_load(path.read_text())["models"]
    columns = [column["name"] for column in model["columns"]]
    named = [feature.name for feature in features.ALL]
    assert sorted(columns) == sorted([*named, *NO_FEATURES])


@pytest.mark.parametrize("design", ["trees", "log", "root", "ratio"])
def test_a_design_has_every_place_once(design: str) -> None:
    places = [getattr(feature, design) for feature in features.ALL]
    taken = sorted(p for own in places for p in (own if isinstance(own, dict) else [own]) if p)
    assert taken == list(range(1, len(taken) + 1))
