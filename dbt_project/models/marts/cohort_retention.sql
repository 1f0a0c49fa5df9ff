{{ config(
    pre_hook="{{ sort_to_group() }}",
    indexes=[{'columns': ['cohort_month', 'months_since'], 'unique': true}],
) }}

with

customer_months as (

    select
        customer_id,
        {{ month_start('date_day') }} as month_start,
        bool_or(is_purchase) as has_purchase,
        sum(net_amount) as net_amount
    from {{ ref('customer_days') }}
    group by 1, 2

),

cohorts as (

    select
        customer_id,
        min(month_start) as cohort_month
    from customer_months
    where has_purchase
    group by customer_id

),

cohort_sizes as (

    select
        cohort_month,
        count(*) as cohort_customers
    from cohorts
    group by cohort_month

),

last_month as (

    select max(month_start) as month_start
    from customer_months

),

cohort_months as (

    select
        cohort_sizes.cohort_month,
        cohort_sizes.cohort_customers,
        cast(months.month_start as date) as month_start
    from cohort_sizes
    cross join last_month
    cross join {{ time_series('cohort_sizes.cohort_month', 'last_month.month_start', 'month') }}
        as months (month_start)

),

activity as (

    select
        cohorts.cohort_month,
        greatest({{ months_between('cohorts.cohort_month', 'customer_months.month_start') }}, 0)
            as months_since,
        count(*) filter (where customer_months.has_purchase) as active_customers,
        sum(customer_months.net_amount) as net_amount
    from customer_months
    inner join cohorts on customer_months.customer_id = cohorts.customer_id
    group by 1, 2

),

complete_months as (

    select distinct month_start_date as month_start
    from {{ ref('dim_dates') }}
    where is_complete_month

),

months as (

    select
        *,
        {{ months_between('cohort_month', 'month_start') }} as months_since
    from cohort_months

),

final as (

    select

        ---------- ids
        months.cohort_month,
        months.months_since,

        ---------- numerics
        cast(months.cohort_customers as integer) as cohort_customers,
        cast(coalesce(activity.active_customers, 0) as integer) as active_customers,
        coalesce(activity.active_customers, 0)
        / cast(months.cohort_customers as {{ double_type() }}) as retention_rate,
        coalesce(activity.net_amount, 0) as net_amount,

        ---------- calendar
        months.month_start,
        complete_months.month_start is not null as is_complete_month

    from months
    left join activity
        on months.cohort_month = activity.cohort_month
        and months.months_since = activity.months_since
    left join complete_months on months.month_start = complete_months.month_start

)

select * from final
