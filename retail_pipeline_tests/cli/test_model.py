"""`model list|pin|unpin|rollback` and `evaluate --figure` on the command line."""

import json
from pathlib import Path

import pandas as pd
import pytest

from retail_pipeline.postgres import Database
from retail_pipeline_tests.cli.command import DONE, FAILED, WRONG_USE, Cli


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """The path of a file of 40 customers who order every 30 days; one half stops."""
    rows = [
        (f"c{c:03}", f"o{c:03}-{o}", f"2024-0{1 + o}-{1 + c % 27:02} 10:00:00", 10.0 + c % 7)
        for c in range(40)
        for o in range(6 if c % 2 else 2)
    ]
    path = tmp_path / "lines.csv"
    pd.DataFrame(rows, columns=["customer_id", "order_id", "ts", "amount"]).to_csv(
        path, index=False
    )
    return path


@pytest.mark.slow
def test_a_version_is_listed_pinned_and_rolled_back(
    cli: Cli, database: Database, lines: Path
) -> None:
    empty = cli("model", "list")
    assert (empty.returncode, "no model is stored" in empty.stdout) == (DONE, True)
    assert cli("model", "pin", "nobody-1").returncode == WRONG_USE
    assert cli("model", "rollback").returncode == FAILED
    assert "no version was pinned" in cli("model", "unpin").stdout

    file = ("run", "--transactions", str(lines), "--horizon-days", "30")
    assert cli(*file).returncode == DONE
    listed = cli("model", "list", "--json")
    versions = {row["model_name"]: row for row in json.loads(listed.stdout)}
    by_rule = next(name for name, row in versions.items() if row["status"] == "champion")
    assert by_rule != "last_window"

    cli.environment["RETAIL_SOURCE"] = f"file:{lines}"
    pinned = cli("model", "pin", versions["last_window"]["model_version"])
    assert pinned.returncode == DONE, pinned.stderr
    assert _served(database) == {"last_window"}
    assert "last_window" in pinned.stdout

    back = cli("model", "rollback")
    assert back.returncode == DONE, back.stderr
    assert _served(database) == {by_rule}
    pins = json.loads(cli("model", "list", "--json").stdout)
    assert {row["model_name"] for row in pins if row["is_pinned"]} == {by_rule}


def test_evaluate_draws_one_model_or_all(cli: Cli, lines: Path, tmp_path: Path) -> None:
    given = ("evaluate", "--transactions", str(lines), "--cutoff", "2024-05-01")
    given += ("--horizon-days", "30", "--figure")
    png = tmp_path / "all.png"
    drawn = cli(*given, str(png), "--model", "all")
    assert drawn.returncode == DONE, drawn.stderr
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 10_000
    refused = cli(*given, str(tmp_path / "all.gif"))
    assert refused.returncode == WRONG_USE and ".png or .svg or .pdf" in refused.stderr


def _served(database: Database) -> set[str]:
    latest = database.query(
        "select distinct model_name from clv.predictions "
        "where as_of_date = (select max(as_of_date) from clv.predictions)"
    )
    return set(latest["model_name"])
