"""What is drawn is what the frames say, down to 20 customers, one day, one segment and nothing."""

from collections.abc import Iterator
from datetime import date
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from retail_pipeline.clv.monitoring import drift as oversight
from retail_pipeline.figures.behaviour import (
    order_values,
    purchase_gaps,
    revenue_concentration,
)
from retail_pipeline.figures.drift import (
    CLOCKS,
    drift,
)
from retail_pipeline.figures.explanation import (
    coefficients,
    decision_tree,
    feature_importance,
    feature_in_words,
)
from retail_pipeline.figures.images import png
from retail_pipeline.figures.models import (
    model_comparison,
    model_differences,
)
from retail_pipeline.figures.outcomes import (
    gain_curve,
    predicted_against_actual,
    realised_against_predicted,
)
from retail_pipeline.figures.retention import cohort_retention
from retail_pipeline.figures.revenue import revenue_over_time
from retail_pipeline.figures.segments import (
    rfm_map,
    segment_movement,
    segments,
)
from retail_pipeline.figures.style import (
    Plot,
    house_style,
)
from retail_pipeline.figures.trust import (
    activity_reliability,
    interval_coverage,
    residuals,
)

AS_OF = date(2011, 6, 1)
WINDOW = {"as_of": AS_OF, "horizon_days": 180}
BTYD = {**WINDOW, "model_name": "pareto_nbd_gamma_gamma"}


def words_of(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.texts]
    texts += [text.get_text() for axes in figure.axes for text in axes.texts]
    return " ".join(texts).replace("\u00a0", " ")


def bars_of(plot: Plot, panel: int = 0) -> list[BarContainer]:
    return bars_in(plot.figure.axes[panel])


def bars_in(axes: Axes) -> list[BarContainer]:
    return [c for c in axes.containers if isinstance(c, BarContainer)]


def assert_labels_are_apart(figure: Figure) -> None:
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(figure.axes[0].bbox.y0 < box.y0 for box in boxes)


def heights(axes: Axes) -> list[float]:
    return [bar.get_height() for container in axes.containers for bar in container]


def revenue(days: pd.DatetimeIndex, sales: list[float], returns: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"date_day": days, "sales_amount": sales, "returns_amount": returns})
    return frame.assign(net_amount=frame["sales_amount"] - frame["returns_amount"], orders=2)


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
        above, middle, below = plot.figure.axes
        complete, partial = ([bar.get_height() for bar in bars] for bars in above.containers)
        assert set(complete) == {63.0}
        assert sorted(partial) == [18.0, 45.0]
        assert sum(heights(below)) == len(days)
        assert sum(heights(middle)) == plot.numbers["orders"] == 2 * len(days)
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

    @pytest.mark.parametrize(
        ("each", "words"),
        [(100.0, "36.5k CHF, as much as the year before"), (-60.0, "was -21.9k CHF")],
    )
    def test_the_years_are_compared_only_where_that_says_something(self, each: float, words: str):
        days = pd.date_range(end="2011-05-31", periods=730)
        sales = [100.0] * 365 + [each] * 365
        plot = revenue_over_time(revenue(days, sales, [0.0] * 730), currency="CHF", as_of=AS_OF)
        title = plot.figure.get_label().replace("\u00a0", " ")
        assert title.endswith(words)

    def test_a_giant_return_leaves_the_scale_and_bears_its_amount(self):
        days = pd.date_range("2011-03-01", periods=20)
        returns = [1.0] * 20
        returns[7] = 5_000.0
        plot = revenue_over_time(revenue(days, [10.0] * 20, returns), currency="GBP", as_of=AS_OF)
        below = plot.figure.axes[2]
        assert below.get_ylim() == (0, 1.5)
        assert "£5k, beyond the scale" in words_of(plot.figure)

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

    def test_customers_are_those_of_the_cohorts_that_are_drawn(self):
        plot = cohort_retention(retention(list(self.ROWS)), as_of=AS_OF)
        assert (plot.numbers["cohorts"], plot.numbers["customers"]) == (2, 40)
        assert "2 cohorts, 40 customers" in words_of(plot.figure)

    def test_of_many_cohorts_the_cells_are_seen_and_so_is_the_row_of_all(self):
        months = pd.period_range("1991-05", "2011-05", freq="M")
        rows = [(f"{m}-01", k, 10, 5) for m in months for k in range(2)]
        upper, lower = cohort_retention(retention(rows), as_of=AS_OF).figure.axes[:2]
        assert lower.get_position().height > 0.03 * upper.get_position().height
        assert not any(axes.collections[0].get_linewidths().any() for axes in (upper, lower))

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


def segment_table(number: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "segment": [f"segment {i}" for i in range(number)],
            "customers": range(1, number + 1),
            "predicted_value": np.arange(number) * 100.0,
        }
    )


