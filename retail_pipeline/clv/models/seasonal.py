"""Pareto/NBD with a correction for the season, and the boosted model with that correction.

Pareto/NBD has no season: before a peak it predicts too little, after it too much. The season is
estimated from its errors at past cut-offs. The error at cut-off c is

    r(c) = log(predicted total / actual total)

and the season of a date is the error at the cut-off a year before, less the mean error of the last
twelve cut-offs. The mean error itself is not corrected, as that made totals worse on every data set
tried. The season is shrunk if the history before the cut-off was short: at 60 days it counts half.

Source:
    Trials on simulated shops and on Online Retail II: docs/methodology.md, "Season".
"""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from retail_pipeline.clv.models.base import (
    AbstainError,
    ValueModel,
    labeled_rows,
    latest_rows,
)
from retail_pipeline.clv.models.boosted import BoostedParetoNBD
from retail_pipeline.clv.models.btyd import ParetoNBDGammaGamma, history_of

LONGEST_DAYS: Final = 330
"""Horizons of this length or more contain nearly every season and are not corrected."""

_SAME_SEASON_DAYS: Final = 16
_HALF_TRUSTED_HISTORY: Final = 60.0
_HALF_TRUSTED_ORDERS: Final = 33.0
"""Number of orders with which the season counts half: their random variation is as large."""

_LONGEST_STRETCH: Final = 6.0


@dataclass(frozen=True)
class Season:
    """The season of a horizon.

    Attributes:
        days: Days of an average season in which as many orders are expected as in the horizon.
        value_factor: Factor on the value of a purchase.
        learned_from: The cut-off a year before, as an ISO date.
    """

    days: float
    value_factor: float
    learned_from: str


class SeasonalParetoNBD(ParetoNBDGammaGamma):
    """Pareto/NBD with Gamma-Gamma, with the horizon stretched or shortened by the season.

    A horizon before a peak counts as more days than it has. So expected orders, P(active) and the
    date of the next order change consistently.
    """

    name = "seasonal_pareto_nbd"
    description = "Pareto/NBD and Gamma-Gamma, corrected by the season of a year before"

    @property
    def days_ahead(self) -> float:
        """Days of an average season in which as many orders are expected as in the horizon."""
        return self.season_.days

    @property
    def value_factor(self) -> float:
        """Factor on the value of a purchase in the horizon."""
        return self.season_.value_factor

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit Pareto/NBD to the latest rows and the season to past outcomes.

        Raises:
            AbstainError: Pareto/NBD cannot be fitted, the horizon is 330 days or longer, or no
                cut-off a year before has a complete outcome.
        """
        base = ParetoNBDGammaGamma(self.horizon_days).fit(frame)
        orders, value, learned_from = _log_seasons(frame, self.horizon_days)
        self.purchases_, self.values_ = base.purchases_, base.values_
        self.training_rows_ = base.training_rows_
        today = latest_rows(frame)
        days = self._days_for(today, float(np.exp(orders)))
        self.season_ = Season(days, 1.0, learned_from)
        wanted = base.predict(today)["predicted_value"].sum() * np.exp(value)
        reached = self.predict(today)["predicted_value"].sum()
        self.season_ = Season(days, float(wanted / reached), learned_from)
        return self

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of Pareto/NBD, of Gamma-Gamma and of the season."""
        return {**super().parameters(), "season": asdict(self.season_)}

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set the parameters that `parameters` returned."""
        self.season_ = Season(**parameters["season"])
        return super().restore(parameters)

    def _days_for(self, today: pd.DataFrame, factor: float) -> float:
        """Return the days in which `factor` times the orders of the horizon are expected."""
        everyone = history_of(today)
        rows, place = everyone.alike
        history = everyone.rows(rows)
        alive = np.bincount(place) * self.purchases_.probability_alive(history)

        def orders(days: float) -> float:
            return float(alive @ self.purchases_.purchases_if_alive(history, days))

        wanted, longest = factor * orders(self.horizon_days), _LONGEST_STRETCH * self.horizon_days
        if orders(longest) < wanted:
            return longest
        return float(brentq(lambda days: orders(days) - wanted, 1e-6, longest, xtol=1e-9))


class SeasonalBoosted(ValueModel):
    """The boosted model with the season of `SeasonalParetoNBD` in values, orders and P(active)."""

    name = "seasonal_boosted_pareto_nbd"
    description = "the boosted combination, corrected by the season of a year before"

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit both parts.

        Raises:
            AbstainError: One of them cannot be fitted.
        """
        self.seasonal_ = SeasonalParetoNBD(self.horizon_days).fit(frame)
        self.boosted_ = BoostedParetoNBD(self.horizon_days).fit(frame)
        self.training_rows_ = self.boosted_.training_rows_
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the seasonal predictions, their values corrected by the boosted trees."""
        found = self.seasonal_.predict(frame)
        value = found["predicted_value"].to_numpy(float) * self.boosted_.correction(frame)
        return found.assign(predicted_value=value)

    @property
    def dates(self) -> SeasonalParetoNBD:
        """The seasonal Pareto/NBD part."""
        return self.seasonal_

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of both parts."""
        return {
            "features": self.boosted_.parameters()["features"],
            "seasonal": self.seasonal_.parameters(),
            "boosted": self.boosted_.parameters(),
        }

    def restore(self, parameters: dict[str, Any]) -> Self:
        """Set the parameters that `parameters` returned."""
        self.seasonal_ = SeasonalParetoNBD(self.horizon_days).restore(parameters["seasonal"])
        self.boosted_ = BoostedParetoNBD(self.horizon_days).restore(parameters["boosted"])
        return self


