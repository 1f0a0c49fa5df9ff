"""The purchase model beside the data: weekly repeat purchases, and probabilities by history.

Source:
    Fader, Hardie, Lee (2005), Counting Your Customers the Easy Way: An Alternative to the
    Pareto/NBD Model. Marketing Science 24(2).
"""

import json
from datetime import date

import numpy as np
import pandas as pd

from retail_pipeline.clv.models.btyd import ParetoNBDGammaGamma, history_of
from retail_pipeline.clv.models.pareto_nbd import ParetoNBD
from retail_pipeline.clv.models.purchases import FitError, PurchaseProcess, Purchases
from retail_pipeline.postgres import Database

_WEEK = 7
_ROWS, _COLUMNS = 20, 40
"""Largest number of purchase counts and of recencies in the grid of histories."""


def weeks(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the rows of `clv.purchase_tracking` at a date and horizon.

    The cut-off is the latest one of the training set. There are no rows without one, or if the
    model cannot be fitted there.
    """
    rows = database.query(
        "select as_of_date, age_days, recency_days, purchase_days from clv.training_set "
        "where horizon_days = %(horizon)s and as_of_date = (select max(as_of_date) "
        "from clv.training_set where horizon_days = %(horizon)s) order by customer_id",
        {"horizon": horizon_days},
    )
    try:
        process = ParetoNBD.fit(history_of(rows))
    except FitError:
        return pd.DataFrame(columns=["week_start"])
    cutoff = rows["as_of_date"].iloc[0].date()
    days = database.query(
        "select date_day, count(*) filter (where date_day = first_purchase_date) as acquired, "
        "count(*) filter (where date_day > first_purchase_date) as repeats "
        "from warehouse.customer_features join warehouse.customer_days using (customer_id) "
        "where as_of_date = %(as_of)s and first_purchase_date < %(cutoff)s and is_purchase "
        "group by date_day order by date_day",
        {"cutoff": cutoff, "as_of": as_of},
    )
    return weekly_purchases(process, days, cutoff, as_of).assign(cutoff_date=pd.Timestamp(cutoff))


def cells(database: Database, as_of: date, horizon_days: int) -> pd.DataFrame:
    """Return the rows of `clv.recency_frequency` at a date and horizon.

    There are no rows if Pareto/NBD abstained. The highest number of purchases is that of 98 % of
    the customers who bought again.
    """
    key = {"as_of": as_of, "horizon": horizon_days, "name": ParetoNBDGammaGamma.name}
    fitted = database.query(
        "select content from clv.model_versions join clv.model_artifacts "
        "using (model_version, model_name) where as_of_date = %(as_of)s "
        "and horizon_days = %(horizon)s and model_name = %(name)s order by trained_at desc limit 1",
        key,
    )
    if fitted.empty:
        return pd.DataFrame(columns=["purchases", "days_since_last"])
    found = database.query(
        "select percentile_disc(0.5) within group (order by age_days) as age_days, "
        "percentile_disc(0.98) within group (order by purchase_days) "
        "filter (where purchase_days > 1) as most_purchases "
        "from warehouse.customer_features where as_of_date = %(as_of)s",
        key,
    ).iloc[0]
    content = json.loads(fitted["content"].iloc[0])
    process = ParetoNBDGammaGamma(horizon_days).restore(content["parameters"]).purchases_
    return histories(process, int(found["age_days"]), int(found["most_purchases"]), horizon_days)


def weekly_purchases(
    process: PurchaseProcess, days: pd.DataFrame, cutoff: date, as_of: date
) -> pd.DataFrame:
    """Return actual and expected repeat purchases by complete week before the as-of date.

    The expectation is taken at each customer's first purchase, so it includes neither the
    customer's later purchases nor the season.

    Args:
        process: The purchase process fitted at the cut-off.
        days: `date_day`, `acquired` (customers with their first purchase on that day, before the
            cut-off) and `repeats` (their other purchases on that day), in the order of days.
        cutoff: The cut-off; weeks are counted from it.
        as_of: The as-of date.

    Returns:
        `week_start, customers, actual_orders, expected_orders`.
    """
    first = pd.Timestamp(days["date_day"].iloc[0])
    calendar = pd.date_range(first, pd.Timestamp(as_of), inclusive="left")
    daily = days.set_index("date_day").reindex(calendar, fill_value=0)
    new = Purchases(np.zeros(1), np.zeros(1), np.zeros(1))
    curve = [process.purchases_if_alive(new, float(day))[0] for day in range(len(daily) + 1)]
    acquired = daily["acquired"].to_numpy(float)
    expected = np.convolve(acquired, np.diff(curve))[: len(daily)]
    week = (calendar - pd.Timestamp(cutoff)).days // _WEEK
    sums = daily.assign(expected=expected).groupby(week)[["repeats", "expected"]].sum()
    ends = pd.Timestamp(cutoff) + pd.to_timedelta(_WEEK * (sums.index + 1), unit="D")
    sums = sums[ends <= pd.Timestamp(as_of)]
    return pd.DataFrame(
        {
            "week_start": pd.Timestamp(cutoff) + pd.to_timedelta(_WEEK * sums.index, unit="D"),
            "customers": int(acquired.sum()),
            "actual_orders": sums["repeats"].astype(int).to_numpy(),
            "expected_orders": sums["expected"].to_numpy(),
        }
    )


def histories(
    process: PurchaseProcess, age_days: int, most_purchases: int, horizon_days: int
) -> pd.DataFrame:
    """Return P(alive) and expected orders on a grid of purchase counts and recencies.

    Args:
        process: The purchase process fitted to the customers.
        age_days: Days since the first purchase in all histories.
        most_purchases: The highest number of purchase days, at least 2.
        horizon_days: Days ahead of the expected orders.

    Returns:
        `purchases, days_since_last, age_days, probability_alive, expected_orders`.
    """
    counts = np.unique(np.linspace(2, max(most_purchases, 2), _ROWS).round())
    # The second purchase is a day after the first one at the earliest.
    recencies = np.unique(np.linspace(0, max(age_days - 1, 0), _COLUMNS).round())
    purchases, since = (grid.ravel() for grid in np.meshgrid(counts, recencies))
    history = Purchases(purchases - 1, age_days - since, np.full(len(since), float(age_days)))
    return pd.DataFrame(
        {
            "purchases": purchases.astype(int),
            "days_since_last": since.astype(int),
            "age_days": age_days,
            "probability_alive": process.probability_alive(history),
            "expected_orders": process.expected_purchases(history, float(horizon_days)),
        }
    )
