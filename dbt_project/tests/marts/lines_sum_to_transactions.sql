{{ config(meta={'dagster': {'ref': {'name': 'fct_transactions'}}}) }}

with

items_by_transaction as (

    select
        transaction_id,
        sum(net_amount) as net_amount,
        sum(discount_amount) as discount_amount,
        count(*) as line_count
    from {{ ref('fct_transaction_items') }}
    group by transaction_id

),

transactions as (

    select * from {{ ref('fct_transactions') }}

)

select
    transaction_id,
    items_by_transaction.net_amount as net_amount_of_lines,
    transactions.net_amount as net_amount_of_transaction
from transactions
full outer join items_by_transaction using (transaction_id)
where coalesce(items_by_transaction.net_amount, 0) is distinct from transactions.net_amount
    or coalesce(items_by_transaction.discount_amount, 0)
    is distinct from transactions.discount_amount
    or coalesce(items_by_transaction.line_count, 0) is distinct from transactions.line_count
