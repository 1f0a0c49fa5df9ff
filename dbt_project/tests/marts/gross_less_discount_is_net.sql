select
    transaction_id,
    gross_amount,
    discount_amount,
    net_amount
from {{ ref('fct_transactions') }}
where gross_amount - discount_amount is distinct from net_amount
