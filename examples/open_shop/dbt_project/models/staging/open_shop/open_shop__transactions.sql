{#- A cart is a sale. Its time is the column that the variable `open_shop_cart_time` names; where
    the API tells none, the day before the sync has to stand for it: all carts happen then, and an
    as-of date of today counts them.

    A line's discount is given in percent; amounts are not rounded. -#}

{%- set cart_time = var('open_shop_cart_time', none)
    or "(_airbyte_extracted_at - interval '1 day')" -%}

select

    ---------- Airbyte's
    _airbyte_extracted_at,

    ---------- the retail API's columns
    cast(id as text) as transaction_id,
    cast("userId" as text) as user_id,
    {{ cart_time }} as transacted_at,
    {{ cart_time }} as recorded_at,
    {{ cart_time }} as updated_at,
    'sale' as type,
    cast(null as text) as currency,
    cast(null as text) as country,
    cast(null as text) as channel,
    (
        select
            coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'line_number', lines.position,
                        'product_id', lines.product_id,
                        'quantity', lines.quantity,
                        'unit_price', lines.price,
                        'discount', lines.price * lines.quantity * lines.discount,
                        'amount', lines.price * lines.quantity * (1 - lines.discount)
                    )
                    order by lines.position
                ),
                '[]'
            )
        from (
            select
                item.position,
                {{ json_text('item.line', 'id') }} as product_id,
                cast({{ json_text('item.line', 'quantity') }} as numeric) as quantity,
                cast({{ json_text('item.line', 'price') }} as numeric) as price,
                coalesce(
                    cast({{ json_text('item.line', 'discountPercentage') }} as numeric) / 100, 0
                ) as discount
            from {{ array_elements('products') }} as item (line, position)
        ) as lines
    ) as items

from {{ source('open_shop', 'shop_carts') }}