class TestSegments:
    @pytest.mark.parametrize("number", [1, 2, 12])
    def test_bars_are_customers_and_value_highest_value_first(self, number: int):
        table = segment_table(number)
        plot = segments(table, currency="GBP", **BTYD)
        widths = [[bar.get_width() for bar in a.containers[0]] for a in plot.figure.axes[:2]]
        assert widths[0] == list(range(number, 0, -1))
        assert widths[1] == list(np.arange(number)[::-1] * 100.0)
        assert plot.numbers["top_segment"] == f"segment {number - 1}"

    @pytest.mark.parametrize(
        ("customers", "words"),
        [(1, "The only customer is in one segment"), (2, "All 2 customers are in one segment")],
    )
    def test_one_segment_is_told_in_one_number(self, customers: int, words: str):
        table = segment_table(1).assign(customers=customers)
        assert words in words_of(segments(table, currency="GBP", **BTYD).figure)

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
        predicted, actual = ([bar.get_height() for bar in bars] for bars in bars_of(plot))
        np.testing.assert_allclose(predicted, 4 * np.arange(10) + 1)
        np.testing.assert_allclose(actual, 2 * np.array(predicted))
        assert "spent 74 each, 37 was predicted" in words_of(plot.figure)
        assert plot.numbers["predicted_over_actual"] == 0.5

    @pytest.mark.parametrize("customers", [1, 2, 7, 20])
    def test_few_customers_make_few_groups(self, customers: int):
        plot = predicted_against_actual(outcomes(customers), currency="GBP", **BTYD)
        assert len(bars_of(plot)[0]) == min(10, customers)
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

    @pytest.mark.parametrize(
        "reached", [0.0, 0.05, 0.07, 0.1, 0.15, 0.16, 0.2, 0.24, 0.25, 0.34, 0.9, 0.95, 0.96, 1.0]
    )
    def test_labels_of_curves_that_meet_lie_beside_each_other(self, reached: float):
        """Ten customers, the best two of whom brought this part, and all the rest the next two."""
        frame = outcomes(10).assign(predicted_value=np.arange(10, 0, -1.0), actual_value=0.0)
        frame.loc[[0, 1], "actual_value"] = reached / 2
        frame.loc[[2, 3], "actual_value"] = (1 - reached) / 2
        assert_labels_are_apart(gain_curve(frame, **BTYD).figure)

    @pytest.mark.parametrize("actual", [1.0, None])
    def test_labels_of_equal_predictions_lie_beside_each_other(self, actual: float | None):
        frame = outcomes(50).assign(predicted_value=7.0)
        assert_labels_are_apart(
            gain_curve(frame.assign(actual_value=actual) if actual else frame, **BTYD).figure
        )

    def test_a_cutoff_after_which_nobody_bought_does_not_count(self):
        frame = outcomes(20, 3)
        frame.loc[frame["cutoff_date"] == "2010-05-01", "actual_value"] = 0.0
        plot = gain_curve(frame, **BTYD)
        assert "2 cut-offs from 1 Mar 2010 to 1 Apr 2010" in words_of(plot.figure)
        assert (plot.numbers["cutoffs"], plot.rows) == (2, 40)

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

    @pytest.mark.parametrize(
        ("models", "served", "words"),
        [
            ({"a": 20.0, "b": 30.0}, "a", "of 2 models and serves unvalidated: 20.0 against 30.0"),
            ({"a": 20.0, "b": 30.0}, "c", "against 30.0 of the next; C serves unvalidated"),
            ({"a": 20.0}, "a", "deviance of 20.0 and serves unvalidated"),
            ({"a": 20.0}, "c", "deviance of 20.0; C serves unvalidated"),
            ({"a": np.nan}, "a", "after the cut-offs; A serves unvalidated"),
        ],
    )
    def test_a_model_that_serves_unvalidated_is_told_wherever_it_stands(
        self, models: dict[str, float], served: str, words: str
    ):
        frame = metrics(models)
        doubtful = model_comparison(frame, served=served, validated=False, **WINDOW).figure
        assert words in doubtful.get_label().replace("\u00a0", " ")
        sure = model_comparison(frame, served=served, **WINDOW).figure
        assert "unvalidated" not in sure.get_label()

    def test_means_over_different_cutoffs_are_said_not_to_compare(self):
        frame = metrics({"a": 20.0, "b": 30.0})
        apart = frame.drop(index=[1, 2])  # a at the first cut-off, b at the last
        plot = model_comparison(apart, served="a", **WINDOW)
        assert "No cut-off is common to all models" in words_of(plot.figure)
        for common in (frame, frame.drop(index=3), metrics({"a": np.nan, "b": np.nan})):
            words = words_of(model_comparison(common, served="a", **WINDOW).figure)
            assert "common to all models" not in words

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


def steps(values: list[float], per_decade: int = 100) -> pd.DataFrame:
    frame = pd.DataFrame({"net": np.array(values, float)})
    positive = frame["net"].where(frame["net"] > 0)
    frame["step"] = np.floor(per_decade * np.log10(positive))
    found = frame.groupby("step", dropna=False)["net"].agg(["size", "sum"]).reset_index()
    return found.rename(columns={"size": "orders", "sum": "amount"})


