"""What a run says of itself while it is at work."""

import pytest

from retail_pipeline.cli.progress import Spent


def test_steps_that_are_at_work_at_once_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    spent = Spent()
    for after, take_down, step in [
        (0, spent.begins, "backtest"),
        (4, spent.begins, "figure"),
        (2, spent.ends, "figure"),
        (1, spent.ends, "backtest"),
        (5, spent.begins, "report"),  # nothing was at work meanwhile
        (3, spent.ends, "report"),
    ]:
        now += after
        take_down(step)
    assert spent.seconds == {"backtest": 6, "figure": 1, "report": 3}
