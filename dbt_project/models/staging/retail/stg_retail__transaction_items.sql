with

source as (

    select * from {{ records('transactions') }}

),

elements as (

    select
        source.transaction_id,
        source.items,
        item.line,
        item.position,
        {{ json_text('item.line', 'line_number') }} is null
        or {{ json_text('item.line', 'line_number') }} = cast(item.position as text)
            as has_own_position
    from source
    cross join {{ array_elements('source.items') }} as item (line, position)

),

-- The values are on the nullable side of an outer join: PostgreSQL computes each of them once then,
-- and not once per use in this model and the next.
lines as (

    select
        elements.transaction_id,
        {{ json_text('elements.line', 'product_id') }} as product_id,
        parsed.*
    from elements
    left join lateral (  -- noqa: ST05
        select
            case
                when elements.has_own_position then elements.position
                when (
                    -- Whole numbers that fit the column, each once; else positions number lines.
                    select
                        count(distinct {{ json_number('item.line', 'line_number') }}) = count(*)
                        and bool_and(
                            {{ json_number('item.line', 'line_number') }} between 1 and 2147483647
                            and {{ json_number('item.line', 'line_number') }} % 1 = 0
                        )
                    from {{ array_elements('elements.items') }} as item (line, position)
                ) then {{ json_number('elements.line', 'line_number') }}
                else elements.position
            end as line_number,
            not elements.has_own_position and exists (
                -- Of lines with one number, the one at this position counts, else the first.
                select 1
                from {{ array_elements('elements.items') }} as item (line, position)
                where item.position != elements.position
                    and {{ json_number('item.line', 'line_number') }}
                    = {{ json_number('elements.line', 'line_number') }}
                    and (
                        item.position < elements.position
                        or {{ json_text('item.line', 'line_number') }}
                        = cast(item.position as text)
                    )
            ) as is_doubled,
            {{ json_number('elements.line', 'quantity') }} as quantity,
            {{ json_number('elements.line', 'unit_price') }} as unit_price,
            {{ json_number('elements.line', 'discount') }} as discount_amount,
            {{ json_number('elements.line', 'amount') }} as net_amount
    ) as parsed on true

),

final as (

    select

        ---------- ids
        cast(transaction_id as text) as transaction_id,
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
