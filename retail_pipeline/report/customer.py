"""One customer as plain values: purchases, latest prediction, reasons, rank among all."""

from typing import Any

from retail_pipeline.errors import PipelineError
from retail_pipeline.postgres import Database
from retail_pipeline.report.summary import LATEST, read_rows

_SERVED = f"""
select as_of_date::text, horizon_days, count(*) as customers
from clv.predictions where {LATEST} group by as_of_date, horizon_days
"""

_PURCHASES = """
select min(date_day) filter (where is_purchase)::text as first_date,
    max(date_day) filter (where is_purchase)::text as last_date,
    count(*) filter (where is_purchase) as purchases, sum(net_amount)::float8 as net_amount
from warehouse.customer_days
where customer_id = %(customer)s and date_day < %(as_of)s
having count(*) > 0
"""

_PREDICTION = """
select p.predicted_value::float8, p.lower_80::float8, p.upper_80::float8, p.expected_orders,
    p.probability_active, p.probability_alive, p.next_order_median_date::text, p.days_overdue,
    p.clv_decile, p.segment, p.model_name, p.model_version,
    p.value_shape is null as is_older_than_next_orders,
    1 + (
        select count(*) from clv.predictions as other
        where (other.as_of_date, other.horizon_days) = (p.as_of_date, p.horizon_days)
            and other.predicted_value > p.predicted_value
    ) as rank
from clv.predictions as p
where p.customer_id = %(customer)s and p.as_of_date = %(as_of)s and p.horizon_days = %(horizon)s
"""

_REASONS = """
select feature_group, effect::float8, explanation from clv.prediction_reasons
where customer_id = %(customer)s and as_of_date = %(as_of)s and horizon_days = %(horizon)s
order by reason_rank
"""


def read_customer(database: Database, customer_id: str) -> dict[str, Any]:
    """Return a customer's purchases, latest served prediction and reasons.

    Args:
        database: The warehouse, as the role scientist or reader.
        customer_id: The id, verbatim.

    Returns:
        `customer_id`, `as_of_date`, `horizon_days`, `customers` (predicted in all), `purchases`,
        `prediction` (None without a purchase before the date) and `reasons`.

    Raises:
        PipelineError: Nothing was predicted yet, or no such customer is known.
    """
    served = read_rows(database, _SERVED)
    if not served:
        raise PipelineError("nothing was predicted yet: run `retail-pipeline run`")
    params = {
        "customer": customer_id,
        "as_of": served[0]["as_of_date"],
        "horizon": served[0]["horizon_days"],
    }
    purchases = read_rows(database, _PURCHASES, params)
    prediction = read_rows(database, _PREDICTION, params)
    if not purchases and not prediction:
        raise PipelineError(
            f"no customer {customer_id!r} has an order before {served[0]['as_of_date']}: "
            "ids are compared verbatim, capitals and leading zeros included"
        )
    return {
        "customer_id": customer_id,
        **served[0],
        "purchases": purchases[0] if purchases else None,
        "prediction": prediction[0] if prediction else None,
        "reasons": read_rows(database, _REASONS, params),
    }
