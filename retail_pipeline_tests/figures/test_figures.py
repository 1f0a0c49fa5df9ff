"""Figures show the numbers of their data at any size; no text overlaps or leaves the page."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from retail_pipeline.clv.data.features import CALENDAR
from retail_pipeline.clv.evaluation import selection
from retail_pipeline.clv.monitoring import stability
from retail_pipeline.figures import models, monitoring
from retail_pipeline.figures.colors import ACCENT, MAIN, NEUTRAL
from retail_pipeline.figures.images import png
from retail_pipeline.figures.queries import Context, Realised
from retail_pipeline.figures.registry import FIGURES, figure
from retail_pipeline.figures.style import Plot, house_style
from retail_pipeline.figures.writing import feature_in_words
from retail_pipeline_tests.figures import frames
from retail_pipeline_tests.figures.frames import CONTEXT, CROWDED_CONTEXT

NAMES = [each.name for each in FIGURES]


def draw(name: str, data: Any, context: Context = CONTEXT) -> Plot:
    """Return a figure of the registry, drawn from data in the form of `Tables`."""
    section = import_module(f"retail_pipeline.figures.{figure(name).section}")
    plot: Plot = getattr(section, name)(data, context)
    return plot


def laid_out(plot: Plot) -> Figure:
    with house_style():
        plot.figure.set_dpi(100)
        FigureCanvasAgg(plot.figure).draw()
    return plot.figure


def words_in(drawn: Figure) -> str:
    texts = [*drawn.texts, *(text for axes in drawn.axes for text in words_of(axes))]
    return " ".join(text.get_text() for text in texts).replace("\u00a0", " ")


def words_of(axes: Axes) -> Iterator[Text]:
    yield from axes.texts
    yield from (axes.title, axes._left_title, axes._right_title)
    yield from (axes.xaxis.label, axes.yaxis.label)
    yield from axes.get_legend().get_texts() if axes.get_legend() else ()
    for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
        low, high = sorted(axis.get_view_interval())
        yield from (t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high)


def heights(axes: Axes) -> list[float]:
    bars = [bar for each in axes.containers if isinstance(each, BarContainer) for bar in each]
    polygons = [path for each in axes.collections for path in each.get_paths()]
    return [bar.get_height() for bar in bars] or [path.vertices[1][1] for path in polygons]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_draw_is_said_in_words(name: str):
    plot = draw(name, frames.EMPTY[name]())
    assert plot.rows == 0
    assert "drawn" in plot.numbers
    assert not plot.figure.axes
    assert plot.figure.get_label()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("data", "context"),
    [
        (frames.ONE, replace(CONTEXT, currency="")),
        (frames.FEW, CONTEXT),
        (frames.CROWDED, CROWDED_CONTEXT),
    ],
    ids=["one", "few", "crowded"],
)
@pytest.mark.filterwarnings("error")
def test_no_words_overlap_or_leave_the_page(
    name: str, data: dict[str, Callable[[], Any]], context: Context
):
    plot = draw(name, data[name](), context)
    drawn = laid_out(plot)
    assert plot.rows > 0
    assert "drawn" not in plot.numbers
    assert "$" not in words_in(drawn)
    shown = [*drawn.texts, *(text for axes in drawn.axes for text in words_of(axes))]
    shown = [text for text in shown if text.get_visible() and text.get_text().strip()]
    words = [text.get_text() for text in shown]
    x0, y0, x1, y1 = np.array([text.get_window_extent().extents for text in shown]).T
    page = drawn.bbox
    outside = (x0 < page.x0) | (x1 > page.x1) | (y0 < page.y0) | (y1 > page.y1)
    assert not outside.any(), [words[i] for i in np.flatnonzero(outside)]
    wide = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    high = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    touching = np.argwhere(np.triu((wide > 1.5) & (high > 3.0), k=1))
    assert not len(touching), [(words[i], words[j]) for i, j in touching]


def past(name: str = "predicted_value") -> pd.DataFrame:
    """Return two cut-offs of 20 customers with actual values twice the predicted ones."""
    value = np.concatenate([np.arange(20.0), 3 * np.arange(20.0)])
    return frames.outcomes(20, 2, predicted_value=value, actual_value=2 * value).frame


TWO_YEARS = [100.0] * 365
A_SEGMENT = {"a": (2, 100.0)}

SENTENCES = [
    # figure, data, context, words
    ("revenue_over_time", frames.revenue([12.5], [0]), {}, "was £12.50 on 31 May 2011"),
    (
        "revenue_over_time",
        frames.revenue(TWO_YEARS + [110.0] * 365, [0.0] * 730),
        {"currency": "CHF"},
        "40.1k CHF, 10% more than the year before",
    ),
    (
        "revenue_over_time",
        frames.revenue(TWO_YEARS * 2, [0.0] * 730),
        {},
        "£36.5k, as much as the year before",
    ),
    (
        "cohort_retention",
        frames.retention(
            [("2011-01-01", m, 10, n) for m, n in enumerate([10, 6, 5, 4])]
            + [("2011-04-01", 0, 90, 90), ("2011-04-01", 1, 90, 9)]
        ),
        {},
        "60% bought in the next month, 40% 3 months later",  # of the same cohorts
    ),
    (
        "purchase_gaps",
        frames.gaps([*[7] * 50, *[30] * 30, *[100] * 19, 4000]),
        {},
        "within 7 days, nine in ten within 100 days",
    ),
    ("order_values", frames.orders([5.0, 0.0, -5.0]), {}, "2 orders of zero or less"),
    (
        "revenue_concentration",
        frames.value_groups([5.0, -1.0, -2.0], []),
        {},
        "2 customers with a negative sum count as zero",
    ),
    (
        "rfm_map",
        frames.rfm_cells([(5, 1), (4, 1)]).assign(monetary=[500.0, -100.0]),
        {},
        "and account for £500 of net revenue",  # a share of a sum with negative parts misleads
    ),
    ("segments", frames.segment_table(A_SEGMENT), {}, "All 2 customers are in one segment of £100"),
    (
        "segment_movement",
        frames.changes([("a", "a", 30), ("a", "b", 10), ("b", "b", 5), ("c", "a", 1)]),
        {},
        "the largest move, 10, is from “a” to “b”",
    ),
    (
        "gain_curve",
        frames.outcomes(20, actual_value=0.0),
        {},
        "Nobody bought anything after any past cut-off",
    ),
    (
        "residuals",
        frames.outcomes(20, predicted_value=5.0, actual_value=5.0),
        {},
        "predictions were right",
    ),
    (
        "realised_against_predicted",
        frames.realised([("2010-06-01", "served", 20, 200.0, 160.0, 16)]),
        {},
        "Net revenue after 1 Jun 2010 was £160; £200 was predicted",
    ),
    (
        "realised_against_predicted",
        frames.realised([("2010-06-01", "backtest", 20, 100.0, 0.0, 16)]),
        {},
        "the model now in use would have predicted £100",
    ),
    ("realised_against_predicted", frames.realised([]), {}, "complete on 28 Oct 2011"),
    (
        "model_comparison",
        frames.metrics({"a": 20.0, "b": 30.0}),
        {"served": "b"},
        "A has the lowest deviance of 2 models, B serves (20 against 30)",
    ),
    (
        "model_comparison",
        frames.metrics({"a": 20.0, "b": 30.0}),
        {"served": "a", "validated": False},
        "of 2 models and serves unvalidated: 20 against 30",
    ),
    (
        "model_comparison",
        frames.metrics({"a": 20.0}),
        {"served": "c", "validated": False},
        "deviance of 20; C serves unvalidated",
    ),
    (
        "model_comparison",
        frames.metrics({"a": np.nan}),
        {"served": "a", "validated": False},
        "nothing was bought after the cut-offs; A serves unvalidated",
    ),
    (
        "model_comparison",
        frames.metrics({"a": 20.0, "b": 30.0}).drop(index=[1, 2]),
        {"served": "a"},
        "No cut-off is common to all models",
    ),
    (
        "model_differences",
        frames.metrics({"a": 10.0, "b": 2.0, "c": 11.0}),
        {"served": "a"},
        "C comes closest to A: deviance 10% higher on average",
    ),
    ("model_differences", frames.metrics({"a": 1.0}), {}, "no other model to compare with"),
    (
        "coefficients",
        frames.terms({"a": 0.0}),
        {},
        "No feature changes the regression's prediction",
    ),
    ("coefficients", frames.terms({}, "too few rows"), {}, "Reason: too few rows."),
    (
        "feature_importance",
        frames.importance({"a": -1.0, "b": 0.0}),
        {},
        "makes the predictions better: with “b” shuffled, the deviance is the same",
    ),
    ("drift", frames.drift({"a": 0.05, "b": 0.4}), {}, "1 of 2 distributions has changed much"),
    (
        "bias_by_cutoff",  # the season's cut-off, 1 Jun 2010, is the first of seven
        frames.totals({}, [1.5, *[1.0] * 6]),
        {},
        "off by 6% on average at 7 cut-offs; a year before 1 Jun 2011, the total was 50% too high",
    ),
    (
        "bias_by_cutoff",
        frames.totals({}, [1.0] * 6),
        {},
        "off by 0% on average at 6 cut-offs; none is of the same season a year before",
    ),
    (
        "value_by_group",
        frames.totals({"country": {"France": 60.0, "Spain": 20.0}}, []),
        {},
        "“France” are predicted to spend £60, 75% of the total",
    ),
    (
        "value_by_group",
        frames.totals({"channel": {"web": 0.0}}, []),
        {},
        "The data have no country",
    ),
    (
        "revenue_by_category",
        frames.categories({"a": 10.0}, "2011-03-01"),
        {},
        "Net revenue of the 92 days before 1 Jun 2011",
    ),
    (
        "purchase_tracking",
        frames.purchasing(2, 2, 100),
        {},
        "In the 1 week after 8 Jun 2010, customers bought 20 times again; Pareto/NBD expected 19",
    ),
    (
        "drift",
        frames.drift({"a": 0.6}, chance=0.8),
        {},
        "changed much beyond chance; “a” moved most, by 0.600",
    ),
]


@pytest.mark.parametrize(("name", "data", "changed", "words"), SENTENCES)
def test_the_words_say_what_the_data_say(name: str, data: Any, changed: dict, words: str):
    assert words in words_in(draw(name, data, replace(CONTEXT, **changed)).figure)


NUMBERS = [
    # figure, data, numbers
    (
        "revenue_over_time",
        frames.revenue([5.0, np.nan, 1.0], [0.0, 0.0, 9.0]),
        {"net_revenue": -3, "sales": 6, "returns": 9, "returns_rate": 1.5, "orders": 6, "days": 3},
    ),
    (
        "cohort_retention",
        frames.retention(frames.COHORTS),
        {"cohorts": 2, "customers": 40, "retention_month_1": 8 / 40},
    ),
    (
        "purchase_gaps",
        frames.gaps([*[100] * 50, *[300] * 40, *[600] * 10]),
        {"gaps": 100, "median_gap_days": 100, "gap_days_90_percent": 300}
        | {"share_within_horizon": 0.5, "customers": 30, "customers_with_one_purchase": 10},
    ),
    (
        "order_values",
        frames.orders([1.0] * 100 + [10.0] * 100 + [100.0] * 50 + [0.0, -5.0]),
        {"orders": 250, "orders_of_zero_or_less": 2, "mean_order_value": 6100 / 250}
        | {"share_of_value_of_largest_tenth": 2500 / 6100},
    ),
    (
        "revenue_concentration",
        frames.value_groups([5.0, 80.0, 10.0, 5.0, -2.0], [20.0] * 5),
        {"past_share_of_top_20_percent": 0.8, "predicted_gini": 0.0, "customers": 5},
    ),
    ("rfm_map", frames.rfm_cells(frames.ALL_SCORES), {"customers": 75, "net_revenue": 7500}),
    (
        "segments",
        frames.segment_table({"a": (1, 0.0), "b": (3, 300.0), "c": (None, np.nan)}),
        {"customers": 4, "predicted_value": 300, "top_segment": "b"}
        | {"top_segment_share_of_customers": 0.75},
    ),
    (
        "segment_movement",
        frames.changes([("a", "a", 30), ("a", "b", 10), ("b", "b", 5), ("c", "a", 1)]),
        {"share_that_stayed": 35 / 46, "customers": 46, "since_date": "2011-05-01"},
    ),
    (
        "predicted_against_actual",
        frames.Outcomes(past().sample(frac=1, random_state=1)),
        {"predicted_over_actual": 0.5, "top_group_predicted_mean": 37}
        | {"top_group_actual_mean": 74, "customer_outcomes": 40, "cutoffs": 2},
    ),
    (
        "gain_curve",
        frames.outcomes(50, predicted_value=7.0),  # equal predictions gain nothing
        {"share_of_value_top_20_percent": 0.2, "cutoffs": 1},
    ),
    (
        "activity_reliability",
        frames.outcomes(
            40,
            probability_active=[0.25] * 20 + [1.0] * 20,
            actual_value=[5.0] * 5 + [0.0] * 15 + [1.0] * 20,
        ),
        {"brier_score": (5 * 0.75**2 + 15 * 0.25**2) / 40, "share_who_bought": 0.625},
    ),
    (
        "realised_against_predicted",
        frames.realised(
            [
                ("2010-06-01", "served", 20, 100.0, 120.0, 16),
                ("2010-12-01", "served", 25, 200.0, 160.0, 25),
                ("2010-12-01", "backtest", 25, 170.0, 160.0, 20),
            ]
        ),
        {"predicted_over_actual": 1.25, "dates": 3, "dates_served": 2, "coverage_80": 1.0},
    ),
    (
        "model_comparison",  # the last cut-off, where b abstained, does not count for a
        frames.metrics({"a": 20.0, "b": 30.0}, 3).replace({20.0: 21.0}).drop(index=5),
        {"best_by_deviance": "a", "cutoffs": 2, "tweedie_deviance_of_best": 21.0},
    ),
    (
        "model_differences",
        frames.metrics({"pareto_nbd_gamma_gamma": 20.0, "b": 30.0, "c": 5.0}),
        {"reference": "pareto_nbd_gamma_gamma", "closest": "b", "closest_mean_difference": 0.5},
    ),
    (
        "total_with_range",
        frames.totals({"all": {"all": 700.0}, "country": {"France": 9.0}}, [1.2, 0.9]),
        {"predicted_value": 700, "lower_80": 560, "upper_80": 910, "past_cutoffs": 2},
    ),
    (
        "bias_by_cutoff",
        frames.totals({}, [1.5, *[1.0] * 6]),
        {"cutoffs": 7, "mean_bias": 7.5 / 7, "bias_same_season": 1.5},
    ),
    (
        "revenue_by_category",
        frames.categories({"a": 10.0, None: 30.0}),
        {"categories": 2, "top_category": "(no category)", "top_category_share": 0.75},
    ),
    (
        "next_order_calibration",
        frames.tenths([0.2, 0.1, 0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1], 2),
        {"share_in_earlier_half": 0.6, "largest_share": 0.2, "smallest_share": 0.0, "cutoffs": 2},
    ),
    ("coefficients", frames.terms({"a": 0.5, "b": -2.0}), {"largest": "b", "features": 2}),
    ("decision_tree", frames.tree(2), {"groups": 4, "best_group_share_of_customers": 0.25}),
    ("feature_importance", frames.importance({"a": 0.1, "b": 0.4}), {"most_important": "b"}),
    (
        "drift",
        frames.drift({"month_of_year": 16.0, "orders": 0.3}),  # no feature of the calendar
        {"largest": "orders", "largest_index": 0.3, "quantities": 1, "changed_much": 1},
    ),
]


@pytest.mark.parametrize(("name", "data", "numbers"), NUMBERS)
def test_the_numbers_are_those_of_the_data(name: str, data: Any, numbers: dict):
    found = draw(name, data).numbers
    assert {key: found[key] for key in numbers} == pytest.approx(numbers)


def test_bars_are_the_sums_of_the_weeks_and_partial_weeks_are_light():
    days = 147  # a Wednesday to a Tuesday
    drawn = draw("revenue_over_time", frames.revenue([10.0] * days, [1.0] * days)).figure
    of_weeks = heights(drawn.axes[0])
    assert (of_weeks[0], set(of_weeks[1:-1]), of_weeks[-1]) == (45.0, {63.0}, 18.0)
    is_light = (drawn.axes[0].collections[0].get_facecolors() == to_rgba(NEUTRAL)).all(axis=1)
    assert np.flatnonzero(is_light).tolist() == [0, len(of_weeks) - 1]
    assert sum(heights(drawn.axes[1])) == 2 * days
    assert sum(heights(drawn.axes[2])) == days


def test_a_giant_return_leaves_the_scale_and_its_amount_is_written():
    returns = [1.0] * 7 + [5_000.0] + [1.0] * 12
    drawn = draw("revenue_over_time", frames.revenue([10.0] * 20, returns)).figure
    assert drawn.axes[2].get_ylim() == (0, 1.5)
    assert "£5k, beyond the scale" in words_in(drawn)


def test_retention_leaves_out_months_that_are_not_over_and_draws_none_as_zero():
    rows = [row for row in frames.COHORTS if row[:2] != ("2011-03-01", 1)]
    upper, lower = (
        np.ma.filled(axes.collections[0].get_array(), np.nan)
        for axes in draw("cohort_retention", frames.retention(rows)).figure.axes[:2]
    )
    np.testing.assert_allclose(upper, [[0.0, 0.1], [0.1, np.nan]])
    np.testing.assert_allclose(lower, [[3 / 40, 0.1]])


def test_a_cohorts_value_ends_with_the_month_that_is_over_for_all_of_its_customers():
    lines = {
        line.get_label(): line.get_xydata()
        for line in draw("cohort_value", frames.retention(frames.COHORTS)).figure.axes[0].lines
    }
    assert set(lines) == {"2011 Q1  (10)", "2011 Q2  (37)"}
    np.testing.assert_allclose(lines["2011 Q1  (10)"], [(0, 10), (1, 15), (2, 16)])
    np.testing.assert_allclose(lines["2011 Q2  (37)"], [(0, 10)])


def test_where_a_seasonal_model_was_not_tested_the_one_without_season_stands_in_hollow():
    other = frames.totals({"all": {"all": 9.0}}, [1.5] * 7, "boosted_pareto_nbd")
    served = frames.totals({}, [1.1] * 2, "seasonal_boosted_pareto_nbd").past
    data = other._replace(past=pd.concat([other.past, served]))
    context = replace(CONTEXT, served="seasonal_boosted_pareto_nbd")
    drawn = draw("bias_by_cutoff", data, context)
    assert drawn.numbers["mean_bias"] == pytest.approx((5 * 1.5 + 2 * 1.1) / 7)
    words = words_in(drawn.figure)
    assert "off by 10% on average at 2 cut-offs" in words
    assert "(hollow: Boosted Pareto/NBD)" in words
    assert "the total by Boosted Pareto/NBD was 50% too high" in words
    faces = drawn.figure.axes[0].collections[1].get_facecolors()
    assert [to_hex(face).upper() for face in faces] == ["#FFFFFF"] * 5 + [MAIN] * 2


def test_a_prediction_outside_its_range_says_why():
    data = frames.totals({"all": {"all": 700.0}}, [1.5] * 3)
    inside, outside = data.groups, data.groups.assign(upper_80=650.0)
    why = "The range lies below the prediction, as past totals were predicted too high"
    assert why not in words_in(draw("total_with_range", data._replace(groups=inside)).figure)
    assert why in words_in(draw("total_with_range", data._replace(groups=outside)).figure)


def test_the_border_of_even_odds_parts_the_cells_below_one_half():
    data = frames.purchasing(2, 5)
    border = draw("recency_frequency", data).figure.axes[0].lines[0].get_xdata()[:-1]
    alive = data.cells.pivot(index="purchases", columns="days_since_last")["probability_alive"]
    assert border.tolist() == (alive >= 0.5).sum(axis=1).tolist()[::-1]


def test_of_many_cohorts_the_row_of_all_is_seen():
    months = pd.period_range("1991-05", "2011-05", freq="M")
    rows = [(f"{month}-01", since, 10, 5) for month in months for since in range(2)]
    upper, lower = laid_out(draw("cohort_retention", frames.retention(rows))).axes[:2]
    assert lower.get_position().height > 0.03 * upper.get_position().height


def test_bands_are_as_thick_as_the_moves_and_have_the_color_of_their_direction():
    moves = frames.changes([("a", "a", 30), ("a", "b", 10), ("b", "a", 5)], ("a", "b"))
    bands = draw("segment_movement", moves).figure.axes[0].collections[0]
    found = {
        to_hex(color).upper(): path.vertices[7][1] - path.vertices[0][1]
        for color, path in zip(bands.get_facecolors(), bands.get_paths(), strict=True)
    }
    assert found == pytest.approx({NEUTRAL: 30, ACCENT: 10, MAIN: 5})


def test_scores_that_nobody_has_are_no_rows_or_columns():
    drawn = draw("rfm_map", frames.rfm_cells([(1, 1), (3, 1), (5, 5)])).figure
    names = [tick.get_text() for tick in drawn.axes[0].get_yticklabels()]
    assert names == ["5\u00a0purchases", "1\u00a0purchase"]
    assert drawn.axes[0].collections[0].get_array().shape == (2, 3)


@pytest.mark.parametrize("name", ["coefficients", "decision_tree"])
def test_a_model_that_does_not_serve_says_which_one_does(name: str):
    data = frames.FEW[name]()
    served = "Predictions come from Pareto/NBD + Gamma-Gamma, not from it"
    assert served in words_in(draw(name, data).figure)
    itself = {"coefficients": "linear_regression"}.get(name, name)
    assert served not in words_in(draw(name, data, replace(CONTEXT, served=itself)).figure)


@pytest.mark.parametrize("name", ["cohort_retention", "rfm_map"])
def test_words_on_colors_have_a_contrast_of_at_least_4_5(name: str):
    for axes in draw(name, frames.CROWDED[name]()).figure.axes:
        assert {text.get_color() for text in axes.texts} <= {"black", "white"}
    for shade in np.linspace(0, 1, 101):
        color = frames_color(shade)
        light = {"black": 0.0, "white": 1.0}[color[0]]
        high, low = max(light, color[1]), min(light, color[1])
        assert (high + 0.05) / (low + 0.05) >= 4.5


def frames_color(shade: float) -> tuple[str, float]:
    """Return the text color on a shade of the scale and its relative luminance (WCAG 2)."""
    from retail_pipeline.figures.colors import SEQUENCE, ink_on

    rgb = np.array(SEQUENCE(shade)[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return ink_on(SEQUENCE(shade)), float(linear @ (0.2126, 0.7152, 0.0722))


def test_groups_are_tenths_ranked_within_each_cutoff():
    drawn = draw("predicted_against_actual", frames.Outcomes(past())).figure
    predicted, actual = np.array(heights(drawn.axes[0])[:20]).reshape(2, 10)
    np.testing.assert_allclose(predicted, 4 * np.arange(10) + 1)
    np.testing.assert_allclose(actual, 2 * predicted)


def test_a_perfect_prediction_is_the_perfect_curve():
    data = frames.outcomes(200, 3)
    data.frame["predicted_value"] = data.frame["actual_value"]
    lines = {
        line.get_label().split(":")[0]: line
        for line in draw("gain_curve", data).figure.axes[0].lines
    }
    best = lines["perfect order"].get_ydata()
    np.testing.assert_allclose(lines["by prediction"].get_ydata(), best)


def test_marks_are_the_quantiles_and_means_of_the_errors():
    data = frames.outcomes(200, 3)
    frame, drawn = data.frame, draw("residuals", data).figure
    errors = frame["actual_value"] - frame["predicted_value"]
    ranks = frame.groupby("cutoff_date")["predicted_value"].rank(method="first") - 1
    by_tenth = errors.groupby((ranks // 20).to_numpy())
    medians = drawn.axes[0].collections[2].get_offsets()[:, 1]
    np.testing.assert_allclose(medians, by_tenth.median())
    np.testing.assert_allclose(heights(drawn.axes[1]), by_tenth.mean())
    assert drawn.axes[0].get_yscale() == "linear"


def test_intervals_of_cutoffs_that_overlap_are_those_of_one():
    lengths = []
    for cutoffs in (1, 12):
        data = frames.outcomes(100, cutoffs)
        data.frame["actual_value"] = data.frame["predicted_value"]
        axes = draw("interval_coverage", data).figure.axes[0]
        lengths.append(np.ptp(axes.collections[0].get_segments()[0]))
    assert lengths[0] == pytest.approx(lengths[1])


@pytest.mark.parametrize("amount", [1.0, 99.95, 1000.0, 9.97e6])
def test_ticks_of_nearly_equal_totals_differ(amount: float):
    totals = frames.realised([("2010-06-01", "served", 20, amount, 1.0004 * amount, 16)])
    ticks = laid_out(draw("realised_against_predicted", totals)).axes[0].get_xticklabels()
    words = [tick.get_text() for tick in ticks]
    assert len(words) == len(set(words)) > 2


def test_undefined_and_absurd_metrics_do_not_flatten_the_rest():
    data = frames.metrics({"a": 20.0, "b": 21.0, "c": 1e12, "d": 22.0})
    data.loc[data["model_name"] == "b", "normalized_gini"] = np.nan
    drawn = draw("model_comparison", data).figure
    assert drawn.axes[0].get_xlim()[1] < 100
    assert "undefined" in words_in(drawn)


def test_the_tree_asks_smaller_values_above():
    axes = draw("decision_tree", frames.tree(2)).figure.axes[0]
    bars = sorted((bar.get_y(), bar.get_width()) for bars in axes.containers for bar in bars)
    widths = np.array([width for _, width in bars])
    np.testing.assert_allclose(widths / widths[-1], np.array([3, 4, 5, 6]) / 6)
    words = [text.get_text() for text in axes.texts]
    assert "≤ £12.50" in words
    assert "> 25" in words, "a number of days is whole"


def test_predictions_are_drawn_however_little_they_moved():
    data = frames.drift({f"feature_{i}": 1.0 + i for i in range(30)} | {"value": 0.001})
    drawn = draw("drift", data).figure
    names = [tick.get_text() for tick in drawn.axes[0].get_yticklabels()]
    assert (len(names), names[-1]) == (22, "value")
    assert "Not drawn: 9 smaller ones." in words_in(drawn)
    assert drawn.axes[0].get_xlim()[1] < 1.1, "a giant index is drawn at the edge"


def test_figures_have_the_bounds_of_checks_and_selection():
    assert monitoring.CALENDAR == CALENDAR
    assert monitoring._MUCH == stability.CHANGED
    assert (selection.LOWEST_BIAS, selection.HIGHEST_BIAS) == models._ACCEPTED_BIAS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net_amount_365d", "net amount, 365 days"),
        ("log_purchase_days_90d", "purchases, 90 days (log)"),
        ("sqrt_value_ahead", "expected value (root)"),
        ("something_else", "something else"),
    ],
)
def test_features_are_named_in_words(name: str, words: str):
    assert feature_in_words(name) == words


def test_drawing_leaves_no_trace_in_matplotlib(monkeypatch: pytest.MonkeyPatch):
    import matplotlib.pyplot as plt

    monkeypatch.setitem(mpl.rcParams, "font.size", 31.0)
    before = dict(mpl.rcParams)
    png(draw("gain_curve", frames.outcomes(20)).figure)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_a_horizon_without_an_earlier_date_ends_after_the_runs_own():
    data = Realised(frames.realised([]).frame, None)
    assert "complete on 28 Nov 2011" in words_in(draw("realised_against_predicted", data).figure)


def test_the_largest_segment_at_the_bottom_of_a_movement_is_inside_the_picture() -> None:
    """Most customers are in the segment of the least value, drawn last."""
    from matplotlib.figure import Figure as Canvas

    from retail_pipeline.figures.segments import _draw_moves

    names = ["high value, active", "medium value, fading", "low value, dormant"]
    moves = pd.DataFrame([[90, 10, 0], [5, 80, 15], [0, 10, 900]], names, names, dtype=float)
    axes = Canvas().subplots()
    _draw_moves(axes, moves)
    lowest, _ = axes.get_ylim()
    assert max(bar.get_y() + bar.get_height() for bar in axes.patches) < lowest
