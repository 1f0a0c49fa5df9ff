{{ config(meta={'dagster': {'ref': {'name': 'customer_months'}}}) }}

with

months as (

    select
        month_start,
        count(*) filter (where month_status in ('new', 'retained', 'reactivated')) as customers,
        count(*) filter (where month_status in ('retained', 'lapsed')) as customers_before
    from {{ ref('customer_months') }}
    where is_complete_month
    group by month_start

),

later_months as (

    select distinct month_start_date as month_start
    from {{ ref('dim_dates') }}
    where is_complete_month

)

select
    later_months.month_start,
    months.customers_before,
    coalesce(earlier.customers, 0) as customers_of_the_month_before
from later_months
left join months on later_months.month_start = months.month_start
left join months as earlier on later_months.month_start = {{ next_month('earlier.month_start') }}
where coalesce(months.customers_before, 0) != coalesce(earlier.customers, 0)
