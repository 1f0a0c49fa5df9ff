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

    -- Referenced only once, so that the lateral join can use the index on the customer.
    select * from {{ ref('fct_transaction_items') }}
    where transaction_type = 'sale' and quantity > 0

),

matched as (

    select
        returned_items.*,
        sales.transaction_id as sale_transaction_id,
        sales.line_number as sale_line_number,
        sales.transacted_at as sold_at,
        {{ quotient('sales.net_amount', 'sales.quantity') }} as sold_at_unit_amount
    from returned_items
    left join lateral (
        select *
        from sold_items
        where sold_items.customer_id = returned_items.customer_id
            and sold_items.product_id = returned_items.product_id
            and sold_items.transacted_at <= returned_items.transacted_at
            and sold_items.quantity >= coalesce(-returned_items.quantity, 0)
            and sold_items.net_amount >= -returned_items.net_amount
        order by
            sold_items.transacted_at desc,
            sold_items.transaction_id desc,
            sold_items.line_number desc
        limit 1
    ) as sales on true

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
