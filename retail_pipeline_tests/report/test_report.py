"""The report is one file without requests, with the numbers of the tables."""

import io
import re
from collections import Counter
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    AssetsDefinition,
    Definitions,
    MaterializeResult,
    asset,
    asset_check,
    materialize,
)
from PIL import Image as Pillow

from retail_pipeline import wording
from retail_pipeline.clv.evaluation import metrics
from retail_pipeline.clv.serving.segments import ACTIONS, SEGMENTS
from retail_pipeline.dagster_support.run_window import RunWindow
from retail_pipeline.errors import PipelineError
from retail_pipeline.generation import begin
from retail_pipeline.postgres import Database, Role
from retail_pipeline.report import (
    card,
    check_results,
    document,
    glance,
    page,
    uncertainty,
)
from retail_pipeline.report.assets import (
    build_report,
    inventory,
)
from retail_pipeline.report.facts import read_facts
from retail_pipeline.settings import Settings

AS_OF = date(2024, 7, 1)
FINDING = 'One customer in five brings "most" of <all> & more'


class Page(HTMLParser):
    """The content of a page: tags, addresses, ids, attributes by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.ids: Counter[str] = Counter()
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = dict(attrs)
        self.attributes.setdefault(tag, []).append(found)
        self.ids.update([str(found["id"])] if "id" in found else [])
        self.addresses += [str(found[name]) for name in ("src", "href") if name in found]


def noise(width: int, height: int) -> bytes:
    """Return a PNG that cannot be compressed."""
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def served(database: Database) -> Database:
    """A database after a first run: predictions of ten customers, no past outcome."""
    begin(database, source_id="test", as_of=AS_OF, run_id="a run")
    for statement in (
        "create table warehouse.fct_transactions as select timestamptz '2024-06-30' "
        "as transacted_at, date '2024-06-30' as transaction_date, 'c' || n as customer_id, "
        "10.5 as net_amount, 0.0 as excluded_net_amount, false as is_excluded, "
        "1 as line_count, null::text as exclusion_reason "
        "from generate_series(1, 10) n",
        "create table warehouse.revenue_daily as select 'EUR' as currency",
        "create table warehouse.fct_transaction_items as select null::text as exclusion_reason, "
        "10.5 as net_amount",
        "insert into clv.model_decisions values ('2024-07-01', 30, now(), 'mean', 'mean-1', false, "
        "'mean serves unvalidated: <no> past', '{\"leaderboard\": []}')",
        "insert into clv.predictions select 'c' || n, '2024-07-01', 30, 100, 0, 200, 1, 0.5, n, "
        "'high value, active', 'mean', 'mean-1', now() from generate_series(1, 10) n",
        "insert into clv.segments values ('2024-07-01', 30, 'high value, active', 10, 1000, 1, 1, "
        "100, 0.5)",
        "update clv.segments set action = 'Keep them'",
    ):
        database.execute(statement)
    return database


def figure(home: Path, name: str, png: bytes) -> AssetsDefinition:
    """A figure that writes its file."""

    @asset(key=AssetKey(["figures", name]), group_name="figures")
    def drawn() -> MaterializeResult:
        path = home / f"{name}.png"
        path.write_bytes(png)
        return MaterializeResult(metadata={"path": str(path), "finding": FINDING, "share": 0.2})

    return drawn


def report(database: Database, home: Path, pngs: list[bytes]) -> tuple[str, dict]:
    """Materialize a table with two checks, figures, card and report, and return the page."""

    @asset(key=AssetKey(["warehouse", "fct_transactions"]), group_name="warehouse")
    def table() -> MaterializeResult:
        return MaterializeResult(metadata={"dagster/row_count": 12345})

    @asset_check(asset=table)
    def rows_are_there() -> AssetCheckResult:
        return AssetCheckResult(passed=True)

    @asset_check(asset=table)
    def rows_are_many() -> AssetCheckResult:
        few = "only <few> rows"
        return AssetCheckResult(passed=False, severity=AssetCheckSeverity.WARN, description=few)

    figures = [figure(home, f"figure_{number}", png) for number, png in enumerate(pngs)]
    before = Definitions(assets=[table, *figures], asset_checks=[rows_are_there, rows_are_many])
    pages = build_report(inventory([before])).assets or []
    result = materialize(
        [table, rows_are_there, rows_are_many, *figures, *pages],  # type: ignore[list-item]
        resources={
            "database": database,
            "settings": Settings(home=home),
            "run_window": RunWindow(horizon_days=30),
        },
    )
    [event] = [
        each
        for each in result.get_asset_materialization_events()
        if each.asset_key == AssetKey(["report", "run_report"])
    ]
    metadata = {name: each.value for name, each in event.materialization.metadata.items()}
    return Path(metadata["path"]).read_text(), metadata


@pytest.mark.parametrize("count", [0, 3])
def test_the_report_is_one_complete_and_well_formed_page(
    served: Database, tmp_path: Path, count: int
) -> None:
    text, metadata = report(served, tmp_path, [noise(40, 30)] * count)
    page = Page(text)
    assert all(re.match(r"#|data:image/png;base64,", each) for each in page.addresses)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|<script", text)
    assert page.attributes["html"][0]["lang"] == "en"
    assert page.tags["h1"] == page.tags["main"] == page.tags["nav"] == page.tags["footer"] == 1
    assert all(each.get("scope") in ("row", "col") for each in page.attributes["th"])
    assert set(page.ids.values()) == {1}
    anchors = {each[1:] for each in page.addresses if each.startswith("#")}
    assert anchors <= set(page.ids)
    assert [each["alt"] for each in page.attributes.get("img", [])] == [FINDING] * count
    assert metadata["figures"] == count
    assert metadata["bytes"] == len(text.encode())

    assert "1,000 EUR" in text and "12,345" in text
    assert "&lt;no&gt; past" in text and "only &lt;few&gt; rows" in text
    assert metadata["first_page"].startswith("# Retail pipeline: report as of 1")
    assert "## What not to trust" in metadata["first_page"]
    assert metadata["first_page"].endswith(f"    {metadata['report']}\n")
    assert page.tags["details"] == page.tags["summary"] == 2
    assert metadata["checks"] == "Of 2 checks: 1 passed, 1 warned."
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "No past outcome has confirmed this model" in card and "1,000 EUR" in card


def test_the_card_counts_what_revenue_counts_and_was_known(
    served: Database, tmp_path: Path
) -> None:
    """Add ten purchases of 10.50, and postage, a test record, late records and returns."""
    served.execute(
        "insert into warehouse.fct_transactions values "
        "('2024-06-28', '2024-06-28', 'c1', 25, 5, false), "  # 5 of it postage
        "('2024-06-29', '2024-06-29', null, -4, 0, false), "  # a return of an unknown customer
        "('2024-06-01', '2024-06-01', 'test', 1000, 1000, true), "
        "('2024-06-27', '2024-07-02', 'late', 500, 0, false), "  # recorded after the date
        "('2024-07-01', null, 'new', 300, 0, false)"
    )
    report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "- **Net amount**: 121 EUR" in card
    assert "- **Transactions**: 12\n- **Customers with a transaction**: 10\n" in card
    assert "- **Period**: 2024-06-28 to 2024-06-30" in card


def test_the_card_shows_what_the_served_model_leans_on_and_no_other(
    served: Database, tmp_path: Path
) -> None:
    served.execute(
        "insert into clv.feature_importance values "
        "('2024-07-01', 30, 'recency', 'decision_tree', '2024-05-01', 70, 3, 0.4, 0.01, 0.2)"
    )
    report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "Nothing has been measured for mean" in card and "recency" not in card
    served.execute(
        "insert into clv.feature_importance values "
        "('2024-06-20', 30, 'frequency', 'mean', '2024-05-01', 70, 3, 0.3, 0.01, 0.1), "
        "('2024-06-10', 30, 'lifetime', 'mean', '2024-04-01', 70, 3, 0.3, 0.01, 0.1)"
    )
    report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "| frequency | +30.0% | +0.100 |" in card
    assert "recency" not in card and "lifetime" not in card


def test_the_report_has_discounted_value_and_extrapolation(
    served: Database, tmp_path: Path
) -> None:
    report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "no product costs known" in card
    assert "extrapolated" not in card and "iscounted" not in card
    served.execute(
        "update clv.predictions set discount_rate = 0.1, discounted_value = 95, "
        "predicted_margin = 40, discounted_margin = 38, is_extrapolated = true"
    )
    served.execute(
        "update clv.segments set discounted_value = 950, predicted_margin = 400, "
        "discounted_margin = 380"
    )
    text, _ = report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "discounted at 10 % a year**: 950 EUR" in card and "gross margin in total**: 400" in card
    assert "| 1,000 EUR | 950 EUR | 400 EUR | 380 EUR |" in card
    assert "longer than any complete outcome" in card and "mean, extrapolated" in text


def test_realised_totals_are_divided_as_the_bias_is(served: Database, tmp_path: Path) -> None:
    served.execute(
        "insert into clv.realised_predictions select date '2024-05-01', 30, 'served', decile, "
        "'mean', 2, 15, 10 * least(decile - 1, 1), 1, 1.5, 1, '2024-07-01' "
        "from generate_series(1, 2) decile"
    )
    report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "| Predicted | Actual | Predicted ÷ actual | Inside 80 % |" in card
    assert "| 2024-05-01 | served | 4 | 30 EUR | 10 EUR | 3 | 50% |" in card


def test_the_card_counts_the_cutoffs_of_the_last_twelve_months_alone(
    served: Database, tmp_path: Path
) -> None:
    served.execute(
        "insert into clv.backtest_metrics (model_name, cutoff_date, horizon_days, customers, bias, "
        "as_of_date) values ('mean', '2023-06-01', 30, 10, 9, '2024-07-01'), "  # too old
        "('mean', '2023-06-02', 30, 10, 2, '2024-07-01'), "
        "('mean', '2024-06-01', 30, 10, 1, '2024-07-01'), "
        "('mean', '2024-06-02', 30, 10, 8, '2024-07-01')"  # not complete yet
    )
    report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "| Bias | 1.50 | 1 | 2 |" in card


def test_the_card_says_by_how_many_days_the_next_order_was_off(
    served: Database, tmp_path: Path
) -> None:
    report(served, tmp_path, [])
    assert "own mean gap" not in (tmp_path / "report" / "model_card.md").read_text()
    served.execute(
        "insert into clv.backtest_metrics (model_name, cutoff_date, horizon_days, customers, "
        "next_order_error_days, own_gap_error_days, usual_gap_error_days, as_of_date) values "
        "('mean', '2024-06-01', 30, 10, 7, 11, 12, '2024-07-01')"
    )
    report(served, tmp_path, [])
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert "off by 7 days on average" in card
    assert "off by 11 days, by the median gap of all by 12" in card


def test_dashboards_read_the_results_of_the_latest_report_alone(
    served: Database, tmp_path: Path
) -> None:
    served.execute(
        "insert into clv.check_results values ('gone', 'x', 'failed', '', true, %s)", [AS_OF]
    )
    report(served, tmp_path, [])
    found = served.as_role(Role.READER).query(
        "select asset, check_name, outcome, reason, in_this_run from clv.check_results order by 2"
    )
    assert found.to_numpy().tolist() == [
        ["warehouse/fct_transactions", "rows_are_many", "warned", "only <few> rows", True],
        ["warehouse/fct_transactions", "rows_are_there", "passed", "", True],
    ]


def test_without_predictions_the_remedy_is_named(served: Database, tmp_path: Path) -> None:
    served.execute("delete from clv.predictions")
    with pytest.raises(PipelineError, match="materialize clv/predictions first"):
        report(served, tmp_path, [])


def test_customers_of_equal_prediction_share_their_outcome_in_the_intervals() -> None:
    actual = np.sort(np.random.default_rng(4).gamma(0.4, 200, 500))[::-1]
    frame = pd.DataFrame({"actual_value": actual, "lower_80": 0.0, "upper_80": 150.0})
    for predicted in (np.full(500, 90.0), np.repeat([0.0, 90.0], 250), actual // 100):
        frame["predicted_value"] = predicted
        table = uncertainty.intervals(frame).set_index("metric")
        exact = metrics.evaluate(frame, actual)["normalized_gini"]
        assert table["value"]["normalized_gini"] == pytest.approx(exact, abs=1e-9)
    frame["actual_value"] = 50.0
    assert "normalized_gini" not in uncertainty.intervals(frame)["metric"].tolist()


def test_intervals_hold_the_metric_and_narrow_with_more_customers() -> None:
    random = np.random.default_rng(3)
    widths = []
    for customers in (300, 6000):
        actual = random.gamma(0.4, 200, customers) * (random.random(customers) < 0.5)
        frame = pd.DataFrame(
            {
                "predicted_value": actual * random.lognormal(0, 0.5, customers) + 10,
                "lower_80": 0.0,
                "upper_80": 150.0,
                "actual_value": actual,
            }
        )
        table = uncertainty.intervals(frame).set_index("metric")
        exact = metrics.evaluate(frame, actual)
        for name, row in table.iterrows():
            assert row["value"] == pytest.approx(exact[str(name)], abs=1e-9)
            assert row["low"] < row["value"] < row["high"]
        widths.append((table["high"] - table["low"])["normalized_gini"])
    assert widths[1] < widths[0] / 2


@pytest.mark.filterwarnings("error")
def test_resamples_without_a_buyer_leave_the_intervals_finite() -> None:
    actual = np.repeat([50.0, 0.0], [4, 16])
    frame = pd.DataFrame(
        {"predicted_value": 10.0, "lower_80": 0.0, "upper_80": 60.0, "actual_value": actual}
    )
    table = uncertainty.intervals(frame)
    assert np.isfinite(table[["value", "low", "high"]].to_numpy(float)).all()
    assert table["metric"].tolist().count("bias") == 1


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_written_as_missing(value: float | None) -> None:
    written = {wording.number(value), wording.share(value), wording.money(value, "")}
    assert written == {wording.MISSING}


def test_numbers_are_written_with_the_digits_that_matter() -> None:
    numbers = [0.12345, 12.345, 1234.5, 3.0, -0.0001]
    assert [wording.number(value) for value in numbers] == ["0.123", "12.35", "1,234", "3", "0.000"]
    assert wording.number(0.5, sign="+") == "+0.500" and wording.share(-0.5, sign="+") == "-50%"
    amounts = [wording.money(value, "EUR") for value in (12.345, 12, 1234.5, 0.004)]
    assert amounts == ["12.35 EUR", "12 EUR", "1,234 EUR", "0.00 EUR"]
    assert wording.money(-12, "", sign="+") == "-12"


def test_one_of_a_kind_is_written_in_the_singular() -> None:
    one = check_results.CheckResult("a", "b", "passed", "", in_this_run=False)
    assert check_results.summary([one]) == (
        "Of 1 check: 1 passed. 1 of these results is from an earlier run."
    )
    assert check_results.summary([one] * 2) == (
        "Of 2 checks: 2 passed. 2 of these results are from an earlier run."
    )
    assert page.Layer("marts", 1, 1, 1).words == "1 asset · 1 row · 1 check"
    assert page.Layer("marts", 2, 1234, 2).words == "2 assets · 1,234 rows · 2 checks"


def test_a_horizon_of_one_day_and_one_customer_are_written_in_the_singular(
    served: Database, tmp_path: Path
) -> None:
    for table in ("model_decisions", "predictions", "segments"):
        served.execute(f"update clv.{table} set horizon_days = 1")
    served.execute("update clv.predictions set probability_active = 0.1")
    served.execute(
        "insert into clv.feature_importance values "
        "('2024-07-01', 1, 'recency', 'mean', '2024-05-01', 1, 3, 0.4, 0.01, 0.2)"
    )
    facts = read_facts(served, "test", AS_OF, 1)
    card_text, head = card.markdown(facts), glance.sections(facts, [])[0].blocks[0]
    assert "# Model card: customer value over 1 day as of" in card_text
    assert "net amount of the next 1 day," in card_text
    assert "shuffled among 1 customer:" in card_text
    assert "No prediction over 1 day has come due yet." in card_text
    assert "predicted for 1 day after 2024-07-01" in glance.subtitle(facts)
    assert ("Expected to buy", "1 of 10 customers") in head.items


def first_page(database: Database, results: list[check_results.CheckResult]) -> str:
    facts = read_facts(database, "test", AS_OF, 30)
    return document.as_markdown("Report", glance.sections(facts, results))


def test_the_first_page_tells_the_range_last_year_and_who_is_late(served: Database) -> None:
    text = first_page(served, [])
    assert "80 %" not in text.split("## Segments")[0].replace("inside the 80 % interval", "")
    assert "nobody has a usual gap" in text
    served.execute(
        "insert into clv.totals values "
        "('2024-07-01', 30, 'all', 'all', 10, 1000, 700, 990, 12, 5, 9, 1100, 800, 'mean', 'm'), "
        "('2024-07-01', 30, 'segment', 'high value, active', 10, 1000, 600, 1600, 12, 5, 9, "
        "null, null, null, 'm')"
    )
    served.execute("update clv.predictions set days_overdue = -1")
    text = first_page(served, [])
    assert "- **8 times in 10 it lies in**: 700 to 990 EUR" in text
    assert "- **A year before**: 1,100 EUR were predicted and 800 EUR were spent" in text
    assert "| high value, active | 10 | 1,000 EUR | 100% | 600 to 1,600 EUR | Keep them" in text
    assert "A year before, mean was tested" not in text
    assert "it lies above its range: it depends on few purchases" in text
    assert "No customer of high value is late." in text
    served.execute("update clv.predictions set days_overdue = 5 where clv_decile > 7")
    served.execute(
        "update clv.predictions set segment = 'low value, active' where customer_id = 'c10'"
    )
    text = first_page(served, [])
    assert "| 1 to 7 days | 2 | 200 EUR |" in text and "days_overdue > 0" in text
    assert "c9" not in text  # the page can be mailed
    served.execute("update clv.totals set predicted_year_ago = null")
    assert "- **A year before**: not tested" in first_page(served, [])
    served.execute("update clv.totals set model_year_ago = 'other'")
    assert "A year before, other was tested, which has no season." in first_page(served, [])


def test_the_first_page_says_what_moved_since_the_last_prediction(served: Database) -> None:
    text = first_page(served, [])
    assert "There is no earlier prediction over this horizon" in text and "Change" not in text
    served.execute(
        "insert into clv.segments values "
        "('2024-06-01', 30, 'high value, active', 8, 800, 0.8, 1, 100, 0.5), "
        "('2024-06-01', 30, 'low value, active', 4, 450, 0.2, 1, 100, 0.5), "
        "('2024-05-01', 30, 'high value, active', 1, 1, 1, 1, 1, 0.5), "
        "('2024-06-01', 90, 'high value, active', 1, 1, 1, 1, 1, 0.5)"
    )
    served.execute(
        "insert into clv.segment_changes values "
        "('2024-07-01', 30, 'decision', '2024-06-01', 'low value, active', 'low', 9, 1), "
        "('2024-07-01', 30, 'decision', '2024-06-01', 'low', 'high value, active', 2, 0), "
        "('2024-07-01', 30, 'decision', '2024-06-01', 'stayed', 'stayed', 99, 1), "
        "('2024-07-01', 30, 'rfm', '2024-06-01', 'a name', 'another', 50, 1)"
    )
    text = first_page(served, [])
    assert "from 1,250 EUR to 1,000 EUR (-20%), and the customers from 12 to 10." in text
    assert "| high value, active | 10 | 1,000 EUR | 100% | \N{EN DASH} | +25% | Keep" in text
    high, low = "| low | high value, active | 2 | 0 |", "| low value, active | low | 9 | 1 |"
    assert text.index(high) < text.index(low)
    assert "stayed" not in text and "a name" not in text


def test_each_segment_has_its_own_suggestion() -> None:
    assert set(ACTIONS) == set(SEGMENTS)
    assert len(set(ACTIONS.values())) == len(SEGMENTS)


def test_the_first_page_says_what_not_to_trust(served: Database) -> None:
    def result(outcome: check_results.Outcome, number: int) -> check_results.CheckResult:
        return check_results.CheckResult("a", f"is_{number}", outcome, "words", in_this_run=True)

    text = first_page(served, [result("passed", 1)])
    assert "No past outcome has confirmed the model" in text
    served.execute("update clv.model_decisions set validated = true")
    text = first_page(served, [result("passed", 1)])
    assert "No reason to doubt the numbers is known." in text and "Of 1 check: 1 passed." in text
    many = [result("passed", 0), *(result("warned", n) for n in range(1, 8)), result("failed", 8)]
    text = first_page(served, many)
    assert "No reason to doubt" not in text and "is_0" not in text
    assert text.index("Words (failed: a, is_8)") < text.index("Words (warned: a, is_1)")
    assert "2 more are under Data checks." in text and "is_7" not in text


def test_the_card_shows_the_bias_at_each_cutoff_and_marks_the_season(served: Database) -> None:
    served.execute(
        "insert into clv.backtest_metrics (model_name, cutoff_date, horizon_days, customers, bias, "
        "as_of_date) values ('mean', '2023-07-01', 30, 10, 1.5, '2024-07-01'), "
        "('mean', '2024-01-01', 30, 10, 0.8, '2024-07-01'), "
        "('other', '2024-01-01', 30, 10, 9, '2024-07-01')"
    )
    text = card.markdown(read_facts(served, "test", AS_OF, 30))
    assert "| Cut-off | mean | Season |" in text
    assert "| 2023-07-01 | 1.50 | same season a year before |" in text
    assert "| 2024-01-01 | 0.80 |  |" in text


@pytest.mark.parametrize(
    ("ends", "line"),
    [
        ((0, 4, 9), "├───●────┤"),
        ((3, 3, 9), "···●─────┤"),
        ((3, 1, 6), "·●·├──┤···"),
        ((0, 0, 0), "●·········"),
        ((np.nan, 1, 6), wording.MISSING),
    ],
)
def test_a_range_is_drawn_to_scale(ends: tuple[float, float, float], line: str) -> None:
    assert wording.span(*ends, 9, width=10) == line


def test_markdown_escapes_any_cell() -> None:
    frame = pd.DataFrame({"name": ["a|b"], "value": [0.123456], "missing": [None]})
    columns = {"Name": ("name", str), **dict.fromkeys(("V", "W"), ("value", wording.number))}
    table = document.table("A row", frame, columns | {"M": ("missing", wording.number)})
    text = document.as_markdown("Title", [document.Section("S", [table])])
    assert "| --- | ---: | ---: | ---: |" in text
    assert f"| a\\|b | 0.123 | 0.123 | {wording.MISSING} |" in text
