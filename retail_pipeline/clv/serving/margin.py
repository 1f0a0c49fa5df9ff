"""Gross margin: the share of a customer's value that is left after the cost of goods.

A customer's own share comes from few products, so credibility theory shrinks it toward the share of
all customers. It counts more the more the customer has bought, and the more customers differ from
each other compared with the products of one customer.

    Bühlmann, Straub (1970), Glaubwürdigkeit für Schadensätze. Mitteilungen der Vereinigung
        schweizerischer Versicherungsmathematiker 70.
    Bühlmann, Gisler (2005), A Course in Credibility Theory and its Applications, chapter 4.

`tables.costed_sales` reads the sales with their costs.
"""

import pandas as pd


def with_margins(predictions: pd.DataFrame, sales: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions with `predicted_margin` and `discounted_margin`.

    Args:
        predictions: `customer_id, predicted_value, discounted_value`.
        sales: Result of `tables.costed_sales`.

    Returns:
        The predictions without the two columns if no product that was sold has a known cost.
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
    """Return the margin over the net amount of all sales with a known cost."""
    return float(1 - sales["cost_of_goods"].sum() / sales["net_amount"].sum())


def margin_shares(sales: pd.DataFrame) -> pd.Series:
    """Return each customer's margin over net amount, shrunk toward that of all customers.

    Args:
        sales: Result of `tables.costed_sales`, at least one row.

    Returns:
        `overall + credibility * (own - overall)` by customer; negative for sales below cost.
    """
    overall, credibility = overall_share(sales), _credibility(sales)
    own = 1 - sales["cost_of_goods"] / sales["net_amount"]
    shares = overall + credibility * (own - overall)
    return shares.set_axis(sales["customer_id"]).rename("margin_share")


def _credibility(sales: pd.DataFrame) -> pd.Series:
    """Return the credibility of each customer's own share, from 0 to 1 (Bühlmann, Straub).

    It is net / (net + within / between): `within` is the variance of products' shares within
    customers, `between` that of customers' shares, both weighted by net amount. It is 0 if
    customers do not differ more than their products explain, or no customer has bought two.
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
"""Shares that differ by less than a millionth count as equal."""
