"""The run window: the settings of a run, and their defaults."""

from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from retail_pipeline.build import build_definitions
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.settings import Settings


def seen(given: RunWindow, config: dict[str, Any]) -> list[tuple[int, float]]:
    windows = []

    @dg.asset
    def table(run_window: RunWindow) -> None:
        windows.append((run_window.horizon_days, run_window.discount_rate))

    run_config = {"resources": {"run_window": {"config": config}}}
    dg.materialize([table], resources={"run_window": given}, run_config=run_config)
    return windows


def test_the_environment_gives_the_defaults_of_a_run_and_its_configuration_overrides_them() -> None:
    settings = Settings(horizon_days=90, discount_rate=0.1)
    given: Any = (build_definitions(settings).resources or {})["run_window"]
    assert seen(given, {}) == [(90, 0.1)]
    assert seen(given, {"horizon_days": 30}) == [(30, 0.1)]


def test_a_horizon_out_of_range_ends_a_run_before_its_first_step() -> None:
    with pytest.raises(ValidationError, match="horizon_days"):
        RunWindow(horizon_days=1096)
    with pytest.raises(dg.DagsterError) as error:
        seen(RunWindow(), {"horizon_days": 1096})
    assert "less than or equal to 1095" in str(error.value.__cause__ or error.value)
