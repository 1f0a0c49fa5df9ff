"""The rule that selects the model that serves, from backtest metrics alone.

The incumbent, Pareto/NBD with Gamma-Gamma, serves unless a challenger was clearly better at three
or more past cut-offs. A challenger needs a mean Tweedie deviance lower by a margin, also at the
cut-off a year before if it was tested then, and must pass the limits on bias, ranking,
calibration, coverage and absolute error. Of those the one with the lowest deviance wins. MAE alone
never decides, as it favors models that predict too little.

The seasonal version of the winner serves in its place if its totals were nearer to the actual ones
at past cut-offs and its deviance was no higher. The season changes all customers by nearly the
same factor, which shows in totals and hardly in the deviance.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd

from retail_pipeline.clv.evaluation.metrics import METRICS
from retail_pipeline.clv.models.baselines import Mean
from retail_pipeline.clv.models.btyd import ParetoNBDGammaGamma
from retail_pipeline.clv.models.seasonal import WITHOUT_SEASON

INCUMBENT: Final = ParetoNBDGammaGamma.name
LAST_RESORT: Final = Mean.name
WITH_SEASON: Final = {without: seasonal for seasonal, without in WITHOUT_SEASON.items()}
"""The seasonal version of a model, by the name of the model without season."""

LOWEST_BIAS: Final = 0.75
HIGHEST_BIAS: Final = 1.33
GINI_TOLERANCE: Final = 0.005
CALIBRATION_TOLERANCE: Final = 0.05
"""By how much a challenger's decile calibration may be above the incumbent's."""

LOWEST_COVERAGE: Final = 0.65
"""There is no upper limit: outcomes of 0 lie inside every interval that begins at 0."""

MARGIN: Final = 0.015
"""By how much a challenger's deviance must be lower, as a share of the incumbent's. Smaller
differences can be chance."""

FEWEST_CUTOFFS: Final = 3
"""Cut-offs that a challenger must have been tested at; fewer lie within one season."""

_SAME_SEASON_DAYS: Final = 16
FEWEST_CUSTOMERS: Final = 100
"""Customers that a test needs to count."""


@dataclass(frozen=True)
class Decision:
    """The model that serves, and the reason.

    Attributes:
        model_name: The model that serves.
        validated: Whether it met the rule on at least one past cut-off.
        reason: One sentence with the deciding numbers.
        cutoffs: The past cut-offs (ISO dates) of the means: those common to all models with
            enough tests or, if fewer than three are common, the incumbent's.
        leaderboard: One row per tested model: mean metrics, `eligible`, `objection`, `tests` (the
            number of cut-offs in its means; a seasonal model has fewer). The model with the lowest
            deviance relative to the incumbent's comes first.
    """

    model_name: str
    validated: bool
    reason: str
    cutoffs: tuple[str, ...]
    leaderboard: pd.DataFrame

    def numbers(self) -> dict[str, Any]:
        """Return incumbent, cut-offs and leaderboard as JSON values."""
        rows = [
            {name: None if pd.isna(value) else value for name, value in row.items()}
            for row in self.leaderboard.to_dict("records")
        ]
        return {
            "incumbent": INCUMBENT,
            "cutoffs": list(self.cutoffs),
            "leaderboard": rows,
        }


def choose(backtest_metrics: pd.DataFrame, fitted: Collection[str], as_of: date) -> Decision:
    """Return the model that serves.

    Args:
        backtest_metrics: One row per model and cut-off, at one horizon, with `customers`.
        fitted: The models that are fitted today; `mean` always is.
        as_of: The date to serve. The cut-off a year before it has the same season.

    Raises:
        ValueError: No model is fitted.
    """
    tested = backtest_metrics[backtest_metrics["model_name"].isin(list(fitted))]
    usable = _usable(tested)
    if usable.empty:
        why = "no past cut-off has a complete outcome"
        if len(tested):
            why += f" of {FEWEST_CUSTOMERS} customers or more with a defined deviance"
        return _unvalidated(fitted, why)
    if INCUMBENT not in set(usable["model_name"]):
        return _unvalidated(fitted, f"no past test of the incumbent {INCUMBENT}")
    cutoffs = _common_cutoffs(usable)
    board = _leaderboard(usable, cutoffs, as_of)
    shown = board[["model_name", "eligible", "objection", "tests", *METRICS]].copy()
    days = tuple(pd.Timestamp(cutoff).date().isoformat() for cutoff in cutoffs)
    if not board["eligible"].any():
        reason = f"no model met the rule ({_objections(board)})"
        return replace(_unvalidated(fitted, reason), cutoffs=days, leaderboard=shown)
    winner = board[board["eligible"]].iloc[0]
    name = winner["model_name"]
    better = _totals_with_season(usable, name)
    others = board[board["model_name"] != WITH_SEASON.get(name)] if better else board
    reason = _reason(others, winner, len(days))
    if better:
        serves = shown["model_name"] == WITH_SEASON[name]
        shown.loc[serves, "eligible"], shown.loc[serves, "objection"] = True, ""
        return Decision(WITH_SEASON[name], True, f"{better}; {reason}", days, shown)
    return Decision(name, True, reason, days, shown)


def _totals_with_season(usable: pd.DataFrame, name: str) -> str:
    """Return the reason why the winner's seasonal version serves instead; empty if it does not."""
    other = WITH_SEASON.get(name, "")
    biases, deviances = (
        usable.pivot(index="cutoff_date", columns="model_name", values=metric)
        .reindex(columns=[name, other])
        .dropna()
        for metric in ("bias", "tweedie_deviance")
    )
    if len(biases) < FEWEST_CUTOFFS or not (biases > 0).to_numpy().all():
        return ""
    error = {model: float(np.abs(np.log(biases[model])).mean()) for model in (name, other)}
    if deviances[other].mean() > deviances[name].mean() or error[other] >= error[name]:
        return ""
    return (
        f"{other} serves: at {len(biases)} past cut-offs its totals were off by "
        f"{np.expm1(error[other]):.0%}, those without the season by {np.expm1(error[name]):.0%}"
    )


