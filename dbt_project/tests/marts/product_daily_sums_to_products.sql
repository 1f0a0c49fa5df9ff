{{ config(meta={'dagster': {'ref': {'name': 'product_daily'}}}) }}

with

days as (

    select
        product_id,
        sum(quantity - returned_quantity) as quantity,
        sum(net_amount) as net_amount
    from {{ ref('product_daily') }}
    group by product_id

),

products as (

    select * from {{ ref('dim_products') }}

)

select
    product_id,
    products.net_amount as net_amount_of_product,
    days.net_amount as net_amount_of_days
from products
full outer join days using (product_id)
where coalesce(days.net_amount, 0) is distinct from products.net_amount
    or coalesce(days.quantity, 0) is distinct from products.quantity
