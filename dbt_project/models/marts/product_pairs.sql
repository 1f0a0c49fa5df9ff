{{ config(indexes=[{'columns': ['product_id', 'other_product_id'], 'unique': true}]) }}

{#- Three limits keep the pairs few: 365 days, 200 products, and 100 lines of an order. -#}

with

last_year as (

    select max(date_day) - 365 as day_before
    from {{ ref('dim_dates') }}

),

orders as (

    select transaction_id
    from {{ ref('int_transactions_counted') }}
    where transaction_type = 'sale'
        and lines <= 100
        and date_day > (select day_before from last_year)

),

items as (

    select
        transaction_id,
        product_id
    from {{ ref('fct_transaction_items') }}
    where transaction_type = 'sale'
        and not is_excluded
        and date_day > (select day_before from last_year)

),

top_products as (

    select product_id
    from {{ ref('fct_transaction_items') }}
    where transaction_type = 'sale'
        and not is_excluded
        and product_id is not null
        and date_day > (select day_before from last_year)
    group by product_id
    order by count(*) desc, product_id
    limit 200

),

baskets as (

    select
        items.transaction_id,
        array_agg(distinct items.product_id) as product_ids
    from items
    inner join top_products on items.product_id = top_products.product_id
    inner join orders on items.transaction_id = orders.transaction_id
    group by items.transaction_id

),

order_counts as (

    select count(*) as orders
    from orders

),

product_counts as (

    select
        bought.product_id,
        count(*) as orders
    from baskets
    cross join {{ elements_of('baskets.product_ids') }} as bought (product_id)
    group by bought.product_id

),

pair_counts as (

    select
        bought.product_id,
        other.product_id as other_product_id,
        count(*) as orders
    from baskets
    cross join {{ elements_of('baskets.product_ids') }} as bought (product_id)
    cross join {{ elements_of('baskets.product_ids') }} as other (product_id)
    where bought.product_id != other.product_id
    group by bought.product_id, other.product_id
    having count(*) >= 5

),

final as (

    select

        ---------- ids
        pair_counts.product_id,
        pair_counts.other_product_id,

        ---------- counts
        cast(pair_counts.orders as integer) as orders_with_both,
        cast(product_counts.orders as integer) as orders_with_product,
        cast(other_counts.orders as integer) as orders_with_other,
        cast(order_counts.orders as integer) as orders,

        ---------- numerics
        pair_counts.orders / cast(order_counts.orders as {{ double_type() }}) as support,
        pair_counts.orders / cast(product_counts.orders as {{ double_type() }}) as confidence,
        cast(pair_counts.orders as {{ double_type() }}) * order_counts.orders
        / (product_counts.orders * other_counts.orders) as lift

    from pair_counts
    inner join product_counts on pair_counts.product_id = product_counts.product_id
    inner join product_counts as other_counts
        on pair_counts.other_product_id = other_counts.product_id
    cross join order_counts

)

select * from final
