{{ config(indexes=[
    {'columns': ['customer_id', 'date_day', 'known_date'], 'unique': true},
    {'columns': ['date_day', 'customer_id']},
]) }}

with

transactions as (

    select * from {{ ref('int_transactions_counted') }}
    where customer_id is not null

),

final as (

    select

        ---------- ids
        customer_id,
        date_day,
        known_date,

        ---------- money
        sum(net_amount) as net_amount,
        coalesce(sum(net_amount) filter (where transaction_type = 'sale'), 0) as sales_amount,
        coalesce(-sum(net_amount) filter (where transaction_type = 'return'), 0) as returns_amount,

        ---------- counts
        cast(count(*) filter (where transaction_type = 'sale') as integer) as orders,
        cast(count(*) filter (where transaction_type = 'return') as integer) as return_orders,
        cast(coalesce(sum(lines) filter (where transaction_type = 'sale'), 0) as integer) as lines,
        coalesce(sum(quantity) filter (where transaction_type = 'sale'), 0) as quantity,
        cast(coalesce(sum(priced_lines) filter (where transaction_type = 'sale'), 0) as integer)
            as priced_lines,
        coalesce(sum(unit_prices) filter (where transaction_type = 'sale'), 0) as unit_prices,
        coalesce(sum(hour_of_day) filter (where transaction_type = 'sale'), 0) as order_hours

    from transactions
    group by customer_id, date_day, known_date

)

select * from final
