with

source as (

    select * from {{ records('transactions') }}

),

lines as (

    select

        ---------- ids
        cast(source.transaction_id as text) as transaction_id,
        cast(
            coalesce(cast({{ json_text('item.line', 'line_number') }} as bigint), item.position)
            as integer
        ) as line_number,
        {{ json_text('item.line', 'product_id') }} as product_id,

        ---------- numerics
        cast({{ json_text('item.line', 'quantity') }} as numeric) as quantity,
        cast({{ json_text('item.line', 'unit_price') }} as numeric) as unit_price,
        coalesce(cast({{ json_text('item.line', 'discount') }} as numeric), 0) as discount_amount,
        cast({{ json_text('item.line', 'amount') }} as numeric) as net_amount

    from source
    cross join {{ array_elements('source.items') }} as item (line, position)

)

select * from lines
