"""The assets read real tables, keep the file, and show image, date and numbers as metadata."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from subprocess import run

import numpy as np
import pandas as pd
import pytest
from dagster import DagsterInstance, materialize

from retail_pipeline.errors import PipelineError
from retail_pipeline.figures.assets import build_figures
from retail_pipeline.postgres import Database
from retail_pipeline.run_window import RunWindow
from retail_pipeline.settings import Settings
from retail_pipeline.state import begin

AS_OF = date(2011, 6, 1)
NAMES = {
    "revenue_over_time",
    "cohort_retention",
    "segments",
    "predicted_against_actual",
    "gain_curve",
    "model_comparison",
}


@pytest.fixture
def served(database: Database) -> Iterator[Database]:
    """A database as a run leaves it behind: 20 customers, one model, no past outcome yet."""
    begin(database, source_id="test", as_of=AS_OF, run_id="a run")
    database.execute(
        "create table warehouse.revenue_daily (date_day date, sales_amount numeric, "
        "returns_amount numeric, net_amount numeric, currency text)"
    )
    database.execute(
        "insert into warehouse.revenue_daily select d, 10, 1, 9, 'GBP' "
        "from generate_series(date '2011-03-01', date '2011-05-31', '1 day') d"
    )
    database.execute(
        "create table warehouse.cohort_retention as select date '2011-03-01' as cohort_month, m "
        "as months_since, 20 as cohort_customers, 20 / (m + 1) as active_customers "
        "from generate_series(0, 2) m"
    )
    database.publish(
        "clv.predictions", predictions(), ["customer_id", "as_of_date", "horizon_days"]
    )
    database.execute(
        "insert into clv.model_versions (model_version, model_name, status, validated, trained_at, "
        "training_rows, data_version, as_of_date, horizon_days) values ('v1', 'last_window', "
        "'champion', true, now(), 20, 'test', '2011-06-01', 30)"
    )
    database.execute(
        "insert into clv.segments select as_of_date, horizon_days, segment, count(*), "
        "sum(predicted_value), 1, 1, avg(predicted_value), .5 "
        "from clv.predictions group by 1, 2, 3"
    )
    yield database


def predictions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(20)],
            "as_of_date": AS_OF,
            "horizon_days": 30,
            "predicted_value": np.arange(20.0),
            "lower_80": 0.0,
            "upper_80": 100.0,
            "expected_orders": 1.0,
            "probability_active": 0.5,
            "clv_decile": 1,
            "segment": "high value, active",
            "model_name": "last_window",
            "model_version": "v1",
            "predicted_at": pd.Timestamp("2011-06-01", tz="UTC"),
        }
    )


def add_backtest(database: Database, cutoff: date) -> None:
    frame = predictions().rename(columns={"as_of_date": "cutoff_date"})
    frame = frame.assign(cutoff_date=cutoff, actual_value=np.arange(20.0))
    columns = ["model_name", "cutoff_date", "horizon_days", "customer_id", "predicted_value"]
    columns += ["lower_80", "upper_80", "expected_orders", "probability_active", "actual_value"]
    database.publish("clv.backtest_predictions", frame[columns], columns[:4])
    metrics = pd.DataFrame(
        {
            "model_name": ["last_window", "mean"],
            "cutoff_date": cutoff,
            "horizon_days": 30,
            "customers": 20,
            "mae_over_mean": [0.7, 1.2],
            "normalized_gini": [0.8, None],
            "tweedie_deviance": [2.0, 9.0],
            "bias": [1.0, 1.1],
            "as_of_date": AS_OF,
        }
    )
    database.publish("clv.backtest_metrics", metrics, ["model_name", "cutoff_date", "horizon_days"])


def draw(database: Database, home: Path, horizon_days: int = 30) -> dict[str, dict]:
    figures = list(build_figures().assets or [])
    with DagsterInstance.ephemeral() as instance:
        result = materialize(
            figures,  # type: ignore[arg-type]
            instance=instance,
            resources={
                "database": database,
                "settings": Settings(home=home),
                "run_window": RunWindow(horizon_days=horizon_days),
            },
        )
        return {
            event.asset_key.path[-1]: {
                k: v.value for k, v in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }


def test_every_figure_is_kept_and_shown_even_without_a_past_outcome(
    served: Database, tmp_path: Path
):
    shown = draw(served, tmp_path)
    assert set(shown) == NAMES
    for name, metadata in shown.items():
        path = tmp_path / "figures" / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        assert metadata["path"] == str(path)
        assert metadata["figure"].startswith("![")
        assert metadata["as_of_date"] == "2011-06-01"
    assert shown["revenue_over_time"]["net_revenue"] == 92 * 9
    assert shown["segments"]["predicted_value"] == 190.0
    for name in ("predicted_against_actual", "gain_curve", "model_comparison"):
        assert "No past prediction" in shown[name]["drawn"]


def test_the_backtest_of_the_served_model_over_the_runs_cutoffs_is_drawn(
    served: Database, tmp_path: Path
):
    for cutoff in (date(2010, 5, 1), date(2010, 6, 1), date(2011, 5, 1), date(2011, 5, 3)):
        add_backtest(served, cutoff)  # the first is too old, the last has no complete outcome
    shown = draw(served, tmp_path)
    assert shown["predicted_against_actual"]["model_name"] == "last_window"
    assert shown["predicted_against_actual"]["customer_outcomes"] == 40
    assert shown["model_comparison"]["cutoffs"] == 2
    assert shown["model_comparison"]["validated"] == "yes"
    assert shown["model_comparison"]["best_by_deviance"] == "last_window"
    assert shown["gain_curve"]["cutoffs"] == 2


def test_a_horizon_that_was_not_predicted_is_an_error_with_its_remedy(
    served: Database, tmp_path: Path
):
    with pytest.raises(PipelineError, match="materialize clv/predictions"):
        draw(served, tmp_path, horizon_days=7)


def test_each_figure_has_owner_kind_group_and_description():
    specs = [spec for figure in build_figures().assets or [] for spec in figure.specs]
    assert {spec.key.path[-1] for spec in specs} == NAMES
    for spec in specs:
        assert spec.key.path[0] == spec.group_name == "figures"
        assert spec.owners == ["team:data-science"]
        assert spec.kinds == {"matplotlib"}
        assert spec.description
        assert list(spec.deps)


def test_loading_the_assets_imports_no_matplotlib():
    code = (
        "import sys; from retail_pipeline.figures.assets import build_figures; build_figures(); "
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'seaborn', 'PIL')))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
