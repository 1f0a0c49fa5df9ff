"""What is drawn is what the frames say, down to 20 customers, one day, one segment and nothing."""

from collections.abc import Iterator
from datetime import date

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from retail_pipeline.figures.customers import cohort_retention, segments
from retail_pipeline.figures.images import png
from retail_pipeline.figures.models import gain_curve, model_comparison, predicted_against_actual
from retail_pipeline.figures.revenue import revenue_over_time
from retail_pipeline.figures.style import Plot

AS_OF = date(2011, 6, 1)
WINDOW = {"as_of": AS_OF, "horizon_days": 180}
BTYD = {**WINDOW, "model_name": "pareto_nbd_gamma_gamma"}


def words_of(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.texts]
    texts += [text.get_text() for axes in figure.axes for text in axes.texts]
    return " ".join(texts).replace("\u00a0", " ")


def heights(axes: Axes) -> list[float]:
    return [bar.get_height() for container in axes.containers for bar in container]


def revenue(days: pd.DatetimeIndex, sales: list[float], returns: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"date_day": days, "sales_amount": sales, "returns_amount": returns})
    return frame.assign(net_amount=frame["sales_amount"] - frame["returns_amount"])


def outcomes(customers: int, cutoffs: int = 1, seed: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    days = pd.date_range("2010-03-01", periods=cutoffs, freq="MS")
    return pd.DataFrame(
        {
            "cutoff_date": np.repeat(days, customers),
            "customer_id": [f"c{i:05d}" for i in range(customers)] * cutoffs,
            "predicted_value": draw.lognormal(4, 1, customers * cutoffs),
            "actual_value": draw.lognormal(4, 1, customers * cutoffs)
            * (draw.random(customers * cutoffs) < 0.5),
        }
    )


class TestRevenue:
    def test_bars_are_the_sums_of_the_weeks_and_partial_weeks_are_light(self):
        days = pd.date_range("2011-01-05", "2011-05-31")  # a Wednesday to a Tuesday
        plot = revenue_over_time(
            revenue(days, [10.0] * len(days), [1.0] * len(days)), currency="GBP", as_of=AS_OF
        )
        above, below = plot.figure.axes
        complete, partial = ([bar.get_height() for bar in bars] for bars in above.containers)
        assert set(complete) == {63.0}
        assert sorted(partial) == [18.0, 45.0]
        assert sum(heights(below)) == len(days)
        assert "£1.32k over 147 days" in words_of(plot.figure)

    def test_absent_days_missing_values_and_more_returns_than_sales(self):
        days = pd.DatetimeIndex(["2011-05-01", "2011-05-02", "2011-05-05"])
        plot = revenue_over_time(
            revenue(days, [5.0, np.nan, 1.0], [0.0, 0.0, 9.0]), currency="", as_of=AS_OF
        )
        assert heights(plot.figure.axes[0]) == [5.0, 0.0, 0.0, 0.0, -8.0]
        assert plot.numbers["net_revenue"] == -3.0

    def test_the_last_year_is_compared_with_the_one_before(self):
        days = pd.date_range(end="2011-05-31", periods=730)
        sales = [100.0] * 365 + [110.0] * 365
        plot = revenue_over_time(revenue(days, sales, [0.0] * 730), currency="CHF", as_of=AS_OF)
        assert "40.1k CHF, 10% more than the year before" in words_of(plot.figure)

    @pytest.mark.parametrize("sales", [[12.5], [0.0], []])
    def test_a_single_day_or_none(self, sales: list[float]):
        days = pd.date_range("2011-05-31", periods=len(sales))
        plot = revenue_over_time(
            revenue(days, sales, [0.0] * len(sales)), currency="EUR", as_of=AS_OF
        )
        assert png(plot.figure)
        assert ("31 May 2011" in words_of(plot.figure)) == bool(sales)


def retention(rows: list[tuple[str, int, int, int]]) -> pd.DataFrame:
    columns = ["cohort_month", "months_since", "cohort_customers", "active_customers"]
    return pd.DataFrame(rows, columns=columns)


class TestRetention:
    ROWS = (
        ("2011-03-01", 0, 10, 10),
        ("2011-03-01", 1, 10, 5),
        ("2011-03-01", 2, 10, 1),
        ("2011-04-01", 0, 30, 30),
        ("2011-04-01", 1, 30, 3),
        ("2011-05-01", 0, 7, 7),
    )

    def test_cells_are_rates_and_the_average_weighs_customers(self):
        plot = cohort_retention(retention(list(self.ROWS)), as_of=AS_OF)
        upper, lower = (
            np.ma.filled(a.collections[0].get_array(), np.nan) for a in plot.figure.axes
        )
        np.testing.assert_allclose(upper, [[0.5, 0.1], [0.1, np.nan]])
        np.testing.assert_allclose(lower, [[8 / 40, 0.1]])
        assert "20% of customers buy in the next month" in words_of(plot.figure)

    def test_the_title_compares_the_same_cohorts(self):
        old = [("2011-01-01", month, 10, active) for month, active in enumerate([10, 6, 5, 4])]
        new = [("2011-04-01", 0, 90, 90), ("2011-04-01", 1, 90, 9)]
        plot = cohort_retention(retention([*old, *new]), as_of=AS_OF)
        assert "60% bought in the next month, 40% 3 months later" in words_of(plot.figure)

    def test_a_month_that_is_not_over_is_left_out(self):
        plot = cohort_retention(retention(list(self.ROWS)), as_of=date(2011, 5, 20))
        assert plot.figure.axes[0].collections[0].get_array().shape == (1, 1)
        assert plot.numbers["retention_month_1"] == 0.5

    def test_a_month_without_a_buyer_is_zero_not_missing(self):
        rows = [row for row in self.ROWS if row[:2] != ("2011-03-01", 1)]
        plot = cohort_retention(retention(rows), as_of=AS_OF)
        assert plot.figure.axes[0].collections[0].get_array()[0, 0] == 0.0

    @pytest.mark.parametrize("rows", [[], [("2011-05-01", 0, 20, 20)]])
    def test_no_cohort_old_enough_is_said_in_words(self, rows: list):
        plot = cohort_retention(retention(rows), as_of=AS_OF)
        assert not plot.figure.axes
        assert "No cohort is a full month old yet" in words_of(plot.figure)


class TestSegments:
    @pytest.mark.parametrize("number", [1, 2, 12])
    def test_bars_are_customers_and_value_highest_value_first(self, number: int):
        table = pd.DataFrame(
            {
                "segment": [f"segment {i}" for i in range(number)],
                "customers": range(1, number + 1),
                "predicted_value": np.arange(number) * 100.0,
            }
        )
        plot = segments(table, currency="GBP", **BTYD)
        widths = [[bar.get_width() for bar in a.containers[0]] for a in plot.figure.axes[:2]]
        assert widths[0] == list(range(number, 0, -1))
        assert widths[1] == list(np.arange(number)[::-1] * 100.0)
        assert plot.numbers["top_segment"] == f"segment {number - 1}"

    def test_missing_and_zero_values(self):
        table = pd.DataFrame(
            {"segment": ["a", None], "customers": [3, None], "predicted_value": [0.0, np.nan]}
        )
        plot = segments(table, currency="", **BTYD)
        assert plot.numbers["top_segment_share_of_value"] == 0.0
        assert png(plot.figure)


class TestPredictedAgainstActual:
    def test_bars_are_the_means_of_tenths_ranked_within_each_cutoff(self):
        frame = pd.concat(
            pd.DataFrame(
                {
                    "cutoff_date": cutoff,
                    "customer_id": [f"c{i:02d}" for i in range(20)],
                    "predicted_value": scale * np.arange(20.0),
                    "actual_value": 2 * scale * np.arange(20.0),
                }
            )
            for cutoff, scale in (("2010-03-01", 1.0), ("2010-04-01", 3.0))
        )
        plot = predicted_against_actual(frame.sample(frac=1, random_state=1), currency="", **BTYD)
        predicted, actual = (
            [bar.get_height() for bar in bars] for bars in plot.figure.axes[0].containers
        )
        np.testing.assert_allclose(predicted, 4 * np.arange(10) + 1)
        np.testing.assert_allclose(actual, 2 * np.array(predicted))
        assert "spent 74 each, 37 was predicted" in words_of(plot.figure)
        assert plot.numbers["predicted_over_actual"] == 0.5

    @pytest.mark.parametrize("customers", [1, 2, 7, 20])
    def test_few_customers_make_few_groups(self, customers: int):
        plot = predicted_against_actual(outcomes(customers), currency="GBP", **BTYD)
        assert len(plot.figure.axes[0].containers[0]) == min(10, customers)
        assert png(plot.figure)

    def test_nothing_bought_and_missing_outcomes(self):
        frame = outcomes(20).assign(actual_value=0.0)
        frame.loc[frame.index[:5], "actual_value"] = np.nan
        plot = predicted_against_actual(frame, currency="GBP", **BTYD)
        assert plot.numbers["customer_outcomes"] == 15
        assert "no actual" in words_of(plot.figure)


class TestGainCurve:
    def test_a_perfect_prediction_is_the_perfect_curve(self):
        frame = outcomes(200, 3).assign(predicted_value=lambda f: f["actual_value"])
        lines = {line.get_label(): line for line in gain_curve(frame, **BTYD).figure.axes[0].lines}
        np.testing.assert_allclose(
            lines["prediction"].get_ydata(), lines["perfect order"].get_ydata()
        )

    def test_equal_predictions_gain_nothing(self):
        frame = outcomes(50).assign(predicted_value=7.0)
        plot = gain_curve(frame, **BTYD)
        assert plot.numbers["share_of_value_top_20_percent"] == pytest.approx(0.2)

    def test_nothing_bought_is_said_in_words(self):
        plot = gain_curve(outcomes(20).assign(actual_value=0.0), **BTYD)
        assert "Nobody bought anything" in words_of(plot.figure)


def metrics(models: dict[str, float], cutoffs: int = 2) -> pd.DataFrame:
    days = pd.date_range("2010-03-01", periods=cutoffs, freq="MS")
    rows = [
        (name, day, deviance, 0.8, 1.0, 0.7) for name, deviance in models.items() for day in days
    ]
    columns = ["model_name", "cutoff_date", "tweedie_deviance", "normalized_gini", "bias"]
    return pd.DataFrame(rows, columns=[*columns, "mae_over_mean"])


class TestModelComparison:
    def test_models_are_sorted_by_mean_deviance_and_the_served_one_is_named(self):
        frame = metrics({"mean": 90.0, "last_window": 30.0, "pareto_nbd_gamma_gamma": 20.0})
        plot = model_comparison(frame, served="last_window", **WINDOW)
        first = plot.figure.axes[0]
        names = [label.get_text().replace("\u00a0", " ") for label in first.get_yticklabels()]
        assert names == ["Pareto/NBD + Gamma-Gamma", "Last window", "Mean"]
        assert [text.get_text() for text in first.texts[:3]] == ["20.0", "30.0", "90.0"]
        assert "Last window serves (20.0 against 30.0)" in words_of(plot.figure)
        plot = model_comparison(frame, served="last_window", validated=False, **WINDOW)
        assert "Last window serves unvalidated (20.0" in words_of(plot.figure)

    def test_means_are_over_the_cutoffs_that_all_models_were_tested_at(self):
        frame = metrics({"a": 20.0, "b": 30.0}, cutoffs=3)
        frame.loc[2, "tweedie_deviance"] = 1000.0  # a at the last cut-off, where b abstained
        plot = model_comparison(frame.drop(index=5), served="a", **WINDOW)
        assert plot.numbers["tweedie_deviance_of_best"] == 20.0
        assert plot.numbers["cutoffs"] == 2

    def test_undefined_and_absurd_metrics_do_not_flatten_the_rest(self):
        frame = metrics({"a": 20.0, "b": 21.0, "c": 1e12, "d": 22.0})
        frame.loc[frame["model_name"] == "b", "normalized_gini"] = np.nan
        plot = model_comparison(frame, served="a", **WINDOW)
        assert plot.figure.axes[0].get_xlim()[1] < 100
        assert "undefined" in words_of(plot.figure)

    @pytest.mark.parametrize("models", [{"mean": 5.0}, {"mean": np.nan}])
    def test_a_single_model(self, models: dict[str, float]):
        assert png(model_comparison(metrics(models, 1), served=None, **WINDOW).figure)


def without_outcome() -> list[Plot]:
    empty = outcomes(20).assign(actual_value=np.nan)
    return [
        predicted_against_actual(empty, currency="GBP", **BTYD),
        gain_curve(empty.iloc[:0], **BTYD),
        model_comparison(metrics({}), served="mean", **WINDOW),
    ]


def test_no_complete_past_outcome_is_said_in_words():
    for plot in without_outcome():
        assert not plot.figure.axes
        assert "no complete past outcome" in words_of(plot.figure)
        assert png(plot.figure)


def test_drawing_leaves_no_trace_in_matplotlib(monkeypatch: pytest.MonkeyPatch):
    import matplotlib.pyplot as plt

    monkeypatch.setitem(mpl.rcParams, "font.size", 31.0)
    before = dict(mpl.rcParams)
    png(gain_curve(outcomes(20), **BTYD).figure)
    png(cohort_retention(retention(list(TestRetention.ROWS)), as_of=AS_OF).figure)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_no_words_overlap_or_leave_the_page():
    many = {f"model_number_{i}": 20.0 + i for i in range(12)}
    for plot in (
        segments(
            pd.DataFrame(
                {
                    "segment": [f"medium value, dormant {i}" for i in range(12)],
                    "customers": [10**6] * 12,
                    "predicted_value": [1.5e9, *[1.0] * 11],
                }
            ),
            currency="CHF",
            **BTYD,
        ),
        model_comparison(metrics(many, 12), served="model_number_3", **WINDOW),
        predicted_against_actual(outcomes(500, 3), currency="CHF", **BTYD),
        gain_curve(outcomes(500, 3), **BTYD),
        cohort_retention(retention(list(TestRetention.ROWS)), as_of=AS_OF),
    ):
        png(plot.figure, dpi=100)
        assert_words_are_apart(plot.figure)


def assert_words_are_apart(figure: Figure) -> None:
    renderer = figure.canvas.get_renderer()
    shown = [
        *figure.texts,
        *(text for axes in figure.axes for text in words_in(axes)),
    ]
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in shown
        if text.get_visible() and text.get_text().strip()
    ]
    page = figure.bbox
    for index, (words, box) in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1, words
        assert page.y0 <= box.y0 and box.y1 <= page.y1, words
        for other, box_of_other in boxes[index + 1 :]:
            wide = min(box.x1, box_of_other.x1) - max(box.x0, box_of_other.x0)
            high = min(box.y1, box_of_other.y1) - max(box.y0, box_of_other.y0)
            assert wide <= 1.5 or high <= 3.0, (words, other)


def words_in(axes: Axes) -> Iterator[Text]:
    yield from axes.texts
    yield from (axes.title, axes._right_title, axes.xaxis.label, axes.yaxis.label)
    yield from axes.get_legend().get_texts() if axes.get_legend() else ()
    for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
        low, high = sorted(axis.get_view_interval())
        yield from (t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high)
