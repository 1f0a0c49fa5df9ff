{{ config(indexes=[{
    'columns': ['date_day', 'country', 'channel', 'product_category'],
    'unique': true,
}]) }}

with

items as (

    select * from {{ ref('fct_transaction_items') }}
    where not is_excluded

),

transactions as (

    select * from {{ ref('int_transactions_counted') }}

),

products as (

    select * from {{ ref('dim_products') }}

),

dates as (

    select * from {{ ref('dim_dates') }}

),

marked_items as (

    select
        items.*,
        coalesce(transactions.country, 'unknown') as country,
        coalesce(transactions.channel, 'unknown') as channel,
        coalesce(products.product_category, 'unknown') as product_category,
        items.line_number = transactions.first_line_number as is_first
    from items
    inner join transactions on items.transaction_id = transactions.transaction_id
    left join products on items.product_id = products.product_id

),

sums as (

    select
        items.date_day,
        items.country,
        items.channel,
        items.product_category,
        count(*) filter (where items.is_first and items.transaction_type = 'sale') as orders,
        count(*) filter (where items.is_first and items.transaction_type = 'return')
            as return_orders,
        count(distinct items.transaction_id) filter (where items.transaction_type = 'sale')
            as orders_with_category,
        {{ line_sums() }}
    from marked_items as items
    group by 1, 2, 3, 4

),

final as (

    select

        ---------- ids
        sums.date_day,
        sums.country,
        sums.channel,
        sums.product_category,

        ---------- counts
        cast(sums.orders as integer) as orders,
        cast(sums.return_orders as integer) as return_orders,
        cast(sums.orders_with_category as integer) as orders_with_category,
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
