{{ config(indexes=[{'columns': ['customer_id']}]) }}

with

sales as (

    select * from {{ ref('int_transactions_counted') }}
    where transaction_type = 'sale' and customer_id is not null

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
