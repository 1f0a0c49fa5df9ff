{{ config(indexes=[{'columns': ['product_id'], 'unique': true}]) }}

with

products as (

    select * from {{ ref('stg_retail__products') }}
    where {{ is_before_as_of_date(['recorded_at']) }}

),

items as (

    select * from {{ ref('fct_transaction_items') }}

),

sold_products as (

    select
        product_id,
        min(exclusion_reason) as exclusion_reason,
        min(transacted_at) as first_sold_at,
        max(transacted_at) as last_sold_at,
        sum(quantity) filter (where not is_excluded) as quantity,
        sum(net_amount) filter (where not is_excluded) as net_amount
    from items
    where product_id is not null
    group by product_id

),

final as (

    select

        ---------- ids
        coalesce(products.product_id, sold_products.product_id) as product_id,

        ---------- text
        products.product_name,
        products.product_category,
        products.currency,

        ---------- numerics
        products.price,
        products.cost,
        coalesce(sold_products.quantity, 0) as quantity,
        coalesce(sold_products.net_amount, 0) as net_amount,

        ---------- booleans
        products.product_id is not null as is_listed,
        sold_products.exclusion_reason is not null as is_excluded,
        sold_products.exclusion_reason,

        ---------- timestamps
        sold_products.first_sold_at,
        sold_products.last_sold_at

    from products
    full outer join sold_products on products.product_id = sold_products.product_id

)

select * from final
