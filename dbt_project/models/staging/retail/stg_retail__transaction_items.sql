with

source as (

    select * from {{ source('transactional', 'transactions') }}

),

unnested as (

    select
        source.transaction_id,
        item.line,
        item.position
    from source
    cross join {{ array_elements('source.items') }} as item (line, position)

),

renamed as (

    select

        ---------- ids
        cast(transaction_id as text) as transaction_id,
        cast(
            coalesce(cast({{ json_text('line', 'line_number') }} as bigint), position) as integer
        ) as line_number,
        {{ json_text('line', 'product_id') }} as product_id,

        ---------- numerics
        cast({{ json_text('line', 'quantity') }} as numeric) as quantity,
        cast({{ json_text('line', 'unit_price') }} as numeric) as unit_price,
        coalesce(cast({{ json_text('line', 'discount') }} as numeric), 0) as discount_amount,
        cast({{ json_text('line', 'amount') }} as numeric) as net_amount

    from unnested

)

select * from renamed
