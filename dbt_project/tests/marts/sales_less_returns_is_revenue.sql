{{ config(meta={'dagster': {'ref': {'name': 'revenue_daily'}}}) }}

with

lines as (

    select
        coalesce(sum(net_amount) filter (where transaction_type = 'sale'), 0) as sales_amount,
        coalesce(-sum(net_amount) filter (where transaction_type = 'return'), 0) as returns_amount
    from {{ ref('fct_transaction_items') }}
    where not is_excluded

),

days as (

    select
        coalesce(sum(sales_amount), 0) as sales_amount,
        coalesce(sum(returns_amount), 0) as returns_amount,
        coalesce(sum(net_amount), 0) as net_amount
    from {{ ref('revenue_daily') }}

)

select *
from lines
cross join days
where lines.sales_amount != days.sales_amount
    or lines.returns_amount != days.returns_amount
    or lines.sales_amount - lines.returns_amount != days.net_amount
