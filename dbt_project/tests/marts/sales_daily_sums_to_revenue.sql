{{ config(meta={'dagster': {'ref': {'name': 'sales_daily'}}}) }}

with

sales as (

    select
        date_day,
        sum(orders) as orders,
        sum(return_orders) as return_orders,
        sum(sales_amount) as sales_amount,
        sum(gross_amount - discount_amount) as gross_less_discount,
        sum(returns_amount) as returns_amount,
        sum(net_amount) as net_amount,
        coalesce(sum(margin_amount), 0) as margin_amount
    from {{ ref('sales_daily') }}
    group by date_day

),

revenue as (

    select * from {{ ref('revenue_daily') }}

),

margins as (

    select
        date_day,
        coalesce(sum(margin_amount), 0) as margin_amount
    from {{ ref('int_transactions_counted') }}
    group by date_day

)

select
    date_day,
    revenue.net_amount as net_amount_of_revenue,
    sales.net_amount as net_amount_of_sales
from revenue
full outer join sales using (date_day)
full outer join margins using (date_day)
where coalesce(sales.orders, 0) is distinct from revenue.orders
    or coalesce(sales.return_orders, 0) is distinct from revenue.return_orders
    or coalesce(sales.sales_amount, 0) is distinct from revenue.sales_amount
    or coalesce(sales.gross_less_discount, 0) is distinct from revenue.sales_amount
    or coalesce(sales.returns_amount, 0) is distinct from revenue.returns_amount
    or coalesce(sales.net_amount, 0) is distinct from revenue.net_amount
    or sales.margin_amount is distinct from margins.margin_amount
