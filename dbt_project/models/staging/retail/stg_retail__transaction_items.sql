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
    cross join lateral jsonb_array_elements(source.items) with ordinality as item (line, position)

),

renamed as (

    select

        ---------- ids
        cast(transaction_id as text) as transaction_id,
        cast(coalesce(cast(line ->> 'line_number' as bigint), position) as integer) as line_number,
        line ->> 'product_id' as product_id,

        ---------- numerics
        cast(line ->> 'quantity' as numeric) as quantity,
        cast(line ->> 'unit_price' as numeric) as unit_price,
        coalesce(cast(line ->> 'discount' as numeric), 0) as discount_amount,
        cast(line ->> 'amount' as numeric) as net_amount

    from unnested

)

select * from renamed