def _usable(tested: pd.DataFrame) -> pd.DataFrame:
    """Return the tests on enough customers that have a deviance."""
    enough = tested["customers"] >= FEWEST_CUSTOMERS
    return tested[enough & tested["tweedie_deviance"].notna()]


def _common_cutoffs(usable: pd.DataFrame) -> list[pd.Timestamp]:
    """Return the cut-offs that the incumbent shares with all models with three tests or more.

    If fewer than three are shared, or no model has enough tests, they are the incumbent's. Seasonal
    models, which can be tested only after a year, do not narrow the comparison.
    """
    usable = usable[~usable["model_name"].isin(WITH_SEASON.values())]
    sets = {str(name): set(rows["cutoff_date"]) for name, rows in usable.groupby("model_name")}
    own = sets.pop(INCUMBENT)
    seasoned = [dates for dates in sets.values() if len(dates) >= FEWEST_CUTOFFS]
    shared = own.intersection(*seasoned)
    return sorted(shared if len(shared) >= FEWEST_CUTOFFS else own)


def _leaderboard(usable: pd.DataFrame, cutoffs: list[pd.Timestamp], as_of: date) -> pd.DataFrame:
    """Return each model's mean metrics over the cut-offs, and the objection to it.

    A model that misses some of the cut-offs is compared with the incumbent at the others only.
    `ratio` is its deviance over the incumbent's; the lowest ratio comes first.
    """
    common = usable[usable["cutoff_date"].isin(cutoffs)]
    means = _means(common)
    objections, ratios = {}, {}
    for name, row in means.iterrows():
        own = common.loc[common["model_name"] == name, "cutoff_date"]
        old = _means(common[common["cutoff_date"].isin(own)]).T[INCUMBENT]
        ratios[name] = _ratio(row["tweedie_deviance"], old["tweedie_deviance"])
        if name == INCUMBENT:
            found = _first(_level(row))
        else:
            found = _first(_against(row, old, len(own)))
            found = found or _season_ahead(usable, str(name), as_of)
        objections[name] = found
    board = means.assign(
        objection=pd.Series(objections, dtype=object),
        ratio=pd.Series(ratios),
        tests=common["model_name"].value_counts(),
    )
    board["eligible"] = board["objection"] == ""
    order = ["ratio", "tweedie_deviance", "model_name"]
    return board.reset_index().sort_values(order, ignore_index=True)


def _means(tests: pd.DataFrame) -> pd.DataFrame:
    return tests.groupby("model_name")[list(METRICS)].mean()


def _first(objections: list[tuple[bool, str]]) -> str:
    """Return the first objection that holds; empty if none does."""
    return next((said for holds, said in objections if holds), "")


def _level(row: pd.Series) -> list[tuple[bool, str]]:
    """Return the objections to a model's bias; an undefined metric is an objection."""
    bias = row["bias"]
    outside = f"mean bias {bias:.2f} is outside {LOWEST_BIAS}-{HIGHEST_BIAS}"
    return [
        (pd.isna(bias), "mean bias is undefined"),
        (not LOWEST_BIAS <= bias <= HIGHEST_BIAS, outside),
    ]


