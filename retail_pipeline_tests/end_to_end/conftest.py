"""Fixtures of end-to-end tests: a separate environment, a file of simulated order lines."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from dagster import AssetSelection, DagsterInstance, ExecuteInProcessResult

from retail_pipeline.build import build_definitions
from retail_pipeline.postgres import Database
from retail_pipeline.retail_api import open_dataset
from retail_pipeline.settings import (
    Settings,
    SimulatorSource,
)

Run = Callable[..., ExecuteInProcessResult]


@pytest.fixture
def settings(database: Database, home: Path) -> Settings:
    return Settings(home=home, database_url=database.url, source=SimulatorSource(400))


@pytest.fixture
def run(settings: Settings) -> Run:
    """Return a function that runs the main job, or a selection of its assets.

    Keyword arguments replace settings or set the run's window.
    """

    def run_job(
        *, as_of: date, horizon_days: int = 90, select: str | None = None, **changes: object
    ) -> ExecuteInProcessResult:
        definitions = build_definitions(settings.model_copy(update=changes))
        job = definitions.resolve_job_def("pipeline")
        chosen = select and AssetSelection.from_string(select).resolve(
            definitions.resolve_asset_graph()
        )
        window = {"as_of": as_of.isoformat(), "horizon_days": horizon_days}
        return job.execute_in_process(
            instance=DagsterInstance.ephemeral(),
            asset_selection=chosen and list(chosen & job.asset_layer.executable_asset_keys),
            run_config={"resources": {"run_window": {"config": window}}},
        )

    return run_job


@pytest.fixture(scope="session")
def lines_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a CSV file with the order lines of 300 simulated customers in 2023."""
    records = open_dataset(SimulatorSource(300, seed=11), date(2024, 1, 1)).records
    orders = records.transactions
    lines = records.items.assign(
        customer_id=orders["user_id"].repeat(orders["line_count"]).to_numpy(),
        order_id=orders["transaction_id"].repeat(orders["line_count"]).to_numpy(),
        ts=orders["transacted_at"].repeat(orders["line_count"]).to_numpy(),
    )
    path = tmp_path_factory.mktemp("lines") / "lines.csv"
    columns = ["customer_id", "order_id", "ts", "product_id", "quantity", "unit_price", "amount"]
    pd.DataFrame(lines)[columns].to_csv(path, index=False)
    return path
