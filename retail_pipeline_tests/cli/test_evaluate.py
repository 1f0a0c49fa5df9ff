"""The tables of `evaluate` keep their labels and numbers at any width and any unit of money."""

from typing import Any

import pytest
from rich.console import Console

from retail_pipeline.cli import evaluate
from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.clv.models.registry import MODELS


def outcome(unit: float) -> dict[str, Any]:
    """All models, the second of which serves, with amounts in multiples of a unit."""
    metrics = dict.fromkeys(METRICS, 0.123) | {"mae": 1234 * unit, "tweedie_deviance": 77 * unit}
    totals = {"predicted_total": 123_456 * unit, "actual_total": 98_765 * unit}
    return {
        **{"validated": True, "extrapolated": False, "reason": "it is best", "warnings": []},
        **{"customers": 10, "as_of_date": "2024-01-01", "horizon_days": 90, "rejected_lines": 0},
        **{"losses": [], "excluded": [], "guests": {"transactions": 0}},
        "served": list(MODELS)[1],
        "metrics": [
            {"model_name": name, "is_served": place == 1, **totals, **metrics}
            for place, name in enumerate(MODELS)
        ],
    }


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("unit", [1e-6, 1, 1e9])
def test_no_label_and_no_number_is_cut(
    width: int, unit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(width=width, record=True)
    monkeypatch.setattr(evaluate, "open_console", lambda: console)
    evaluate._print(outcome(unit), {})
    text = console.export_text()
    assert "…" not in text
    rows = [line for line in text.splitlines() if line[2:].startswith(tuple(MODELS))]
    assert [line.split()[0 if line[0] == " " else 1] for line in rows] == [*MODELS] * 3
    assert [line[0] for line in rows].count("*") == 3 and rows[1].startswith("* ")
    assert {len(line.split()) - line.startswith("*") for line in rows} == {6, 7}
    if unit == 1:
        assert max(map(len, rows)) <= 80
    total = {1e-6: "0.123", 1: "123,456", 1e9: "123,456,000,000,000"}[unit]
    assert sum(total in line for line in rows) >= len(MODELS)
