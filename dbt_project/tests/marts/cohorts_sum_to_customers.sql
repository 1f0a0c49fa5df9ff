{{ config(meta={'dagster': {'ref': {'name': 'cohort_retention'}}}) }}

with

cohorts as (

    select
        coalesce(sum(cohort_customers) filter (where months_since = 0), 0) as customers,
        coalesce(sum(net_amount), 0) as net_amount
    from {{ ref('cohort_retention') }}

),

customers as (

    select
        count(*) as customers,
        coalesce(sum(net_amount), 0) as net_amount
    from (
        select
            customer_id,
            sum(net_amount) as net_amount
        from {{ ref('customer_days') }}
        group by customer_id
        having bool_or(is_purchase)
    ) as buyers

)

select *
from cohorts
cross join customers
where cohorts.customers != customers.customers
    or cohorts.net_amount != customers.net_amount
