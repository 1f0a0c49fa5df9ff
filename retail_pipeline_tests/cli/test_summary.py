"""The summary of a run says what the tables hold: the total's range, and how it did before."""

import io
from datetime import date
from pathlib import Path

import pytest

from retail_pipeline.cli.summary import print_summary
from retail_pipeline.cli.terminal import open_console
from retail_pipeline.generation import begin
from retail_pipeline.postgres import Database
from retail_pipeline.report.summary import read_summary
from retail_pipeline.settings import Settings


@pytest.fixture
def served(database: Database) -> Database:
    """Ten customers of 100 each, expected within 700 to 1,400, and two tested models."""
    begin(database, source_id="test", as_of=date(2024, 7, 1), run_id="a run")
    board = '[{"model_name": "best", "bias": 1.25}, {"model_name": "other", "bias": 0.5}]'
    for statement in (
        "create table warehouse.fct_transaction_items as select null::text as exclusion_reason, "
        "10.5 as net_amount",
        "insert into clv.model_decisions values ('2024-07-01', 180, now(), 'best', 'best-1', true, "
        f"'best serves', '{{\"leaderboard\": {board}}}')",
        "insert into clv.predictions select 'c' || n, '2024-07-01', 180, 100, 0, 200, 1, 0.5, n, "
        "'high value, active', 'best', 'best-1', now() from generate_series(1, 10) n",
        "insert into clv.totals values ('2024-07-01', 180, 'all', 'all', 10, 1000, 700, 1400, 12, "
        "50, 900, 1100, 800, 'best', 'best-1'), "
        "('2024-07-01', 180, 'country', 'all', 10, 1000, 1, 2, 12, 5, 9, null, null, null, 'b')",
    ):
        database.execute(statement)
    return database


def printed(database: Database, home: Path) -> str:
    console = open_console(io.StringIO())
    print_summary(Settings(home=home, database_url=database.url), {"clv": 1.0}, 1.0, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_value_has_its_range_and_what_came_a_year_before(
    served: Database, tmp_path: Path
) -> None:
    assert (
        "1,000 over 180 days, 80 % range 700 to 1,400; "
        "a year before 1,100 were predicted and 800 were spent\n"
    ) in printed(served, tmp_path)
    total = read_summary(served)["total"]
    assert (total["lower_80"], total["upper_80"], total["actual_before"]) == (700, 1400, 900)
    served.execute("update clv.totals set predicted_year_ago = null, actual_year_ago = null")
    assert "to 1,400; no cut-off a year before was tested\n" in printed(served, tmp_path)
    served.execute("delete from clv.totals")
    assert "1,000 over 180 days\n" in printed(served, tmp_path)


@pytest.mark.parametrize(
    ("lower", "upper", "buyers", "words"),
    [
        (1001, 1400, 50, "below its range: too little was predicted at past cut-offs"),
        (100, 999, 50, "above its range: too much was predicted at past cut-offs"),
        (100, 999, 3, "above its range: it depends on few purchases"),
    ],
)
def test_a_value_outside_its_range_is_explained(
    served: Database, tmp_path: Path, lower: int, upper: int, buyers: int, words: str
) -> None:
    assert "its range:" not in printed(served, tmp_path)
    served.execute(
        f"update clv.totals set lower_80 = {lower}, upper_80 = {upper}, expected_buyers = {buyers}"
    )
    assert words in printed(served, tmp_path)


def test_the_leaderboard_names_the_bias_and_marks_the_champion(
    served: Database, tmp_path: Path
) -> None:
    text = printed(served, tmp_path)
    [best], [other] = (
        [line.split() for line in text.splitlines() if line.startswith(name)]
        for name in ("best ", "other ")
    )
    assert best[:2] == ["best", "(champion)"] and "1.250" in best
    assert other[1] != "(champion)" and "0.500" in other
    assert "bias: total" in text and "over actual" in text
    assert "predicted over actual" not in text  # without a tested cut-off
    assert [row["is_champion"] for row in read_summary(served)["leaderboard"]] == [True, False]


def test_the_bias_is_that_of_each_cutoff_with_the_same_season_in_brackets(
    served: Database, tmp_path: Path
) -> None:
    served.execute("update clv.totals set model_year_ago = 'plain' where grouping = 'all'")
    served.execute(
        "insert into clv.backtest_metrics (model_name, cutoff_date, horizon_days, customers, bias, "
        "as_of_date) values ('plain', '2023-07-01', 180, 10, 1.5, '2024-07-01'), "
        "('plain', '2023-12-01', 180, 10, 0.9, '2024-07-01'), "
        "('best', '2023-12-01', 180, 10, 0.98, '2024-07-01')"
    )
    text = printed(served, tmp_path)
    assert "at the cut-offs 2023-07-01 to 2023-12-01, 1 is right" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["(-)", "0.98", "best"] in lines and ["(1.50)", "0.90", "plain"] in lines
    assert read_summary(served)["bias_by_cutoff"][0] == {
        **{"cutoff": "2023-07-01", "same_season": True, "best": None, "plain": 1.5}
    }
