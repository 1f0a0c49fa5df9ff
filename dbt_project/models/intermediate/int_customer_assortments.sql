{{ config(pre_hook="{{ sort_to_group() }}", indexes=[{'columns': ['customer_id']}]) }}

with

items as (

    select * from {{ ref('fct_transaction_items') }}
    where not is_excluded and transaction_type = 'sale' and customer_id is not null

),

products as (

    select * from {{ ref('int_product_prices') }}

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

first_versions as (

    select
        first_products.customer_id,
        products.product_category,
        products.price,
        greatest(first_products.known_date, products.known_from) as known_from,
        products.known_until
    from first_products
    inner join products
        on first_products.product_id = products.product_id
        and (
            products.known_until is null
            or first_products.known_date < products.known_until
        )

),

first_categories as (

    select
        customer_id,
        product_category,
        min(known_from) as known_date
    from first_versions
    where product_category is not null
    group by customer_id, product_category

),

changes as (

    select
        customer_id,
        known_date,
        1 as products,
        0 as categories,
        0 as prices,
        cast(0 as {{ number_type() }}) as list_price
    from first_products
    union all
    select
        customer_id,
        known_date,
        0 as products,
        1 as categories,
        0 as prices,
        cast(0 as {{ number_type() }}) as list_price
    from first_categories
    union all
    select
        customer_id,
        known_from as known_date,
        0 as products,
        0 as categories,
        1 as prices,
        price as list_price
    from first_versions
    where price is not null
    union all
    select
        customer_id,
        known_until as known_date,
        0 as products,
        0 as categories,
        -1 as prices,
        -price as list_price
    from first_versions
    where price is not null and known_until is not null

),

changes_by_day as (

    select
        customer_id,
        known_date,
        sum(products) as products,
        sum(categories) as categories,
        sum(prices) as prices,
        sum(list_price) as list_price
    from changes
    group by customer_id, known_date

),

final as (

    select
        customer_id,
        known_date as known_from,
        lead(known_date) over customer as known_until,
        sum(products) over customer as distinct_products,
        sum(categories) over customer as distinct_categories,
        {{ quotient('sum(list_price) over customer', 'nullif(sum(prices) over customer, 0)') }}
            as mean_list_price
    from changes_by_day
    window customer as (partition by customer_id order by known_date)

)

select * from final
