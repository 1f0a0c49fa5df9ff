{{ config(
    pre_hook="{{ sort_to_group() }}",
    indexes=[
        {'columns': ['customer_id', 'date_day'], 'unique': true},
        {'columns': ['date_day']},
    ],
) }}

with

entries as (

    select * from {{ ref('customer_day_entries') }}

),

final as (

    select

        ---------- ids
        customer_id,
        date_day,

        ---------- money
        sum(net_amount) as net_amount,
        sum(sales_amount) as sales_amount,
        sum(returns_amount) as returns_amount,

        ---------- counts
        cast(sum(orders) as integer) as orders,
        cast(sum(return_orders) as integer) as return_orders,
        cast(sum(lines) as integer) as lines,
        sum(quantity) as quantity,

        ---------- booleans
        sum(net_amount) > 0 as is_purchase

    from entries
    group by customer_id, date_day

)

select * from final
