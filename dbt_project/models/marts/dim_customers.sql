{{ config(
    pre_hook="{{ sort_to_group() }}",
    indexes=[{'columns': ['customer_id'], 'unique': true}],
) }}

with

users as (

    select * from {{ ref('stg_retail__users') }}
    where {{ is_before_as_of_date(['recorded_at']) }}

),

transactions as (

    select * from {{ ref('fct_transactions') }}
    where customer_id is not null

),

customer_days as (

    select * from {{ ref('customer_days') }}

),

buyers as (

    select
        customer_id,
        min(transacted_at) as first_transacted_at,
        max(transacted_at) as last_transacted_at,
        {{ latest('country', 'transacted_at', 'transaction_id') }} as country
    from transactions
    group by customer_id

),

lifetimes as (

    select
        customer_id,
        min(date_day) filter (where is_purchase) as first_purchase_date,
        max(date_day) filter (where is_purchase) as last_purchase_date,
        count(*) filter (where is_purchase) as purchase_days,
        sum(orders) as orders,
        sum(net_amount) as net_amount
    from customer_days
    group by customer_id

),

final as (

    select

        ---------- ids
        coalesce(users.customer_id, buyers.customer_id) as customer_id,

        ---------- text
        coalesce(users.country, buyers.country) as country,

        ---------- numerics
        cast(coalesce(lifetimes.purchase_days, 0) as integer) as purchase_days,
        cast(coalesce(lifetimes.orders, 0) as integer) as orders,
        coalesce(lifetimes.net_amount, 0) as net_amount,

        ---------- booleans
        users.customer_id is not null as is_registered,

        ---------- dates
        {{ month_start('lifetimes.first_purchase_date') }} as cohort_month,
        lifetimes.first_purchase_date,
        lifetimes.last_purchase_date,

        ---------- timestamps
        users.registered_at,
        buyers.first_transacted_at,
        buyers.last_transacted_at

    from users
    full outer join buyers on users.customer_id = buyers.customer_id
    left join lifetimes on coalesce(users.customer_id, buyers.customer_id) = lifetimes.customer_id

)

select * from final
