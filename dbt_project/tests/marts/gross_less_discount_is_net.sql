{{ config(meta={'dagster': {'ref': {'name': 'fct_transactions'}}}) }}

with

landed as (

    select coalesce(sum(net_amount), 0) as amount
    from {{ ref('stg_retail__transaction_items') }}
    where transaction_id in (
            select transaction_id
            from {{ ref('stg_retail__transactions') }}
            where {{ is_before_as_of_date(['transacted_at', 'recorded_at']) }}
        )

),

transactions as (

    select
        coalesce(sum(gross_amount - discount_amount), 0) as amount,
        count(*) filter (where gross_amount - discount_amount is distinct from net_amount)
            as transactions_that_differ
    from {{ ref('fct_transactions') }}

)

select
    landed.amount as landed_amount,
    transactions.amount as gross_less_discount,
    transactions.transactions_that_differ
from landed
cross join transactions
where landed.amount != transactions.amount
    or transactions.transactions_that_differ > 0