class TestPurchaseGaps:
    def draw(self, days: list[int], **others: int) -> Plot:
        counts = pd.Series(days, dtype=int).value_counts()
        frame = pd.DataFrame({"gap_days": counts.index, "gaps": counts.to_numpy()})
        return purchase_gaps(frame, **{"customers": 30, "single": 10, **others}, **WINDOW)

    def test_bars_are_shares_and_the_last_one_holds_the_rest(self):
        plot = self.draw([*[7] * 50, *[30] * 30, *[100] * 19, 4000])
        bars = heights(plot.figure.axes[0])
        assert sum(bars) == pytest.approx(1.0)
        assert bars[-1] == pytest.approx(0.01)
        assert max(bars) == pytest.approx(0.5)
        assert plot.numbers["median_gap_days"] == 7
        assert plot.numbers["gap_days_90_percent"] == 100
        assert "within 7 days, nine in ten within 100 days" in words_of(plot.figure)
        assert "100 gaps of 20 customers, 33% of customers bought once" in words_of(plot.figure)

    def test_the_horizon_is_marked_on_the_step_of_the_curve(self):
        plot = self.draw([*[100] * 50, *[300] * 40, *[600] * 10])
        [at, within] = plot.figure.axes[1].collections[-1].get_offsets()[0]
        assert at == 180
        assert within == pytest.approx(0.5) == plot.numbers["share_within_horizon"]

    def test_a_horizon_of_one_day(self):
        frame = pd.DataFrame({"gap_days": [5, 40], "gaps": [9, 3]})
        plot = purchase_gaps(frame, customers=9, single=1, as_of=AS_OF, horizon_days=1)
        assert "horizon, 1 day" in [
            text.get_text().replace("\u00a0", " ") for text in plot.figure.axes[1].texts
        ]

    @pytest.mark.parametrize("days", [[1], [5, 5], list(range(1, 80))])
    def test_few_gaps(self, days: list[int]):
        plot = self.draw(days)
        assert sum(heights(plot.figure.axes[0])) == pytest.approx(1.0)

    def test_no_second_purchase_is_said_in_words(self):
        assert "Nobody has bought a second time yet" in words_of(self.draw([]).figure)


class TestOrderValues:
    def test_bars_are_shares_of_orders_and_of_value(self):
        plot = order_values(
            steps([1.0] * 100 + [10.0] * 100 + [100.0] * 50 + [0.0, -5.0]),
            steps_per_decade=100,
            currency="GBP",
            as_of=AS_OF,
        )
        orders, value = (heights(axes) for axes in plot.figure.axes)
        assert sorted(orders)[-3:] == pytest.approx([0.2, 0.4, 0.4])
        assert sorted(value)[-3:] == pytest.approx([100 / 6100, 1000 / 6100, 5000 / 6100])
        assert plot.numbers["orders"] == 250
        assert plot.numbers["median_order_value_about"] == pytest.approx(10, rel=0.012)
        assert "2 orders of zero or less" in words_of(plot.figure)

    @pytest.mark.parametrize("values", [[12.0], [0.001, 5e6], list(range(1, 20))])
    def test_few_orders(self, values: list[float]):
        plot = order_values(steps(values), steps_per_decade=100, currency="", as_of=AS_OF)
        assert sum(heights(plot.figure.axes[0])) == pytest.approx(1.0)

    def test_nothing_sold_is_said_in_words(self):
        plot = order_values(steps([0.0]), steps_per_decade=100, currency="", as_of=AS_OF)
        assert "no order with a value" in words_of(plot.figure)


def value_groups(past: list[float], predicted: list[float]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "kind": kind,
                "place": range(1, len(values) + 1),
                "customers": 1,
                "value": np.maximum(sorted(values, reverse=True), 0.0),
                "negative": (np.array(sorted(values, reverse=True)) < 0).astype(int),
            }
        )
        for kind, values in (("past", past), ("predicted", predicted))
        if values
    )


class TestConcentration:
    def test_lines_are_cumulated_shares_from_the_rich_end(self):
        groups = value_groups([5.0, 80.0, 10.0, 5.0, -2.0], [20.0] * 5)
        plot = revenue_concentration(groups, currency="GBP", **WINDOW)
        lines = plot.figure.axes[0].lines
        by_end = [line.get_ydata() for line in lines if len(line.get_ydata()) == 6]
        np.testing.assert_allclose(by_end[0], [0, 0.8, 0.9, 0.95, 1.0, 1.0])
        np.testing.assert_allclose(by_end[1], np.linspace(0, 1, 6))
        assert plot.numbers["past_share_of_top_20_percent"] == pytest.approx(0.8)
        assert plot.numbers["predicted_gini"] == pytest.approx(0.0)
        assert "1 customer with a negative sum counts as zero" in words_of(plot.figure)

    @pytest.mark.parametrize("predicted", [[1.0] * 5, [3.0, 2.0, 2.0, 2.0, 2.0], []])
    def test_labels_of_equal_customers_lie_beside_each_other(self, predicted: list[float]):
        plot = revenue_concentration(value_groups([20.0] * 5, predicted), currency="", **WINDOW)
        assert_labels_are_apart(plot.figure)

    def test_several_customers_with_a_negative_sum_count_as_zero(self):
        plot = revenue_concentration(value_groups([5.0, -1.0, -2.0], []), currency="", **WINDOW)
        assert "2 customers with a negative sum count as zero" in words_of(plot.figure)

    def test_no_value_at_all_is_said_in_words(self):
        plot = revenue_concentration(value_groups([-1.0], [0.0]), currency="", **WINDOW)
        assert "no value to be shared out" in words_of(plot.figure)


