"""Gross margin: which share of a customer's value the shop keeps after the cost of goods.

A customer's own share is known from few products, so it is shrunk to that of all customers, by
credibility: the more a customer has bought, and the more customers differ from each other compared
with what one of them buys, the more the own share counts.

    Bühlmann, Straub (1970), Glaubwürdigkeit für Schadensätze. Mitteilungen der Vereinigung
        schweizerischer Versicherungsmathematiker 70.
    Bühlmann, Gisler (2005), A Course in Credibility Theory and its Applications, chapter 4.

What was sold at which cost is read by `tables`; no value is predicted here.
"""

import pandas as pd


def with_margins(predictions: pd.DataFrame, sales: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions with `predicted_margin` and `discounted_margin`.

    Args:
        predictions: `customer_id, predicted_value, discounted_value`.
        sales: As `tables.costed_sales` returns them.

    Returns:
        Without the two columns where no product that was sold has a known cost.
    """
    if sales.empty:
        return predictions
    share = margin_shares(sales).reindex(predictions["customer_id"])
    kept = share.fillna(overall_share(sales)).to_numpy(float)
    return predictions.assign(
        predicted_margin=predictions["predicted_value"].to_numpy(float) * kept,
        discounted_margin=predictions["discounted_value"].to_numpy(float) * kept,
    )


def overall_share(sales: pd.DataFrame) -> float:
    """Return the margin of all that was sold at a known cost, over its net amount."""
    return float(1 - sales["cost_of_goods"].sum() / sales["net_amount"].sum())


def margin_shares(sales: pd.DataFrame) -> pd.Series:
    """Return each customer's margin over net amount, shrunk to that of all, by customer.

    Args:
        sales: As `tables.costed_sales` returns them, at least one row.

    Returns:
        `overall + credibility * (own - overall)`; negative where goods go below their cost.
    """
    overall, credibility = overall_share(sales), _credibility(sales)
    own = 1 - sales["cost_of_goods"] / sales["net_amount"]
    shares = overall + credibility * (own - overall)
    return shares.set_axis(sales["customer_id"]).rename("margin_share")


def _credibility(sales: pd.DataFrame) -> pd.Series:
    """Return how much each customer's own share counts, from 0 to 1 (Bühlmann, Straub).

    net / (net + within / between), with the variance of a product's share within customers and that
    of a customer's share between them, both weighted by net amount. 0 for everyone where customers
    do not differ by more than their products explain, or nobody has bought two.
    """
    net, margin = sales["net_amount"], sales["net_amount"] - sales["cost_of_goods"]
    repeats = float((sales["products"] - 1).sum())
    effective = float(net.sum() - (net**2).sum() / net.sum())
    if repeats == 0 or effective <= 0:
        return net * 0.0
    inside = (sales["squared_margin_over_net"] - margin**2 / net).clip(lower=0.0)
    within = float(inside.sum()) / repeats
    apart = float((net * (margin / net - overall_share(sales)) ** 2).sum())
    between = max(apart - (len(sales) - 1) * within, 0.0) / effective
    if between < _LEAST_VARIANCE:
        return net * 0.0
    return net * between / (net * between + within)


_LEAST_VARIANCE = 1e-12
"""Shares that differ by less than a millionth are the same."""
