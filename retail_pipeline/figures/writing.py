"""Numbers, days, models and features as text."""

import math
import re
from datetime import date, datetime

from retail_pipeline import wording
from retail_pipeline.wording import MISSING

_ROUNDING = 1e-9
"""Percentage points below 100 that are still a rounding error of arithmetic."""

_MODELS = {
    "bg_nbd_gamma_gamma": "BG/NBD + Gamma-Gamma",
    "pareto_nbd_gamma_gamma": "Pareto/NBD + Gamma-Gamma",
    "boosted_pareto_nbd": "Boosted Pareto/NBD",
    "seasonal_pareto_nbd": "Seasonal Pareto/NBD",
    "seasonal_boosted_pareto_nbd": "Seasonal boosted Pareto/NBD",
}
_SYMBOLS = {"": "", "GBP": "£", "USD": "$", "EUR": "€", "JPY": "¥"}
_STEPS = ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))

_FEATURES = {
    "recency_days": "days since purchase",
    "age_days": "days since first purchase",
    "recency_over_gap": "days since purchase ÷ usual gap",
    "silence": "days since purchase ÷ age",
    "purchase_days": "purchases",
    "yearly_rate": "purchases a year",
    "orders_ahead": "expected purchases",
    "value_ahead": "expected value",
    "active_months": "months with a purchase",
    "total_net_amount": "net amount",
    "purchase_amount": "amount before returns",
    "net_amount_ewm": "recent net amount",
    "net_amount_prev": "previous net amount",
    "net_amount_year_ago": "net amount a year ago",
    "trend": "change of net amount",
    "mean_purchase_value": "mean purchase",
    "max_purchase_value": "largest purchase",
    "sd_purchase_value": "spread of purchase values",
    "purchase_value_sum": "sum of purchase values",
    "first_purchase_value": "first purchase's value",
    "last_purchase_value": "last purchase's value",
    "gap_mean_days": "mean days between purchases",
    "gap_median_days": "median days between purchases",
    "gap_sd_days": "spread of days between purchases",
    "gap_cv": "irregularity of purchases",
    "lines": "order lines",
    "quantity": "items bought",
    "distinct_products": "products bought",
    "distinct_categories": "categories bought",
    "mean_unit_price": "mean price paid",
    "returns_amount": "amount returned",
    "returns_rate": "share returned",
    "return_orders": "returns",
    "weekend_share": "share bought at weekends",
    "mean_hour": "mean hour of purchase",
}
_SCALES = {"log_": " (log)", "sqrt_": " (root)"}


def number(value: float, unit: str = "", *, signed: bool = False) -> str:
    """Return a number with three significant digits: `£1.23M`, `18.1`, `-3.4k CHF`, `4.1%`.

    A share below one is never written as 100%, and a share above zero never as 0%.

    Args:
        value: The number; NaN becomes a dash.
        unit: `%` for a share, an ISO code for an amount of money, or empty.
        signed: Whether positive numbers have a plus sign.
    """
    if not math.isfinite(value):
        return MISSING
    sign = "-" if value < 0 else "+" if signed and value > 0 else ""
    if unit == "%":
        return _percentage(float(value), sign)
    text = _three_digits(abs(float(value)), cents=bool(unit))
    sign = "" if text == "0" else sign
    symbol = _SYMBOLS.get(unit)
    return f"{sign}{text}\u00a0{unit}" if symbol is None else f"{sign}{symbol}{text}"


def counted(value: float, noun: str) -> str:
    """Return a number with its noun, unbreakable: `1 customer`, `12,345 customers`."""
    return wording.counted(round(value), noun).replace(" ", "\u00a0")


def day(value: date | datetime) -> str:
    """Return a day, unbreakable: `1 Jun 2011`."""
    return f"{value.day} {value:%b %Y}".replace(" ", "\u00a0")


def model_in_words(name: str) -> str:
    """Return the display name of a model, unbreakable; `last_window` becomes `Last window`."""
    return _MODELS.get(name, name.replace("_", " ").capitalize()).replace(" ", "\u00a0")


def feature_in_words(name: str) -> str:
    """Return a feature's name in words: `log_net_amount_90d` is `net amount, 90 days (log)`."""
    for prefix, scale in _SCALES.items():
        if name.startswith(prefix):
            return feature_in_words(name.removeprefix(prefix)) + scale
    found = re.fullmatch(r"(.+)_(\d+)d", name)
    stem, days = (found[1], f", {found[2]} days") if found else (name, "")
    return _FEATURES.get(stem, stem.replace("_", " ")) + days


def shortened(text: str, most: int = 32) -> str:
    """Return the text, cut to `most` characters with an ellipsis if it is longer."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _percentage(value: float, sign: str) -> str:
    percent = 100 * abs(value)
    if percent == 0:
        return "0%"
    if percent < 0.1:
        return "<0.1%" if value > 0 else ">-0.1%"
    nearly_all = 99.5 <= percent < 100 - _ROUNDING
    if nearly_all and percent >= 99.95:
        return ">99.9%" if value > 0 else "<-99.9%"
    text = f"{percent:.1f}" if nearly_all or percent < 9.95 else f"{percent:.0f}"
    return f"{sign}{text.removesuffix('.0')}%"


def _three_digits(size: float, *, cents: bool) -> str:
    for step, suffix in _STEPS:
        # 999,950 belongs to the next step: three digits would write it as 1000k.
        if size < step * 0.9995:
            continue
        scaled = size / step
        if step == 1.0 and cents and scaled < 99.995:
            return f"{scaled:.2f}".removesuffix(".00")
        decimals = max(0, 2 - math.floor(math.log10(scaled)))
        text = f"{scaled:.{decimals}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text) + suffix
    if cents and size >= 0.0995:
        return f"{size:.2f}"
    # Feeds have prices of 0.001; below a millionth there are only rounding errors.
    return f"{size:.3g}" if size >= 1e-6 else "0"