def rfm_cells(scores: list[tuple[int, int]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "r_score": [r for r, _ in scores],
            "f_score": [f for _, f in scores],
            "rfm_segment": ["Champions" if r == 5 else "Potential loyalists" for r, _ in scores],
            "customers": range(1, len(scores) + 1),
            "monetary": [100.0 * r - 150 for r, _ in scores],
            "recency_min": [10 * (5 - r) for r, _ in scores],
            "recency_max": [10 * (5 - r) + 9 for r, _ in scores],
            "frequency_min": [f for _, f in scores],
            "frequency_max": [f for _, f in scores],
        }
    )


class TestRfmMap:
    def test_each_cell_bears_its_customers_and_revenue(self):
        cells = rfm_cells([(r, f) for r in range(1, 6) for f in range(1, 6)])
        plot = rfm_map(cells, currency="GBP", as_of=AS_OF)
        words = words_of(plot.figure)
        assert all(f"{n} customer" in words for n in range(1, 26))
        assert words.count("Champions") == 1
        assert words.count("Potential loyalists") == 2  # in the title and once on the map
        apart = rfm_map(rfm_cells([(1, 1), (3, 1), (4, 3)]), currency="", as_of=AS_OF)
        assert words_of(apart.figure).count("Potential loyalists") == 4
        assert "-£50" in words
        assert plot.numbers["customers"] == 325

    def test_a_single_cell(self):
        plot = rfm_map(rfm_cells([(1, 1)]), currency="", as_of=AS_OF)
        assert "100% of the customers" in words_of(plot.figure)

    def test_beside_a_negative_segment_the_best_bears_its_amount_not_a_share(self):
        cells = rfm_cells([(5, 1), (4, 1)]).assign(monetary=[500.0, -100.0])
        words = words_of(rfm_map(cells, currency="GBP", as_of=AS_OF).figure)
        assert "and brought £500 of net revenue" in words
        assert "125%" not in words
        cells = cells.assign(monetary=[500.0, 500.0])
        words = words_of(rfm_map(cells, currency="GBP", as_of=AS_OF).figure)
        assert "and brought 50% of the net revenue" in words

    def test_nobody_is_said_in_words(self):
        plot = rfm_map(rfm_cells([]), currency="", as_of=AS_OF)
        assert "no customer to score" in words_of(plot.figure)


def changes(moves: list[tuple[str, str, int]]) -> pd.DataFrame:
    frame = pd.DataFrame(moves, columns=["label_before", "label_after", "customers"])
    return frame.assign(since_date=pd.Timestamp("2011-05-01"))


class TestSegmentMovement:
    def test_rows_are_shares_of_the_customers_before(self):
        moves = changes([("a", "a", 30), ("a", "b", 10), ("b", "b", 5), ("c", "a", 1)])
        plot = segment_movement(moves, order=["b", "a"], **WINDOW)
        drawn = np.ma.filled(plot.figure.axes[0].collections[0].get_array(), 0.0)
        np.testing.assert_allclose(drawn, [[1, 0, 0], [0.25, 0.75, 0], [0, 1, 0]])
        assert plot.numbers["share_that_stayed"] == pytest.approx(35 / 46)
        assert "the largest move, 10, is from “a” to “b”" in words_of(plot.figure)

    def test_one_segment_that_nobody_leaves(self):
        plot = segment_movement(changes([("a", "a", 20)]), order=["a"], **WINDOW)
        assert "100% of customers" in words_of(plot.figure)

    def test_no_earlier_month_is_said_in_words(self):
        plot = segment_movement(changes([]), order=["a"], **WINDOW)
        assert "no earlier month" in words_of(plot.figure)


def judged(customers: int, cutoffs: int = 1, seed: int = 1) -> pd.DataFrame:
    frame = outcomes(customers, cutoffs, seed)
    return frame.assign(
        lower_80=0.0,
        upper_80=3 * frame["predicted_value"],
        probability_active=np.random.default_rng(seed).random(len(frame)),
    )


