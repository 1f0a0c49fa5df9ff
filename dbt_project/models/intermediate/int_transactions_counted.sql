{{ config(
    pre_hook="{{ sort_to_group() }}",
    indexes=[{'columns': ['transaction_id'], 'unique': true}],
) }}

with

items as (

    select * from {{ ref('fct_transaction_items') }}
    where not is_excluded

),

transactions as (

    select * from {{ ref('fct_transactions') }}

),

items_by_transaction as (

    select
        transaction_id,
        min(line_number) as first_line_number,
        count(*) as lines,
        count(*) filter (where unit_price >= 0) as priced_lines,
        coalesce(sum(unit_price) filter (where unit_price >= 0), 0) as unit_prices,
        coalesce(sum(quantity), 0) as quantity,
        sum(net_amount) as net_amount,
        sum(net_amount - cost_amount) as margin_amount
    from items
    group by transaction_id

),

counted as (

    select

        ---------- ids
        transactions.transaction_id,
        transactions.customer_id,

        ---------- text
        transactions.transaction_type,
        transactions.currency,
        transactions.country,
        transactions.channel,

        ---------- numerics
        items_by_transaction.first_line_number,
        items_by_transaction.lines,
        items_by_transaction.priced_lines,
        items_by_transaction.unit_prices,
        items_by_transaction.quantity,
        items_by_transaction.net_amount,
        items_by_transaction.margin_amount,
        extract(hour from {{ local_time('transactions.transacted_at') }})
        + extract(minute from {{ local_time('transactions.transacted_at') }}) / 60 as hour_of_day,

        ---------- timestamps
        transactions.transacted_at,
        {{ business_date('transactions.transacted_at') }} as date_day,
        {{ known_date('transactions.transacted_at', 'transactions.recorded_at') }} as known_date

    from items_by_transaction
    inner join transactions
        on items_by_transaction.transaction_id = transactions.transaction_id

)

select * from counted
