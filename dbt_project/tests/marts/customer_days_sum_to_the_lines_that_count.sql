{{ config(meta={'dagster': {'ref': {'name': 'customer_days'}}}) }}

with

lines as (

    select
        customer_id,
        sum(net_amount) as net_amount
    from {{ ref('fct_transaction_items') }}
    where not is_excluded and customer_id is not null
    group by customer_id

),

days as (

    select
        customer_id,
        sum(net_amount) as net_amount
    from {{ ref('customer_days') }}
    group by customer_id

)

select
    customer_id,
    lines.net_amount as net_amount_of_lines,
    days.net_amount as net_amount_of_days
from lines
full outer join days using (customer_id)
where lines.net_amount is distinct from days.net_amount