class TestResiduals:
    def test_marks_are_the_quantiles_and_means_of_the_errors(self):
        frame = judged(200, 3)
        plot = residuals(frame, currency="GBP", **BTYD)
        errors = frame["actual_value"] - frame["predicted_value"]
        assert plot.numbers["mean_error"] == pytest.approx(errors.mean())
        ranks = frame.groupby("cutoff_date")["predicted_value"].rank(method="first") - 1
        by_tenth = errors.groupby((ranks // 20).to_numpy())
        medians, means = (c.get_offsets()[:, 1] for c in plot.figure.axes[0].collections[2:4])
        np.testing.assert_allclose(medians, by_tenth.median())
        np.testing.assert_allclose(means, by_tenth.mean())

    def test_names_of_equal_quantiles_stand_with_the_lowest_below(self):
        axes = residuals(judged(4), currency="", **BTYD).figure.axes[0]
        names = [text.get_text() for text in sorted(axes.texts, key=lambda t: t.get_position()[1])]
        assert names[0] == "5th percentile"
        assert names[-1] == "95th percentile"

    def test_predictions_that_are_all_right(self):
        frame = judged(20).assign(actual_value=lambda f: f["predicted_value"])
        assert "predictions were right" in words_of(residuals(frame, currency="", **BTYD).figure)


class TestIntervalCoverage:
    def test_dots_are_shares_by_tenth_and_by_cutoff(self):
        frame = judged(100, 2)
        plot = interval_coverage(frame, **BTYD)
        inside = frame["actual_value"].between(frame["lower_80"], frame["upper_80"])
        left, right = (a.collections[1].get_offsets()[:, 1] for a in plot.figure.axes)
        assert len(left) == 10
        np.testing.assert_allclose(right, inside.groupby(frame["cutoff_date"]).mean())
        assert plot.numbers["coverage_80"] == pytest.approx(inside.mean())

    def test_intervals_of_cutoffs_that_overlap_are_those_of_one(self):
        alone, twelve = judged(100), judged(100, 12)
        for frame in (alone, twelve):
            frame["actual_value"] = frame["predicted_value"]
        lengths = [
            np.ptp(interval_coverage(f, **BTYD).figure.axes[0].collections[0].get_segments()[0])
            for f in (alone, twelve)
        ]
        assert lengths[0] == pytest.approx(lengths[1])


class TestActivityReliability:
    def test_dots_are_the_shares_who_bought_among_equal_probabilities(self):
        frame = judged(40).assign(probability_active=[0.25] * 20 + [1.0] * 20)
        frame["actual_value"] = [5.0] * 5 + [0.0] * 15 + [1.0] * 20
        plot = activity_reliability(frame, **BTYD)
        dots = plot.figure.axes[0].collections[1].get_offsets()
        np.testing.assert_allclose(dots, [[0.25, 0.25], [1.0, 1.0]])
        assert plot.numbers["brier_score"] == pytest.approx((5 * 0.75**2 + 15 * 0.25**2) / 40)
        assert heights(plot.figure.axes[1]) == [20, 20]


class TestRealised:
    def test_dots_are_the_totals_of_each_date(self):
        totals = pd.DataFrame(
            {
                "as_of_date": pd.to_datetime(["2010-06-01", "2010-12-01", "2010-12-01"]),
                "origin": ["served", "served", "backtest"],
                "customers": [20, 25, 25],
                "predicted_value": [100.0, 200.0, 170.0],
                "actual_value": [120.0, 160.0, 160.0],
                "inside": [16, 25, 20],
            }
        )
        plot = realised_against_predicted(totals, currency="GBP", **WINDOW)
        predicted, actual = (c.get_offsets()[:, 0] for c in plot.figure.axes[0].collections[1:3])
        np.testing.assert_allclose(predicted, [100, 200, 170])
        np.testing.assert_allclose(actual, [120, 160, 160])
        assert plot.numbers["predicted_over_actual"] == 1.25
        assert "£160 came of the £200" in words_of(plot.figure)
        assert "2 dates that were served, 1 of the backtest" in words_of(plot.figure)
        alone = realised_against_predicted(totals.iloc[:1], currency="GBP", **WINDOW)
        assert "1 date that was served, 0 of the backtest" in words_of(alone.figure)

    @pytest.mark.parametrize("amount", [1.0, 99.95, 1000.0, 9.97e6])
    def test_ticks_of_nearly_equal_totals_differ(self, amount: float):
        totals = pd.DataFrame(
            {
                "as_of_date": [pd.Timestamp("2010-06-01")],
                "origin": ["served"],
                "customers": [20],
                "predicted_value": [amount],
                "actual_value": [1.0004 * amount],
                "inside": [16],
            }
        )
        figure = realised_against_predicted(totals, currency="GBP", **WINDOW).figure
        figure.canvas.draw()
        ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert len(ticks) == len(set(ticks)) > 2

    def test_dates_that_nothing_was_served_for_are_those_of_the_model_now_in_use(self):
        totals = pd.DataFrame(
            {
                "as_of_date": [pd.Timestamp("2010-06-01")],
                "origin": ["backtest"],
                "customers": [20],
                "predicted_value": [100.0],
                "actual_value": [0.0],
                "inside": [16],
            }
        )
        plot = realised_against_predicted(totals, currency="", **WINDOW)
        assert "the model now in use would have predicted 100" in words_of(plot.figure)
        assert plot.numbers["predicted_over_actual"] == "no actual value"

    def test_a_horizon_that_is_not_over_is_said_in_words_with_its_end(self):
        plot = realised_against_predicted(
            pd.DataFrame(), currency="GBP", earliest=date(2011, 5, 1), **WINDOW
        )
        assert "complete on 28 Oct 2011" in words_of(plot.figure)


class TestModelDifferences:
    def test_dots_are_ratios_to_the_served_model_at_the_same_cutoff(self):
        frame = metrics({"a": 20.0, "b": 30.0, "c": 10.0})
        frame.loc[0, "tweedie_deviance"] = 40.0  # a at the first cut-off
        plot = model_differences(frame, served="a", **WINDOW)
        axes = plot.figure.axes[0]
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["C", "B"]
        assert plot.numbers["closest_mean_difference"] == pytest.approx((-0.25 + 0.5) / 2)
        assert "lower at 1 of 2" in words_of(plot.figure)
        assert axes.get_title(loc="left") == "Deviance against the served model's"

    def test_the_closest_model_has_the_smallest_difference_not_the_lowest_deviance(self):
        plot = model_differences(metrics({"a": 10.0, "b": 2.0, "c": 11.0}), served="a", **WINDOW)
        names = [label.get_text() for label in plot.figure.axes[0].get_yticklabels()]
        assert names == ["B", "C"]
        assert plot.numbers["closest"] == "c"
        assert plot.numbers["closest_mean_difference"] == pytest.approx(0.1)
        assert "C comes closest to A: deviance 10% higher on average" in words_of(plot.figure)

    def test_a_model_alone_is_said_in_words(self):
        plot = model_differences(metrics({"a": 1.0}), served="a", **WINDOW)
        assert "no other model to compare with" in words_of(plot.figure)

    def test_a_served_model_that_was_not_tested_leaves_the_best_to_compare_with(self):
        plot = model_differences(metrics({"a": 2.0, "b": 1.0}), served="c", **WINDOW)
        assert plot.numbers["reference"] == "b"
        assert plot.figure.axes[0].get_title(loc="left") == "Deviance against B's"


class TestCoefficients:
    def terms(self, values: dict[str, float]) -> pd.DataFrame:
        features = ["intercept", *values]
        return pd.DataFrame({"feature": features, "coefficient": [99.0, *values.values()]})

    def test_bars_are_the_coefficients_the_largest_effect_on_top(self):
        terms = self.terms({"log_net_amount_90d": 0.5, "recency_days": -2.0, "orders": 1.0})
        axes = coefficients(terms, **WINDOW).figure.axes[0]
        assert [bar.get_width() for bar in axes.containers[0]] == [-2.0, 1.0, 0.5]
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["days since purchase", "orders", "log of net amount, 90 days"]

    def test_coefficients_of_zero_move_nothing(self):
        words = words_of(coefficients(self.terms({"a": 0.0, "b": 0.0}), **WINDOW).figure)
        assert "No feature moves the regression's prediction" in words
        assert "lowers" not in words

    def test_many_features_are_cut_with_a_word(self):
        plot = coefficients(self.terms({f"feature_{i}": i + 1.0 for i in range(40)}), **WINDOW)
        assert plot.rows == 24
        assert "Not drawn: 16 smaller ones" in words_of(plot.figure)

    def test_a_model_that_abstained_says_why(self):
        plot = coefficients(self.terms({}).iloc[:0], abstention="no past outcome", **WINDOW)
        assert not plot.figure.axes
        assert "It says: no past outcome." in words_of(plot.figure)


def tree_terms(depth: int) -> pd.DataFrame:
    rows = []
    for number in range(2 ** (depth + 1) - 1):
        level = int(np.log2(number + 1))
        leaf = level == depth
        rows.append(
            {
                "term_number": number,
                "feature": None if leaf else ("net_amount_90d", "recency_days")[level % 2],
                "parent_number": (number - 1) // 2 if number else None,
                "branch": None if not number else "yes" if number % 2 else "no",
                "threshold": None if leaf else 12.5 * (number + 1),
                "mean_value": float(number),
                "customers": 2 ** (depth - level) * 10,
            }
        )
    return pd.DataFrame(rows)


class TestDecisionTree:
    def test_groups_are_the_leaves_smaller_values_above(self):
        plot = decision_tree(tree_terms(2), currency="GBP", **WINDOW)
        bars = heights_of_bars(plot.figure.axes[0])
        assert [round(y) for y, _ in bars] == [0, 1, 2, 3]
        widths = np.array([width for _, width in bars])
        np.testing.assert_allclose(widths / widths[-1], np.array([3, 4, 5, 6]) / 6)
        words = words_of(plot.figure)
        assert "≤ £12.50" in words
        assert "> 25 " in words, "a number of days is whole"
        assert "£6, 25%" in words
        assert plot.numbers["best_group_share_of_customers"] == 0.25

    def test_a_tree_without_a_question(self):
        plot = decision_tree(tree_terms(0), currency="", **WINDOW)
        assert plot.numbers["groups"] == 1

    def test_a_model_that_abstained_says_so(self):
        plot = decision_tree(tree_terms(0).iloc[:0], currency="", **WINDOW)
        assert "has not been fitted" in words_of(plot.figure)


def heights_of_bars(axes: Axes) -> list[tuple[float, float]]:
    bars = [bar for container in axes.containers for bar in container]
    return sorted((bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in bars)


def importance(groups: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature_group": groups,
            "deviance_increase": np.linspace(-0.01, 0.4, len(groups)),
            "deviance_increase_sd": 0.01,
            "model_name": "pareto_nbd_gamma_gamma",
            "cutoff_date": pd.Timestamp("2010-12-01"),
            "customers": 20,
        }
    )


class TestFeatureImportance:
    def test_bars_are_the_increases_the_most_important_on_top(self):
        axes = feature_importance(importance(["a", "b", "c"]), **WINDOW).figure.axes[0]
        bars = [bar.get_width() for bar in bars_in(axes)[0]]
        assert bars == pytest.approx([0.4, 0.195, -0.01])

    @pytest.mark.parametrize(
        ("increase", "change"), [(-0.01, "1.0% lower"), (0.0, "the same"), (-0.0, "the same")]
    )
    def test_groups_that_are_worth_nothing_are_called_so(self, increase: float, change: str):
        frame = importance(["a", "b"]).assign(deviance_increase=[increase - 1, increase])
        words = words_of(feature_importance(frame, **WINDOW).figure)
        assert f"makes the predictions better: without “b”, the deviance is {change}" in words

    def test_no_past_outcome_is_said_in_words(self):
        plot = feature_importance(importance([]), **WINDOW)
        assert "cannot be told yet which features matter" in words_of(plot.figure)


class TestDrift:
    def indices(self, training: dict[str, float]) -> pd.DataFrame:
        frame = pd.DataFrame({"quantity": list(training), "stability_index": training.values()})
        frame = frame.assign(
            is_prediction=False, reference_date=pd.Timestamp("2011-01-01"), chance_95=0.02
        )
        return pd.concat(
            [
                frame.assign(reference="training"),
                frame.assign(reference="previous", stability_index=frame["stability_index"] / 10),
            ]
        )

    def test_dots_are_the_indices_the_largest_on_top(self):
        plot = drift(self.indices({"a": 0.05, "b": 0.4, "c": 0.2}), **WINDOW)
        previous, training = (c.get_offsets()[:, 0] for c in plot.figure.axes[0].collections[:2])
        np.testing.assert_allclose(training, [0.4, 0.2, 0.05])
        np.testing.assert_allclose(previous, [0.04, 0.02, 0.005])
        assert "1 of 3 distributions has changed much, “b” most: 0.400" in words_of(plot.figure)

    def test_a_single_distribution(self):
        words = words_of(drift(self.indices({"b": 0.4}), **WINDOW).figure)
        assert "1 of 1 distribution has changed much" in words

    def test_what_chance_moves_has_not_changed(self):
        few = self.indices({"a": 0.6, "b": 0.5, "c": 0.3})
        few["chance_95"] = few["quantity"].map({"a": 0.8, "b": 0.4, "c": 0.8})
        plot = drift(few, **WINDOW)
        assert "1 of 3 distributions has changed much, “b” most: 0.500" in words_of(plot.figure)
        assert plot.numbers["changed_much"] == 1
        plot = drift(few.assign(chance_95=0.8), **WINDOW)
        assert "changed much beyond chance; “a” moved most, by 0.600" in words_of(plot.figure)

    def test_predictions_are_drawn_however_little_they_moved(self):
        frame = self.indices({f"feature_{i}": 1.0 + i for i in range(30)} | {"value": 0.001})
        frame["is_prediction"] = frame["quantity"] == "value"
        names = [t.get_text() for t in drift(frame, **WINDOW).figure.axes[0].get_yticklabels()]
        assert len(names) == 22
        assert "Not drawn: 9 smaller ones." in words_of(drift(frame, **WINDOW).figure)
        one_more = frame[frame["quantity"].isin(["value", *(f"feature_{i}" for i in range(22))])]
        assert "Not drawn: 1 smaller one." in words_of(drift(one_more, **WINDOW).figure)
        assert names[-1] == "value"

    def test_what_moves_with_the_calendar_is_left_out_as_the_checks_do(self):
        plot = drift(self.indices({"month_of_year": 16.0, "orders": 0.1}), **WINDOW)
        assert plot.numbers["largest"] == "orders"
        assert CLOCKS == oversight.CLOCKS

    def test_a_giant_index_is_drawn_at_the_edge(self):
        axes = drift(self.indices({"a": 40.0, "b": 0.3}), **WINDOW).figure.axes[0]
        assert axes.get_xlim()[1] < 1.1
        assert "40.00" in [text.get_text() for text in axes.texts]

    def test_no_reference_is_said_in_words(self):
        plot = drift(self.indices({}), **WINDOW)
        assert "nothing earlier to compare" in words_of(plot.figure)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net_amount_365d", "net amount, 365 days"),
        ("log_purchase_days_90d", "log of purchases, 90 days"),
        ("sqrt_value_ahead", "root of value to expect"),
        ("something_else", "something else"),
    ],
)
def test_features_are_named_in_words(name: str, words: str):
    assert feature_in_words(name) == words


