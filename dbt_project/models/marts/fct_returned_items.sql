{{ config(indexes=[
    {'columns': ['transaction_id', 'line_number'], 'unique': true},
    {'columns': ['customer_id']},
    {'columns': ['sale_transaction_id', 'sale_line_number']},
]) }}

with

returned_items as (

    select * from {{ ref('fct_transaction_items') }}
    where transaction_type = 'return'

),

sold_items as (

    -- Referenced only once, so that PostgreSQL can use the index on the customer.
    select * from {{ ref('fct_transaction_items') }}
    where transaction_type = 'sale' and quantity > 0

),

matched as (

    {{ latest_sales_of_returns() }}

),

final as (

    select

        ---------- ids
        transaction_id,
        line_number,
        customer_id,
        product_id,
        sale_transaction_id,
        sale_line_number,

        ---------- numerics
        -quantity as returned_quantity,
        -net_amount as returned_amount,
        sold_at_unit_amount,
        {{ days_between(business_date('sold_at'), business_date('transacted_at')) }}
            as days_to_return,

        ---------- booleans
        sale_transaction_id is not null as is_matched,
        is_excluded,

        ---------- timestamps
        sold_at,
        transacted_at as returned_at

    from matched

)

select * from final
