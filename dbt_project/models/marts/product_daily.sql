{{ config(
    pre_hook="{{ sort_to_group() }}",
    indexes=[{'columns': ['date_day', 'product_id'], 'unique': true}],
) }}

with

items as (

    select * from {{ ref('fct_transaction_items') }}
    where not is_excluded and product_id is not null

),

dates as (

    select * from {{ ref('dim_dates') }}

),

sums as (

    select
        items.date_day,
        items.product_id,
        -- It also keeps PostgreSQL from aggregating so many groups in two steps, which is slower.
        count(distinct items.transaction_id) filter (where items.transaction_type = 'sale')
            as orders,
        {{ line_sums() }}
    from items
    group by 1, 2

),

final as (

    select

        ---------- ids
        sums.date_day,
        sums.product_id,

        ---------- counts
        cast(sums.orders as integer) as orders,
        sums.lines,
        sums.quantity,
        sums.returned_quantity,

        ---------- money
        sums.gross_amount,
        sums.discount_amount,
        sums.sales_amount,
        sums.returns_amount,
        sums.net_amount,
        sums.costed_net_amount,
        sums.margin_amount,

        ---------- calendar
        dates.is_complete_month

    from sums
    inner join dates on sums.date_day = dates.date_day

)

select * from final
