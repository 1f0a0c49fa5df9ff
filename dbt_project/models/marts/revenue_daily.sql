{{ config(indexes=[{'columns': ['date_day'], 'unique': true}]) }}

with

dates as (

    select * from {{ ref('dim_dates') }}

),

transactions as (

    select * from {{ ref('int_transactions_counted') }}

),

currencies as (

    -- There is only one currency, as money_is_in_one_currency stops the build otherwise.
    select min(currency) as currency
    from transactions

),

transactions_by_day as (

    select
        date_day,
        sum(net_amount) filter (where transaction_type = 'sale') as sales_amount,
        -sum(net_amount) filter (where transaction_type = 'return') as returns_amount,
        count(*) filter (where transaction_type = 'sale') as orders,
        count(*) filter (where transaction_type = 'return') as return_orders,
        count(distinct customer_id) filter (where transaction_type = 'sale') as customers
    from transactions
    group by date_day

),

final as (

    select

        ---------- ids
        dates.date_day,

        ---------- money
        coalesce(transactions_by_day.sales_amount, 0) as sales_amount,
        coalesce(transactions_by_day.returns_amount, 0) as returns_amount,
        coalesce(transactions_by_day.sales_amount, 0)
        - coalesce(transactions_by_day.returns_amount, 0) as net_amount,

        ---------- counts
        cast(coalesce(transactions_by_day.orders, 0) as integer) as orders,
        cast(coalesce(transactions_by_day.return_orders, 0) as integer) as return_orders,
        cast(coalesce(transactions_by_day.customers, 0) as integer) as customers,

        ---------- text
        currencies.currency,

        ---------- calendar
        dates.is_complete_month

    from dates
    cross join currencies
    left join transactions_by_day on dates.date_day = transactions_by_day.date_day

)

select * from final