def _against(row: pd.Series, old: pd.Series, tests: int) -> list[tuple[bool, str]]:
    """Return the objections to a challenger, given the incumbent's metrics at its cut-offs."""
    gini, bar = row["normalized_gini"], old["normalized_gini"]
    misplaced, allowed = row["decile_calibration"], old["decile_calibration"]
    covered = row["coverage_80"]
    gain = 1 - _ratio(row["tweedie_deviance"], old["tweedie_deviance"])
    return [
        (
            tests < FEWEST_CUTOFFS,
            f"tested at {tests} cut-off{'s' if tests > 1 else ''}; it takes {FEWEST_CUTOFFS}",
        ),
        *_level(row),
        *((pd.isna(row[name]) or pd.isna(old[name]), said) for name, said in _UNDEFINED.items()),
        (
            gini < bar - GINI_TOLERANCE,
            f"normalized Gini {gini:.3f} is below the incumbent's {bar:.3f}",
        ),
        (
            misplaced > allowed + CALIBRATION_TOLERANCE,
            f"decile calibration {misplaced:.3f} is worse than the incumbent's {allowed:.3f}",
        ),
        (
            covered < LOWEST_COVERAGE,
            f"the intervals cover {covered:.2f}, less than {LOWEST_COVERAGE}",
        ),
        (gain < MARGIN, f"its deviance is lower by {gain:.1%}; it takes {MARGIN:.1%}"),
        (
            not row["mae"] <= old["mae"],
            f"its MAE {row['mae']:.4g} is higher than the incumbent's {old['mae']:.4g}",
        ),
    ]


_UNDEFINED: Final = {
    "normalized_gini": "normalized Gini is undefined, as all outcomes were equal",
    "decile_calibration": "decile calibration is undefined",
    "coverage_80": "the coverage of the intervals is undefined",
}


def _season_ahead(tests: pd.DataFrame, name: str, as_of: date) -> str:
    """Return an objection if the challenger was not better in the same season a year ago.

    Pareto/NBD has no season: before a peak it predicts too little for all customers, and a
    correction that helps in other months can be wrong then. Only the tests of these two models
    count.
    """
    year_ago = pd.Timestamp(as_of) - pd.DateOffset(years=1)
    apart = (tests["cutoff_date"] - year_ago).abs()
    then = tests[apart <= pd.Timedelta(days=_SAME_SEASON_DAYS)]
    deviance = then.pivot(index="cutoff_date", columns="model_name", values="tweedie_deviance")
    both = deviance.reindex(columns=[name, INCUMBENT]).dropna()
    if both.empty:
        return ""
    gain = 1 - _ratio(both[name].mean(), both[INCUMBENT].mean())
    if gain >= MARGIN:
        return ""
    return f"a year ago, in this season, its deviance was lower by {gain:.1%} only"


def _ratio(deviance: float, old: float) -> float:
    """Return a deviance over the incumbent's; 1 if the incumbent's is 0."""
    return float(deviance) / float(old) if old > 0 else 1.0


def _reason(board: pd.DataFrame, winner: pd.Series, cutoffs: int) -> str:
    refused = board[~board["eligible"] & (board["ratio"] < winner["ratio"])]
    passed_over = (
        f"; better in deviance but refused: {_objections(refused)}" if len(refused) else ""
    )
    gini = winner["normalized_gini"]
    ranking = "undefined" if pd.isna(gini) else f"{gini:.3f}"
    return (
        f"{winner['model_name']} has the lowest mean Tweedie deviance "
        f"({winner['tweedie_deviance']:.4g}) of the models that met the rule over "
        f"{_compared_at(board, cutoffs)} "
        f"(bias {winner['bias']:.2f}, normalized Gini {ranking}, "
        f"incumbent {INCUMBENT}){passed_over}"
    )


def _compared_at(board: pd.DataFrame, cutoffs: int) -> str:
    """Return the cut-offs of the comparison in words."""
    if (board.loc[board["eligible"], "tests"] < cutoffs).any():
        return f"those of {cutoffs} past cut-offs that each shares with the incumbent"
    return f"{cutoffs} past cut-off{'s' if cutoffs > 1 else ''}"


def _objections(board: pd.DataFrame) -> str:
    return "; ".join(f"{row['model_name']}: {row['objection']}" for _, row in board.iterrows())


def _unvalidated(fitted: Collection[str], why: str) -> Decision:
    name = next((name for name in (INCUMBENT, LAST_RESORT) if name in fitted), None)
    if name is None:
        raise ValueError("no model is fitted that could serve")
    board = pd.DataFrame(columns=["model_name", "eligible", "objection", *METRICS])
    return Decision(name, False, f"{name} serves unvalidated: {why}", (), board)
