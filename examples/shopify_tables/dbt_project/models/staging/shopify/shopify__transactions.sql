{#- An order is a sale, and a refund with lines is a return. A line counts quantity times price less
    its discount allocations, among which Shopify divides the discounts of the order; taxes are in
    the price where the shop's prices include them; shipping and tips are no lines. Test orders and
    orders that were cancelled without a refund are neither sale nor return: the marts mark them,
    and the summary says how much they are. -#}

with

orders as (

    select * from {{ source('shopify', 'orders') }}

),

refunds as (

    select * from {{ source('shopify', 'order_refunds') }}

),

sales as (

    select
        orders._airbyte_extracted_at,
        cast(orders.id as text) as transaction_id,
        {{ json_text('orders.customer', 'id') }} as user_id,
        cast(coalesce(orders.processed_at, orders.created_at) as timestamptz) as transacted_at,
        cast(orders.updated_at as timestamptz) as updated_at,
        case
            when orders.test then 'test order'
            when
                orders.cancelled_at is not null
                and not exists (
                    select 1
                    from refunds
                    where refunds.order_id = orders.id
                )
                then 'cancelled'
            else 'sale'
        end as type,
        orders.currency,
        {{ json_text('orders.shipping_address', 'country') }} as country,
        orders.source_name as channel,
        (
            select
                coalesce(
                    jsonb_agg(
                        jsonb_build_object(
                            'line_number', lines.position,
                            'product_id', lines.product_id,
                            'quantity', lines.quantity,
                            'unit_price', lines.price,
                            'discount', lines.discount,
                            'amount', lines.quantity * lines.price - lines.discount
                        )
                        order by lines.position
                    ),
                    '[]'
                )
            from (
                select
                    item.position,
                    {{ json_text('item.line', 'product_id') }} as product_id,
                    {{ json_number('item.line', 'quantity') }} as quantity,
                    {{ json_number('item.line', 'price') }} as price,
                    (
                        select coalesce(sum({{ json_number('part.line', 'amount') }}), 0)
                        from
                            {{ array_elements("(item.line -> 'discount_allocations')") }}
                                as part (line, position)
                    ) as discount
                from {{ array_elements('orders.line_items') }} as item (line, position)
            ) as lines
        ) as items
    from orders

),

returns as (

    select
        refunds._airbyte_extracted_at,
        'refund-' || refunds.id as transaction_id,
        sales.user_id,
        cast(refunds.created_at as timestamptz) as transacted_at,
        cast(refunds.created_at as timestamptz) as updated_at,
        case when sales.type = 'sale' then 'return' else sales.type end as type,
        sales.currency,
        sales.country,
        sales.channel,
        (
            select
                coalesce(
                    jsonb_agg(
                        jsonb_build_object(
                            'line_number', item.position,
                            'product_id', item.line -> 'line_item' ->> 'product_id',
                            'quantity', -{{ json_number('item.line', 'quantity') }},
                            'unit_price', {{ json_number("(item.line -> 'line_item')", 'price') }},
                            'discount', 0,
                            'amount', -{{ json_number('item.line', 'subtotal') }}
                        )
                        order by item.position
                    ),
                    '[]'
                )
            from {{ array_elements('refunds.refund_line_items') }} as item (line, position)
        ) as items
    from refunds
    left join sales on cast(refunds.order_id as text) = sales.transaction_id

),

final as (

    select * from sales
    union all
    select * from returns

)

select

    ---------- Airbyte's
    _airbyte_extracted_at,

    ---------- the retail API's columns
    transaction_id,
    user_id,
    transacted_at,
    transacted_at as recorded_at,
    updated_at,
    type,
    currency,
    country,
    channel,
    items

from final
