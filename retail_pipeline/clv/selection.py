"""Which model serves: the rule, on backtest metrics alone.

Of the models that are fitted and were tested, the lowest mean Tweedie deviance over the common past
cut-offs wins, provided its level is sane (mean bias from 0.75 to 1.33) and it ranks customers no
worse than the incumbent (normalized Gini, less .005). Never by MAE: under-prediction wins that.
Nothing is fitted, stored or promoted here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from retail_pipeline.clv.estimators import Mean, ParetoNBDGammaGamma
from retail_pipeline.clv.metrics import METRICS

INCUMBENT: Final = ParetoNBDGammaGamma.name
LAST_RESORT: Final = Mean.name
LOWEST_BIAS: Final = 0.75
HIGHEST_BIAS: Final = 1.33
GINI_TOLERANCE: Final = 0.005
FEWEST_CUSTOMERS: Final = 100
"""A test on fewer customers is chance: it validates nothing."""


@dataclass(frozen=True)
class Decision:
    """Who serves and why.

    Attributes:
        model_name: The model that serves.
        validated: Whether it met the rule on at least one past cut-off.
        reason: One sentence with the numbers that decided.
        incumbent: The model that had to be matched in ranking.
        cutoffs: The common past cut-offs (ISO dates) that the means are over.
        leaderboard: Per tested model its mean metrics and `eligible`, `objection`; best first.
    """

    model_name: str
    validated: bool
    reason: str
    incumbent: str
    cutoffs: tuple[str, ...]
    leaderboard: pd.DataFrame

    def numbers(self) -> dict[str, Any]:
        """Return incumbent, cut-offs and leaderboard as JSON values."""
        rows = [
            {name: None if pd.isna(value) else value for name, value in row.items()}
            for row in self.leaderboard.to_dict("records")
        ]
        return {
            "incumbent": self.incumbent,
            "cutoffs": list(self.cutoffs),
            "leaderboard": rows,
        }


def choose(
    backtest_metrics: pd.DataFrame, fitted: Collection[str], incumbent: str = INCUMBENT
) -> Decision:
    """Return the model that serves.

    Args:
        backtest_metrics: One row per model and cut-off, at one horizon, with `customers`.
        fitted: The models that are fitted today; `mean` always is.
        incumbent: The model to be matched; where it was not tested, the default one.

    Raises:
        ValueError: No model is fitted.
    """
    tested = backtest_metrics[backtest_metrics["model_name"].isin(list(fitted))]
    cutoffs = _common_cutoffs(tested)
    if not cutoffs:
        why = "no past cut-off has a complete outcome"
        if len(tested):
            why += f" of {FEWEST_CUSTOMERS} customers or more that tells the models apart"
        return _unvalidated(fitted, why, incumbent)
    means = _mean_metrics(tested, cutoffs)
    incumbent = incumbent if incumbent in means.index else INCUMBENT
    if incumbent not in means.index:
        return _unvalidated(fitted, f"no past test of the incumbent {incumbent}", incumbent)
    board = _leaderboard(means, incumbent)
    days = tuple(pd.Timestamp(cutoff).date().isoformat() for cutoff in cutoffs)
    eligible = board[board["eligible"]]
    if eligible.empty:
        name = _fallback(fitted, incumbent)
        reason = f"{name} serves unvalidated: no model met the rule ({_objections(board)})"
        return Decision(name, False, reason, incumbent, days, board)
    winner = eligible.iloc[0]
    return Decision(
        winner["model_name"], True, _reason(board, winner, incumbent, days), incumbent, days, board
    )


def _common_cutoffs(tested: pd.DataFrame) -> list[pd.Timestamp]:
    """Return the cut-offs with enough customers at which every tested model has a deviance."""
    enough = tested["customers"] >= FEWEST_CUSTOMERS
    usable = tested[enough & tested["tweedie_deviance"].notna()]
    sets = [set(rows["cutoff_date"]) for _, rows in usable.groupby("model_name")]
    return sorted(set.intersection(*sets)) if sets else []


def _mean_metrics(tested: pd.DataFrame, cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
    common = tested[tested["cutoff_date"].isin(cutoffs)]
    return common.groupby("model_name")[list(METRICS)].mean()


def _leaderboard(means: pd.DataFrame, incumbent: str) -> pd.DataFrame:
    bar = means["normalized_gini"].get(incumbent, float("nan")) - GINI_TOLERANCE
    board = means.copy()
    board["objection"] = [_objection(row, bar) for _, row in means.iterrows()]
    board["eligible"] = board["objection"] == ""
    board = board.reset_index().sort_values(["tweedie_deviance", "model_name"], ignore_index=True)
    return board[["model_name", "eligible", "objection", *METRICS]]


def _objection(row: pd.Series, bar: float) -> str:
    """Return why the rule refuses a model, or nothing; an undefined metric never speaks for it."""
    bias, gini = row["bias"], row["normalized_gini"]
    if not LOWEST_BIAS <= bias <= HIGHEST_BIAS:
        return f"mean bias {bias:.2f} is outside {LOWEST_BIAS}-{HIGHEST_BIAS}"
    if not gini >= bar:
        return f"normalized Gini {gini:.3f} is below the incumbent's {bar + GINI_TOLERANCE:.3f}"
    return ""


def _reason(
    board: pd.DataFrame, winner: pd.Series, incumbent: str, cutoffs: tuple[str, ...]
) -> str:
    refused = board[~board["eligible"] & (board["tweedie_deviance"] < winner["tweedie_deviance"])]
    passed_over = (
        f"; better in deviance but refused: {_objections(refused)}" if len(refused) else ""
    )
    return (
        f"{winner['model_name']} has the lowest mean Tweedie deviance "
        f"({winner['tweedie_deviance']:.4g}) of the models that met the rule over "
        f"{len(cutoffs)} past cut-off{'s' if len(cutoffs) > 1 else ''} "
        f"(bias {winner['bias']:.2f}, normalized Gini {winner['normalized_gini']:.3f}, "
        f"incumbent {incumbent}){passed_over}"
    )


def _objections(board: pd.DataFrame) -> str:
    return "; ".join(f"{row['model_name']}: {row['objection']}" for _, row in board.iterrows())


def _unvalidated(fitted: Collection[str], why: str, incumbent: str) -> Decision:
    name = _fallback(fitted, INCUMBENT)
    board = pd.DataFrame(columns=["model_name", "eligible", "objection", *METRICS])
    return Decision(name, False, f"{name} serves unvalidated: {why}", incumbent, (), board)


def _fallback(fitted: Collection[str], preferred: str) -> str:
    for name in (preferred, INCUMBENT, LAST_RESORT):
        if name in fitted:
            return name
    raise ValueError("no model is fitted that could serve")
