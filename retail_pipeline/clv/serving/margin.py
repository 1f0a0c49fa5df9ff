"""Gross margin: the share of a customer's value that is left after the cost of goods.

A customer's own share comes from few products, so credibility theory shrinks it toward the share of
all customers. It counts more the more the customer has bought, and the more customers differ from
each other compared with the products of one customer.

    Bühlmann, Straub (1970), Glaubwürdigkeit für Schadensätze. Mitteilungen der Vereinigung
        schweizerischer Versicherungsmathematiker 70.
    Bühlmann, Gisler (2005), A Course in Credibility Theory and its Applications, chapter 4.

`tables.costed_sales` reads the sales with their costs.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from math import fsum
from typing import NamedTuple

import pandas as pd


class Portfolio(NamedTuple):
    """What the sales of all customers say about the share of one.

    Attributes:
        overall: The margin over the net amount of all sales with a known cost.
        within: The variance of products' shares within customers, weighted by net amount.
        between: The variance of customers' shares; 0 if they do not differ more than their products
            explain, or no customer has bought two.
    """

    overall: float
    within: float
    between: float


def with_margins(
    predictions: pd.DataFrame, sales: pd.DataFrame, portfolio: Portfolio | None
) -> pd.DataFrame:
    """Return the predictions with `predicted_margin` and `discounted_margin`.

    Args:
        predictions: `customer_id, predicted_value, discounted_value`.
        sales: Result of `tables.costed_sales` for these customers, and others.
        portfolio: The portfolio of all customers.

    Returns:
        The predictions without the two columns if no product that was sold has a known cost.
    """
    if portfolio is None:
        return predictions
    share = margin_shares(sales, portfolio).reindex(predictions["customer_id"])
    kept = share.fillna(portfolio.overall).to_numpy(float)
    return predictions.assign(
        predicted_margin=predictions["predicted_value"].to_numpy(float) * kept,
        discounted_margin=predictions["discounted_value"].to_numpy(float) * kept,
    )


def margin_shares(sales: pd.DataFrame, portfolio: Portfolio) -> pd.Series:
    """Return each customer's margin over net amount, shrunk toward that of all customers.

    Returns:
        `overall + credibility * (own - overall)` by customer; negative for sales below cost. The
        credibility of the own share is net / (net + within / between), from 0 to 1.
    """
    overall, within, between = portfolio
    own, weight = 1 - sales["cost_of_goods"] / sales["net_amount"], sales["net_amount"] * between
    credibility = weight / (weight + within) if between else 0.0
    shares = overall + credibility * (own - overall)
    return shares.set_axis(sales["customer_id"]).rename("margin_share")


def portfolio_of(sales: Iterable[pd.DataFrame]) -> Portfolio | None:
    """Return the portfolio of all customers' sales (Bühlmann, Straub); None without any.

    Sums are rounded once, so neither the order of the rows nor the parts matter.

    Args:
        sales: Parts of the result of `tables.costed_sales`, which are read several times; the ids
            are not needed.
    """

    def total(values: Callable[[pd.DataFrame], pd.Series]) -> float:
        return fsum(chain.from_iterable(values(part) for part in sales))

    customers = sum(len(part) for part in sales)
    if not customers:
        return None
    net = total(lambda sold: sold["net_amount"])
    overall = 1 - total(lambda sold: sold["cost_of_goods"]) / net
    repeats = total(lambda sold: sold["products"] - 1)
    effective = net - total(lambda sold: sold["net_amount"] ** 2) / net
    if repeats == 0 or effective <= 0:
        return Portfolio(overall, 0.0, 0.0)
    within = total(_inside) / repeats
    apart = total(lambda sold: sold["net_amount"] * (_shares(sold) - overall) ** 2)
    between = max(apart - (customers - 1) * within, 0.0) / effective
    return Portfolio(overall, within, between if between >= _LEAST_VARIANCE else 0.0)


def _shares(sold: pd.DataFrame) -> pd.Series:
    return (sold["net_amount"] - sold["cost_of_goods"]) / sold["net_amount"]


def _inside(sold: pd.DataFrame) -> pd.Series:
    """Return the squared differences of products' shares from their customer's, by net amount."""
    margin = sold["net_amount"] - sold["cost_of_goods"]
    return (sold["squared_margin_over_net"] - margin**2 / sold["net_amount"]).clip(lower=0.0)


_LEAST_VARIANCE = 1e-12
"""Shares that differ by less than a millionth count as equal."""
