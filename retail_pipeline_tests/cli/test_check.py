"""The command `check`: how a file is read, what is lost, doubts, and the verdict on the history."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from retail_pipeline.cli.main import app
from retail_pipeline.errors import UsageError
from retail_pipeline.reading_options import ReadingOptions
from retail_pipeline.retail_api.source.file_check import check_file

Row = Mapping[str, object]


def write(folder: Path, rows: list[Row], **options: object) -> Path:
    path = folder / "sales.csv"
    pd.DataFrame(rows).to_csv(path, index=False, **options)
    return path


def sales(lines: int = 120) -> list[Row]:
    """Lines of 40 customers who each buy three times, in four months."""
    return [
        {
            "customer_id": f"c{at % 40}",
            "ts": str((pd.Timestamp("2024-01-01") + pd.Timedelta(days=at)).date()),
            "order_id": f"o{at}",
            "amount": at + 1,
        }
        for at in range(lines)
    ]


def invoke(path: Path, *options: str) -> tuple[int, str, Exception | None]:
    result = CliRunner().invoke(app, ["check", str(path), *options])
    error = result.exception if isinstance(result.exception, UsageError) else None
    return result.exit_code, result.output, error


def test_check_says_how_a_file_is_read_and_what_is_in_it(tmp_path: Path) -> None:
    path = write(tmp_path, sales(), sep=";")
    code, output, _ = invoke(path, "--cutoff", "2024-04-01", "--horizon-days", "30")
    assert code == 0
    for words in (
        "values separated by semicolons",
        "120: 120 used, 0 not used",
        "7,260.00 net: sales 7,260.00, returns 0.00, 120 orders, 2024-01-01 to 2024-04-29",
        "2024-02     29      29         29  1,334        0   1,334",
        "40 customers bought on two days or more: read the ranking",
        "not enough for 30 days from 2024-04-01: 40 customers, 40 bought on several days and 0",
        f"retail-pipeline run --source file:{path}",
    ):
        assert words in output


def test_the_json_of_check_adds_up(tmp_path: Path) -> None:
    rows = sales()
    rows[3] = {**rows[3], "amount": "x"}
    rows[4] = {**rows[4], "customer_id": ""}
    code, output, _ = invoke(write(tmp_path, rows), "--json")
    found = json.loads(output)
    assert code == 0
    lost = {loss["treatment"]: loss["lines"] for loss in found["losses"]}
    assert lost == {"rejected": 1, "no customer": 1}
    assert found["lines"] == found["used"] + lost["rejected"] == 120
    assert sum(month["lines"] for month in found["months"]) == found["used"]
    assert sum(month["net_amount"] for month in found["months"]) == 7260 - 4
    assert found["examples"][0] == {"line": 4, "reason": "amount is not a number: 'x'"}


def test_check_tells_that_a_run_would_stop(tmp_path: Path) -> None:
    rows = [{**row, "ts": "" if at % 2 else row["ts"]} for at, row in enumerate(sales())]
    path = write(tmp_path, rows)
    code, output, error = invoke(path)
    assert code != 0
    assert "120: 60 used, 60 not used" in output
    assert "a run with this file would stop: 60 of 120 lines" in str(error)
    assert invoke(path, "--accept-loss", "0.6")[0] == 0


DOUBTFUL: dict[str, list[Row]] = {
    "one_customer_has_many_lines": [
        *sales(),
        *({**row, "customer_id": "till 1"} for row in sales(60)),
    ],
    "long_gap": [*sales(), {**sales()[0], "ts": "1970-01-01", "order_id": "p"}],
    "dates_after_today": [*sales(), {**sales()[0], "ts": "2024-09-02", "order_id": "p"}],
    "amounts_are_unit_prices": [
        {**row, "quantity": 3, "unit_price": row["amount"]} for row in sales()
    ],
    "amounts_differ_from_prices": [{**row, "quantity": 3, "unit_price": 1 / 7} for row in sales()],
    "amounts_are_order_totals": [
        {**row, "customer_id": "c1", "ts": "2024-01-01", "order_id": f"o{at // 2}"}
        | {"product_id": f"p{at % 2}", "amount": at // 2 + 1}
        for at, row in enumerate(sales())
    ],
    "currency_spelled_twice": [
        {**row, "currency": "eur" if at % 2 else "EUR"} for at, row in enumerate(sales())
    ],
}


@pytest.mark.parametrize("rule", DOUBTFUL)
def test_each_rule_doubts_its_file_alone(tmp_path: Path, rule: str) -> None:
    path = write(tmp_path, DOUBTFUL[rule])
    found = check_file(path, ReadingOptions(), day=date(2024, 6, 1))
    assert [name for name, _ in found.doubts] == [rule]


def test_a_plain_file_leaves_no_doubt_before_its_as_of_date_is_far_away(tmp_path: Path) -> None:
    path = write(
        tmp_path, [{**row, "quantity": 2, "unit_price": 0.5 * row["amount"]} for row in sales()]
    )  # type: ignore[operator]
    assert check_file(path, ReadingOptions(), day=date(2024, 6, 1)).doubts == []
    far = check_file(path, ReadingOptions(), day=date(2024, 6, 1), cutoff=date(2024, 9, 1))
    assert [name for name, _ in far.doubts] == ["as_of_far_after_sales"]


def test_days_and_months_are_those_of_the_shops_time_zone(tmp_path: Path) -> None:
    rows = [{**sales()[0], "ts": "2024-02-01 04:00"}, {**sales()[0], "ts": "2024-02-01 06:00"}]
    found = check_file(write(tmp_path, rows), ReadingOptions(), time_zone="America/New_York")
    assert found.months["month"].tolist() == ["2024-01", "2024-02"]
    assert (found.days[0], found.repeat_customers) == (date(2024, 1, 31), 1)


def test_lines_of_excluded_codes_are_counted(tmp_path: Path) -> None:
    rows = [{**row, "product_id": "POST" if at < 3 else "mug"} for at, row in enumerate(sales())]
    found = check_file(write(tmp_path, rows), ReadingOptions(), codes="uci_online_retail")
    assert found.excluded == [("postage", 3, 6.0)]
