{{ config(meta={'dagster': {'ref': {'name': 'customer_days'}}}) }}

with

lines as (

    select coalesce(sum(net_amount), 0) as net_amount
    from {{ ref('fct_transaction_items') }}
    where not is_excluded and customer_id is not null

),

days as (

    select coalesce(sum(net_amount), 0) as net_amount
    from {{ ref('customer_days') }}

)

select *
from lines
cross join days
where lines.net_amount != days.net_amount