def without_outcome() -> list[Plot]:
    empty = judged(20).assign(actual_value=np.nan)
    return [
        predicted_against_actual(empty, currency="GBP", **BTYD),
        gain_curve(empty.iloc[:0], **BTYD),
        residuals(empty, currency="GBP", **BTYD),
        interval_coverage(empty, **BTYD),
        activity_reliability(empty.iloc[:0], **BTYD),
        model_comparison(metrics({}), served="mean", **WINDOW),
        model_differences(metrics({}), served="mean", **WINDOW),
    ]


def test_no_complete_past_outcome_is_said_in_words():
    for plot in without_outcome():
        assert not plot.figure.axes
        assert plot.rows == 0
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


def crowded() -> Iterator[Plot]:
    """Every figure with long names, large numbers, twelve segments and twelve models."""
    many = {f"model_number_{i}": 20.0 + i for i in range(12)}
    names = [f"medium value, dormant {i}" for i in range(12)]
    days = pd.date_range(end="2011-05-31", periods=700)
    yield revenue_over_time(
        revenue(days, [1e6] * 700, [1e4] * 699 + [1e7]), currency="CHF", as_of=AS_OF
    )
    yield cohort_retention(retention(list(TestRetention.ROWS)), as_of=AS_OF)
    yield TestPurchaseGaps().draw([*range(1, 400), 5000] * 100, customers=10**6)
    yield order_values(
        steps([*np.random.default_rng(1).lognormal(4, 1.5, 5000).tolist(), 0.001]),
        steps_per_decade=100,
        currency="CHF",
        as_of=AS_OF,
    )
    yield revenue_concentration(
        value_groups([10.0 ** (i / 9) for i in range(50)], [1.5**i for i in range(50)]),
        currency="CHF",
        **WINDOW,
    )
    yield rfm_map(
        rfm_cells([(r, f) for r in range(1, 6) for f in range(1, 6)]).assign(
            customers=10**6, monetary=123_456_789.0, recency_max=5000, frequency_max=5000
        ),
        currency="CHF",
        as_of=AS_OF,
    )
    yield segments(
        pd.DataFrame(
            {"segment": names, "customers": [10**6] * 12, "predicted_value": [1.5e9, *[1.0] * 11]}
        ),
        currency="CHF",
        **BTYD,
    )
    yield segment_movement(
        changes([(a, b, 10**5) for a in names for b in names]), order=names, **WINDOW
    )
    yield predicted_against_actual(outcomes(500, 3), currency="CHF", **BTYD)
    yield gain_curve(outcomes(500, 3), **BTYD)
    yield residuals(judged(500, 3), currency="CHF", **BTYD)
    yield interval_coverage(judged(500, 12), **BTYD)
    yield activity_reliability(judged(500, 12), **BTYD)
    yield realised_against_predicted(
        pd.DataFrame(
            {
                "as_of_date": pd.date_range("2010-01-01", periods=12, freq="MS"),
                "origin": ["backtest", "served"] * 6,
                "customers": 10**6,
                "predicted_value": 123_456_789.0,
                "actual_value": np.linspace(1e8, 2e8, 12),
                "inside": 812_345,
            }
        ),
        currency="CHF",
        **WINDOW,
    )
    yield model_comparison(metrics(many, 12), served="model_number_3", **WINDOW)
    yield model_differences(metrics(many, 12), served="model_number_3", **WINDOW)
    yield coefficients(
        TestCoefficients().terms({f"a_feature_with_a_long_name_{i}": i - 20.0 for i in range(40)}),
        **WINDOW,
    )
    yield decision_tree(tree_terms(4), currency="CHF", **WINDOW)
    yield feature_importance(importance([f"a_group_of_features_{i}" for i in range(12)]), **WINDOW)
    yield drift(TestDrift().indices({f"a_feature_{i}_365d": i / 40 for i in range(40)}), **WINDOW)


