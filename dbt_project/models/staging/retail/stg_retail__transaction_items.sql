{#- One plain query: the planner loses the landing table's statistics through a CTE, and an
    increment would read all of it. -#}

select

    ---------- ids
    cast(source.transaction_id as text) as transaction_id,
    cast(coalesce(cast(item.line ->> 'line_number' as bigint), item.position) as integer)
        as line_number,
    item.line ->> 'product_id' as product_id,

    ---------- numerics
    cast(item.line ->> 'quantity' as numeric) as quantity,
    cast(item.line ->> 'unit_price' as numeric) as unit_price,
    coalesce(cast(item.line ->> 'discount' as numeric), 0) as discount_amount,
    cast(item.line ->> 'amount' as numeric) as net_amount

from {{ source('transactional', 'transactions') }} as source
cross join lateral jsonb_array_elements(source.items) with ordinality as item (line, position)
