{{ config(
    materialized='incremental',
    meta={'increment': {
        'key': 'customer_id',
        'inputs': ['fct_transaction_items'],
        'publishes': ['customer_id'],
    }},
    pre_hook=[
        "{{ find_changed_products() }}",
        "{{ find_changes(also=buyers_of_changed_products()) }}",
    ],
    indexes=[{'columns': ['customer_id']}],
) }}

with

items as (

    select * from {{ ref('fct_transaction_items') }}
    where not is_excluded and transaction_type = 'sale' and customer_id is not null
        and {{ has_changed('customer_id') }}

),

products as (

    select * from {{ ref('stg_retail__products') }}

),

first_products as (

    select
        customer_id,
        product_id,
        min({{ known_date('transacted_at', 'recorded_at') }}) as known_date
    from items
    where product_id is not null
    group by customer_id, product_id

),

first_categories as (

    select
        first_products.customer_id,
        products.product_category,
        min(
            greatest(first_products.known_date, {{ utc_date('products.recorded_at') }})
        ) as known_date
    from first_products
    inner join products on first_products.product_id = products.product_id
    where products.product_category is not null
    group by first_products.customer_id, products.product_category

),

firsts as (

    select
        customer_id,
        known_date,
        1 as products,
        0 as categories
    from first_products
    union all
    select
        customer_id,
        known_date,
        0 as products,
        1 as categories
    from first_categories

),

firsts_by_day as (

    select
        customer_id,
        known_date,
        sum(products) as products,
        sum(categories) as categories
    from firsts
    group by customer_id, known_date

),

final as (

    select
        customer_id,
        known_date as known_from,
        lead(known_date) over customer as known_until,
        sum(products) over customer as distinct_products,
        sum(categories) over customer as distinct_categories
    from firsts_by_day
    window customer as (partition by customer_id order by known_date)

)

select * from final