WITHOUT_SEASON: Final = {
    SeasonalParetoNBD.name: ParetoNBDGammaGamma.name,
    SeasonalBoosted.name: BoostedParetoNBD.name,
}
"""The model without season, by the name of its seasonal version."""


def _log_seasons(frame: pd.DataFrame, horizon_days: int) -> tuple[float, float, str]:
    """Return the logarithms of the season's factors for orders and value, and their cut-off.

    Raises:
        AbstainError: The horizon is too long, or no cut-off a year before was tested.
    """
    if horizon_days >= LONGEST_DAYS:
        raise AbstainError(f"a horizon of {LONGEST_DAYS} days or more holds nearly every season")
    errors = _past_errors(frame, horizon_days)
    year_ago = frame["as_of_date"].max() - pd.DateOffset(years=1)
    apart = np.abs((pd.DatetimeIndex(errors.index) - year_ago).days)
    if not len(apart) or apart.min() > _SAME_SEASON_DAYS:
        raise AbstainError("no cut-off a year before was tested, so the season is unknown")
    then = errors.iloc[int(np.argmin(apart))]
    trust = errors["history"] / (errors["history"] + _HALF_TRUSTED_HISTORY)
    own = then["history"] / (then["history"] + _HALF_TRUSTED_HISTORY)
    own *= then["bought"] / (then["bought"] + _HALF_TRUSTED_ORDERS)
    orders, value = (
        own * (float(np.average(errors[name], weights=trust)) - then[name])
        for name in ("orders", "value")
    )
    return float(orders), float(value), str(then.name.date())  # type: ignore[attr-defined]


def _past_errors(frame: pd.DataFrame, horizon_days: int) -> pd.DataFrame:
    """Return the errors of Pareto/NBD at past cut-offs.

    Returns:
        By cut-off: `orders` and `value` (logarithms of predicted over actual totals), `bought`
        (actual orders), `history` (days from the first purchase to the cut-off).
    """
    found = {}
    for cutoff, rows in labeled_rows(frame).groupby("as_of_date"):
        try:
            then = ParetoNBDGammaGamma(horizon_days).fit(rows).predict(rows)
        except AbstainError:
            continue
        bought, spent = rows["future_orders"].sum(), rows["future_value"].sum()
        orders, value = then["expected_orders"].sum(), then["predicted_value"].sum()
        if min(bought, spent, orders, value) > 0:
            found[cutoff] = {
                "orders": np.log(orders / bought),
                "value": np.log(value / spent),
                "bought": float(bought),
                "history": float(rows["age_days"].max()),
            }
    table = pd.DataFrame.from_dict(found, orient="index")
    return table.reindex(columns=["orders", "value", "bought", "history"]).astype(float)