def test_no_words_overlap_or_leave_the_page():
    for plot in crowded():
        with house_style():
            plot.figure.set_dpi(100)
            FigureCanvasAgg(plot.figure).draw()
        assert_words_are_apart(plot.figure)
        assert plot.rows > 0


def assert_words_are_apart(figure: Figure) -> None:
    shown = [*figure.texts, *(text for axes in figure.axes for text in words_in(axes))]
    shown = [text for text in shown if text.get_visible() and text.get_text().strip()]
    words = [text.get_text() for text in shown]
    x0, y0, x1, y1 = np.array([text.get_window_extent().extents for text in shown]).T
    page = figure.bbox
    outside = (x0 < page.x0) | (x1 > page.x1) | (y0 < page.y0) | (y1 > page.y1)
    assert not outside.any(), [words[i] for i in np.flatnonzero(outside)]
    wide = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    high = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    touching = np.argwhere(np.triu((wide > 1.5) & (high > 3.0), k=1))
    assert not len(touching), [(words[i], words[j]) for i, j in touching]


def words_in(axes: Axes) -> Iterator[Text]:
    yield from axes.texts
    yield from (axes.title, axes._right_title, axes.xaxis.label, axes.yaxis.label)
    yield from axes.get_legend().get_texts() if axes.get_legend() else ()
    for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
        low, high = sorted(axis.get_view_interval())
        yield from (t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high)
