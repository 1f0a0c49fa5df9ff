with

source as (

    select * from {{ records('transactions') }}

),

lines as (

    {{ parsed_lines() }}

),

final as (

    select

        ---------- ids
        cast(transaction_id as {{ text_type() }}) as transaction_id,
        cast(line_number as integer) as line_number,
        product_id,

        ---------- text
        case
            when net_amount is null then 'no readable amount'
            when is_doubled then 'line number doubled'
        end as exclusion_reason,

        ---------- numerics
        quantity,
        unit_price,
        case when net_amount is not null then coalesce(discount_amount, 0) end as discount_amount,
        net_amount

    from lines

)

select * from final
