{{ config(
    materialized='incremental',
    meta={'increment': {
        'key': 'customer_id',
        'inputs': ['int_transactions_counted'],
        'publishes': ['customer_id'],
        'known_by': ['known_from', 'known_until'],
    }},
    pre_hook="{{ find_changes() }}",
    indexes=[{'columns': ['customer_id']}],
) }}

with

sales as (

    select * from {{ ref('int_transactions_counted') }}
    where transaction_type = 'sale' and customer_id is not null
        and {{ has_changed('customer_id') }}

),

superseded as (

    select
        customer_id,
        country,
        channel,
        known_date as known_from,
        min(known_date) over (
            partition by customer_id
            order by transacted_at, transaction_id
            rows between 1 following and unbounded following
        ) as known_until
    from sales

),

final as (

    select * from superseded
    where known_until is null or known_until > known_from

)

select * from final
