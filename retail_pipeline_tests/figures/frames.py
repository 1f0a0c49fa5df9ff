"""Data of every figure at four sizes: nothing, one of each, a few, and more than fits."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from retail_pipeline.figures.queries import (
    STEPS_PER_DECADE,
    Changes,
    Context,
    Fit,
    Gaps,
    Outcomes,
    Purchasing,
    Realised,
    Totals,
)

AS_OF = date(2011, 6, 1)
CONTEXT = Context(AS_OF, 180, "GBP", "pareto_nbd_gamma_gamma", validated=True)
CROWDED_CONTEXT = Context(AS_OF, 180, "CHF", "model_number_3", validated=False)


def revenue(sales: list[float], returns: list[float], end: str = "2011-05-31") -> pd.DataFrame:
    days = pd.date_range(end=end, periods=len(sales))
    frame = pd.DataFrame({"date_day": days, "sales_amount": sales, "returns_amount": returns})
    return frame.assign(net_amount=frame["sales_amount"] - frame["returns_amount"], orders=2)


def retention(rows: list[tuple[str, int, int, int]]) -> pd.DataFrame:
    columns = ["cohort_month", "months_since", "cohort_customers", "active_customers"]
    return pd.DataFrame(rows, columns=columns).assign(
        net_amount=lambda frame: 10.0 * frame["active_customers"]
    )


def gaps(days: list[int], customers: int = 30, single: int = 10) -> Gaps:
    counts = pd.Series(days, dtype=int).value_counts()
    frame = pd.DataFrame({"gap_days": counts.index, "gaps": counts.to_numpy()})
    return Gaps(frame, customers, single)


def orders(values: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"net": np.array(values, float)})
    frame["step"] = np.floor(STEPS_PER_DECADE * np.log10(frame["net"].where(frame["net"] > 0)))
    found = frame.groupby("step", dropna=False)["net"].agg(["size", "sum"]).reset_index()
    return found.rename(columns={"size": "orders", "sum": "amount"})


def value_groups(past: list[float], predicted: list[float]) -> pd.DataFrame:
    columns = ["kind", "place", "customers", "value", "negative"]
    rows = [
        (kind, place, 1, max(value, 0.0), int(value < 0))
        for kind, values in (("past", past), ("predicted", predicted))
        for place, value in enumerate(sorted(values, reverse=True), start=1)
    ]
    return pd.DataFrame(rows, columns=columns)


def rfm_cells(scores: list[tuple[int, int]], customers: int = 3, amount: float = 100.0) -> Any:
    rows = []
    for r, f in scores:
        name, recency = "Champions" if r == 5 else "Potential loyalists", 10 * (5 - r)
        rows.append((r, f, name, customers, amount * r, recency, recency + 9, f, f))
    columns = ["r_score", "f_score", "rfm_segment", "customers", "monetary", "recency_min"]
    columns += ["recency_max", "frequency_min", "frequency_max"]
    return pd.DataFrame(rows, columns=columns)


def segment_table(values: dict[str, tuple[float | None, float]]) -> pd.DataFrame:
    rows = [(name, *numbers) for name, numbers in values.items()]
    return pd.DataFrame(rows, columns=["segment", "customers", "predicted_value"])


def changes(moves: list[tuple[str, str, int]], order: tuple[str, ...] = ()) -> Changes:
    frame = pd.DataFrame(moves, columns=["label_before", "label_after", "customers"])
    return Changes(frame.assign(since_date=pd.Timestamp("2011-05-01")), order)


def outcomes(customers: int, cutoffs: int = 1, **columns: Any) -> Outcomes:
    """Return random predictions and outcomes; half of the customers buy nothing."""
    random, rows = np.random.default_rng(1), customers * cutoffs
    days = pd.date_range("2010-03-01", periods=cutoffs, freq="MS")
    predicted = random.lognormal(4, 1, rows)
    frame = pd.DataFrame(
        {
            "cutoff_date": np.repeat(days, customers),
            "customer_id": [f"c{i:05d}" for i in range(customers)] * cutoffs,
            "predicted_value": predicted,
            "actual_value": random.lognormal(4, 1, rows) * (random.random(rows) < 0.5),
            "lower_80": 0.0,
            "upper_80": 3 * predicted,
            "probability_active": random.random(rows),
        }
    )
    return Outcomes(frame.assign(**columns))


def categories(amounts: dict[str | None, float], first_day: str = "2009-01-01") -> pd.DataFrame:
    frame = pd.DataFrame({"category": list(amounts), "amount": list(amounts.values())})
    return frame.assign(amount_before=0.8 * frame["amount"], first_day=pd.Timestamp(first_day))


def totals(
    groups: dict[str, dict[str, float]], ratios: list[float], model: str = CONTEXT.served
) -> Totals:
    """Return group totals by grouping, and past totals with these ratios up to 1 Dec 2010."""
    rows = [
        (grouping, name, 20, value, 0.8 * value, 1.3 * value)
        for grouping, values in groups.items()
        for name, value in values.items()
    ]
    columns = ["grouping", "group_value", "customers", "predicted_value", "lower_80", "upper_80"]
    past = pd.DataFrame({"predicted_value": 900.0 * np.array(ratios), "actual_value": 900.0})
    past = past.assign(
        cutoff_date=pd.date_range(end="2010-12-01", periods=len(ratios), freq="MS"),
        model_name=model,
    )
    return Totals(pd.DataFrame(rows, columns=columns), past)


def tenths(shares: list[float], cutoffs: int = 1) -> pd.DataFrame:
    days = pd.date_range("2010-03-01", periods=cutoffs, freq="MS")
    rows = [(day, 20, n, share) for day in days for n, share in enumerate(shares, start=1)]
    return pd.DataFrame(rows, columns=["cutoff_date", "customers", "tenth", "share"])


def purchasing(weeks: int, purchases: int, most: int = 40) -> Purchasing:
    """Return as many weeks, the last half after the cut-off, and a grid of histories."""
    starts = pd.date_range("2010-06-01", periods=weeks, freq="7D")
    expected = most * (1 - 0.9 ** np.arange(1.0, weeks + 1))
    of_weeks = pd.DataFrame({"week_start": starts, "expected_orders": expected})
    of_weeks = of_weeks.assign(
        actual_orders=(expected * 1.1).astype(int),
        cutoff_date=starts[weeks // 2] if weeks else pd.NaT,
        customers=20,
    )
    rows = [
        (count, since, 360, 1 / (1 + since * count / 400), count * most / (since + 100))
        for count in range(2, purchases + 1)
        for since in range(0, 360, 9)
    ]
    columns = ["purchases", "days_since_last", "age_days", "probability_alive", "expected_orders"]
    return Purchasing(of_weeks, pd.DataFrame(rows, columns=columns))


def realised(rows: list[tuple[str, str, int, float, float, int]]) -> Realised:
    columns = ["as_of_date", "origin", "customers", "predicted_value", "actual_value", "inside"]
    frame = pd.DataFrame(rows, columns=columns)
    return Realised(frame.assign(as_of_date=pd.to_datetime(frame["as_of_date"])), date(2011, 5, 1))


def metrics(models: dict[str, float], cutoffs: int = 2) -> pd.DataFrame:
    days = pd.date_range("2010-03-01", periods=cutoffs, freq="MS")
    columns = ["model_name", "cutoff_date", "tweedie_deviance", "normalized_gini", "bias"]
    rows = [
        (name, day, deviance, 0.8, 1.0, 0.7) for name, deviance in models.items() for day in days
    ]
    return pd.DataFrame(rows, columns=[*columns, "mae_over_mean"])


def terms(values: dict[str, float], abstention: str | None = None) -> Fit:
    rows = [("intercept", 99.0), *values.items()] if values else []
    return Fit(pd.DataFrame(rows, columns=["feature", "coefficient"]), abstention, AS_OF)


def tree(depth: int | None) -> Fit:
    columns = ["term_number", "feature", "parent_number", "branch", "threshold", "mean_value"]
    rows = []
    for number in range(0 if depth is None else 2 ** (depth + 1) - 1):
        level = int(np.log2(number + 1))
        is_leaf = level == depth
        feature = None if is_leaf else ("net_amount_90d", "recency_days")[level % 2]
        parent = (number - 1) // 2 if number else None
        branch = None if not number else "yes" if number % 2 else "no"
        threshold = None if is_leaf else 12.5 * (number + 1)
        customers = 2 ** ((depth or 0) - level) * 10
        rows.append((number, feature, parent, branch, threshold, float(number), customers))
    return Fit(pd.DataFrame(rows, columns=[*columns, "customers"]), None, AS_OF)


def importance(increases: dict[str, float]) -> pd.DataFrame:
    rows = [
        (name, increase, 0.01, "mean", pd.Timestamp("2010-12-01"), 20, pd.Timestamp(AS_OF))
        for name, increase in increases.items()
    ]
    columns = ["feature_group", "deviance_increase", "deviance_increase_sd", "model_name"]
    return pd.DataFrame(rows, columns=[*columns, "cutoff_date", "customers", "as_of_date"])


def drift(training: dict[str, float], chance: float = 0.02) -> pd.DataFrame:
    rows = [
        (name, name == "value", reference, pd.Timestamp("2011-01-01"), index * scale, chance)
        for reference, scale in (("training", 1.0), ("previous", 0.1))
        for name, index in training.items()
    ]
    columns = ["quantity", "is_prediction", "reference", "reference_date", "stability_index"]
    return pd.DataFrame(rows, columns=[*columns, "chance_95"])


MANY_MODELS = {f"model_number_{i}": 20.0 + i for i in range(12)}
MANY_SEGMENTS = [f"medium value, dormant {i}" for i in range(12)]
ALL_SCORES = [(r, f) for r in range(1, 6) for f in range(1, 6)]
COHORTS = [
    *(("2011-03-01", 0, 10, 10), ("2011-03-01", 1, 10, 5), ("2011-03-01", 2, 10, 1)),
    *(("2011-04-01", 0, 30, 30), ("2011-04-01", 1, 30, 3), ("2011-05-01", 0, 7, 7)),
]

EMPTY: dict[str, Callable[[], Any]] = {
    "next_order_calibration": lambda: tenths([]),
    "revenue_by_category": lambda: categories({None: 5.0}),
    "cohort_value": lambda: retention([]),
    "total_with_range": lambda: totals({}, []),
    "value_by_group": lambda: totals({"all": {"all": 5.0}}, []),
    "bias_by_cutoff": lambda: totals({"all": {"all": 5.0}}, []),
    "purchase_tracking": lambda: purchasing(0, 0),
    "recency_frequency": lambda: purchasing(0, 0),
    "revenue_over_time": lambda: revenue([], []),
    "cohort_retention": lambda: retention([]),
    "purchase_gaps": lambda: gaps([]),
    "order_values": lambda: orders([0.0]),
    "revenue_concentration": lambda: value_groups([-1.0], [0.0]),
    "rfm_map": lambda: rfm_cells([]),
    "segments": lambda: segment_table({}),
    "segment_movement": lambda: changes([]),
    "predicted_against_actual": lambda: outcomes(20, actual_value=np.nan),
    "gain_curve": lambda: outcomes(0),
    "residuals": lambda: outcomes(20, actual_value=np.nan),
    "interval_coverage": lambda: outcomes(20, actual_value=np.nan),
    "activity_reliability": lambda: outcomes(0),
    "realised_against_predicted": lambda: realised([]),
    "model_comparison": lambda: metrics({}),
    "model_differences": lambda: metrics({}),
    "coefficients": lambda: terms({}, "no past outcome"),
    "decision_tree": lambda: tree(None),
    "feature_importance": lambda: importance({}),
    "drift": lambda: drift({}),
}
"""Return empty data."""

ONE: dict[str, Callable[[], Any]] = {
    "next_order_calibration": lambda: tenths([1.0, *[0.0] * 9]),
    "revenue_by_category": lambda: categories({"a": 5.0}, "2011-05-31"),
    "cohort_value": lambda: retention([("2011-04-01", 0, 1, 1), ("2011-04-01", 1, 1, 0)]),
    "total_with_range": lambda: totals({"all": {"all": 5.0}}, []),
    "value_by_group": lambda: totals({"country": {"France": 5.0}}, []),
    "bias_by_cutoff": lambda: totals({}, [1.0]),
    "purchase_tracking": lambda: purchasing(1, 2, 0),
    "recency_frequency": lambda: purchasing(1, 2, 1),
    "revenue_over_time": lambda: revenue([12.5], [0.0]),
    "cohort_retention": lambda: retention([("2011-04-01", 0, 1, 1), ("2011-04-01", 1, 1, 0)]),
    "purchase_gaps": lambda: gaps([1], customers=1, single=0),
    "order_values": lambda: orders([12.0]),
    "revenue_concentration": lambda: value_groups([20.0], []),
    "rfm_map": lambda: rfm_cells([(1, 1)], customers=1),
    "segments": lambda: segment_table({"a": (1, 0.0)}),
    "segment_movement": lambda: changes([("a", "a", 1)]),
    "predicted_against_actual": lambda: outcomes(1, actual_value=5.0),
    "gain_curve": lambda: outcomes(1, actual_value=5.0),
    "residuals": lambda: outcomes(1, actual_value=5.0),
    "interval_coverage": lambda: outcomes(1, actual_value=0.0),
    "activity_reliability": lambda: outcomes(1, actual_value=0.0),
    "realised_against_predicted": lambda: realised([("2010-06-01", "served", 1, 1.0, 1.0, 1)]),
    "model_comparison": lambda: metrics({"mean": np.nan}, 1).assign(bias=0.9),
    "model_differences": lambda: metrics({"mean": 5.0, "b": 5.0}, 1),
    "coefficients": lambda: terms({"orders": 0.0}),
    "decision_tree": lambda: tree(0),
    "feature_importance": lambda: importance({"a": 0.0}),
    "drift": lambda: drift({"value": 0.0}),
}
"""Return data of one customer, day, model or group."""

FEW: dict[str, Callable[[], Any]] = {
    "next_order_calibration": lambda: tenths([0.19, 0.01] * 5, 2),
    "revenue_by_category": lambda: categories({"a": 5.0, None: 2.0, "b": -1.0}),
    "cohort_value": lambda: retention(COHORTS),
    "total_with_range": lambda: totals({"all": {"all": 700.0}}, [1.3, 0.9, 1.0]),
    "value_by_group": lambda: totals({"channel": {"web": 9.0, "shop": 3.0}}, []),
    "bias_by_cutoff": lambda: totals({"all": {"all": 700.0}}, [1.3, 0.9, 1.0]),
    "purchase_tracking": lambda: purchasing(30, 5),
    "recency_frequency": lambda: purchasing(30, 5),
    "revenue_over_time": lambda: revenue([9.0, 0.0, 1.0] * 7, [0.0] * 20 + [50.0]),
    "cohort_retention": lambda: retention(COHORTS),
    "purchase_gaps": lambda: gaps(list(range(1, 400, 20))),
    "order_values": lambda: orders([*range(1, 20), -4.0]),
    "revenue_concentration": lambda: value_groups([*range(19), -2.0], [1.0] * 20),
    "rfm_map": lambda: rfm_cells([(1, 1), (3, 1), (4, 3), (5, 5)]),
    "segments": lambda: segment_table({"a": (15, 300.0), "b": (5, 0.0)}),
    "segment_movement": lambda: changes([("a", "a", 15), ("b", "a", 5)], ("b", "a")),
    **{
        name: lambda: outcomes(20, 2)
        for name in (
            *("predicted_against_actual", "gain_curve", "residuals"),
            *("interval_coverage", "activity_reliability"),
        )
    },
    "realised_against_predicted": lambda: realised(
        [("2010-06-01", "served", 20, 9.0, 8.0, 16), ("2010-12-01", "backtest", 20, 9.0, 0.0, 9)]
    ),
    "model_comparison": lambda: metrics({"mean": 90.0, "pareto_nbd_gamma_gamma": 20.0}),
    "model_differences": lambda: metrics({"mean": 90.0, "pareto_nbd_gamma_gamma": 20.0}),
    "coefficients": lambda: terms({"log_net_amount_90d": 0.5, "recency_days": -2.0}),
    "decision_tree": lambda: tree(2),
    "feature_importance": lambda: importance({"recency": 0.4, "returns": -0.01}),
    "drift": lambda: drift({"value": 0.05, "orders": 0.4}, chance=0.5),
}
"""Return data of 20 customers."""

CROWDED: dict[str, Callable[[], Any]] = {
    "next_order_calibration": lambda: tenths([0.1] * 10, 12),
    "revenue_by_category": lambda: categories(
        {f"a category with a very long name {i}": 1e9 / (i + 1) for i in range(40)}
    ),
    "cohort_value": lambda: retention(
        [
            (f"{month}-01", since, 10**6, 10**6)
            for month in pd.period_range("1999-05", "2011-05", freq="M")
            for since in range(145)
        ]
    ),
    **{
        name: lambda: totals(
            {
                "all": {"all": 1.23e9},
                "country": {f"a country of a long name {i}": 1e9 / (i + 1) for i in range(40)},
                "channel": {f"a channel of a long name {i}": 1e9 / (i + 1) for i in range(30)},
            },
            [0.2, 5.0, *[1.49] * 10],
            "model_number_3",
        )
        for name in ("total_with_range", "value_by_group", "bias_by_cutoff")
    },
    "purchase_tracking": lambda: purchasing(600, 20, 10**6),
    "recency_frequency": lambda: purchasing(600, 20, 10**6),
    "revenue_over_time": lambda: revenue([1e6] * 700, [1e4] * 699 + [1e7]),
    "cohort_retention": lambda: retention(
        [
            (f"{month}-01", since, 10**6, 10**6 // (since + 1))
            for month in pd.period_range("2009-05", "2011-05", freq="M")
            for since in range(25)
        ]
    ),
    "purchase_gaps": lambda: gaps([*range(1, 400), 5000] * 100, customers=10**6),
    "order_values": lambda: orders([*np.random.default_rng(1).lognormal(4, 1.5, 5000), 0.001]),
    "revenue_concentration": lambda: value_groups(
        [10.0 ** (i / 9) for i in range(50)], [1.5**i for i in range(50)]
    ),
    "rfm_map": lambda: rfm_cells(ALL_SCORES, 10**6, 123_456_789.0).assign(
        recency_max=5000, frequency_max=5000
    ),
    "segments": lambda: segment_table(
        {name: (10**6, 1.5e9 if not i else 1.0) for i, name in enumerate(MANY_SEGMENTS)}
    ),
    "segment_movement": lambda: changes(
        [(a, b, 10**5) for a in MANY_SEGMENTS for b in MANY_SEGMENTS], tuple(MANY_SEGMENTS)
    ),
    **{
        name: lambda: outcomes(500, 12)
        for name in (
            *("predicted_against_actual", "gain_curve", "residuals"),
            *("interval_coverage", "activity_reliability"),
        )
    },
    "realised_against_predicted": lambda: realised(
        [
            (f"{day:%Y-%m-%d}", ("backtest", "served")[i % 2], 10**6, 1.2e8, 1e8 + i * 1e7, 812_345)
            for i, day in enumerate(pd.date_range("2009-01-01", periods=20, freq="MS"))
        ]
    ),
    "model_comparison": lambda: metrics(MANY_MODELS, 12),
    "model_differences": lambda: metrics(MANY_MODELS, 12),
    "coefficients": lambda: terms(
        {f"a_feature_with_a_very_long_name_indeed_{i}": i - 20.0 for i in range(40)}
    ),
    "decision_tree": lambda: tree(4),
    "feature_importance": lambda: importance({f"a_group_of_features_{i}": i for i in range(12)}),
    "drift": lambda: drift({f"a_feature_{i}_365d": i / 40 for i in range(40)}),
}
"""Return data with long names, large numbers and many of each."""
