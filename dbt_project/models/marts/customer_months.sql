{{ config(
    pre_hook="{{ sort_to_group() }}",
    indexes=[{'columns': ['customer_id', 'month_start'], 'unique': true}],
) }}

{#- All steps are in the order of customer and time, so the transactions are sorted once. -#}

with

transactions as (

    select * from {{ ref('int_transactions_counted') }}
    where customer_id is not null

),

complete_months as (

    select distinct month_start_date as month_start
    from {{ ref('dim_dates') }}
    where is_complete_month

),

days as (

    select
        customer_id,
        date_day,
        count(*) filter (where transaction_type = 'sale') as orders,
        sum(net_amount) as net_amount,
        sum(margin_amount) as margin_amount
    from transactions
    group by customer_id, date_day

),

days_of_buyers as (

    select
        *,
        min(date_day) filter (where net_amount > 0) over (partition by customer_id)
            as first_purchase_date
    from days

),

months as (

    select
        customer_id,
        -- Amounts before the first purchase are counted in its month.
        greatest({{ month_start('date_day') }}, {{ month_start('first_purchase_date') }})
            as month_start,
        {{ month_start('min(first_purchase_date)') }} as cohort_month,
        bool_or(net_amount > 0) as has_purchase,
        sum(orders) as orders,
        sum(net_amount) as net_amount,
        sum(margin_amount) as margin_amount
    from days_of_buyers
    where first_purchase_date is not null
    group by 1, 2

),

cumulated as (

    select
        *,
        {{ next_month('month_start') }} as next_month,
        coalesce(
            lag(has_purchase) over customer
            and {{ next_month('lag(month_start) over customer') }} = month_start,
            false
        ) as follows_purchase,
        coalesce(lead(month_start) over customer = {{ next_month('month_start') }}, false)
            as has_next_month,
        sum(net_amount) over customer as cumulative_net_amount,
        sum(margin_amount) over customer as cumulative_margin_amount
    from months
    window customer as (partition by customer_id order by month_start)

),

-- A second row after a purchase: the next month, once it is over, if it has no row of its own.
timeline as (

    select
        cumulated.*,
        lapses.is_added,
        case
            when lapses.is_added then cumulated.next_month
            else cumulated.month_start
        end as month_of_row
    from cumulated
    inner join (values (false), (true)) as lapses (is_added)
        on not lapses.is_added
        or (
            cumulated.has_purchase
            and not cumulated.has_next_month
            and cumulated.next_month in (select month_start from complete_months)
        )

),

final as (

    select

        ---------- ids
        timeline.customer_id,
        timeline.month_of_row as month_start,

        ---------- text
        case
            when timeline.is_added then 'lapsed'
            when timeline.month_start = timeline.cohort_month then 'new'
            when timeline.has_purchase and timeline.follows_purchase then 'retained'
            when timeline.has_purchase then 'reactivated'
            when timeline.follows_purchase and complete_months.month_start is not null then 'lapsed'
            else 'inactive'
        end as month_status,

        ---------- numerics
        {{ months_between('timeline.cohort_month', 'timeline.month_of_row') }} as months_since,
        cast(case when timeline.is_added then 0 else timeline.orders end as integer) as orders,
        case when timeline.is_added then 0 else timeline.net_amount end as net_amount,
        case when not timeline.is_added then timeline.margin_amount end as margin_amount,
        timeline.cumulative_net_amount,
        timeline.cumulative_margin_amount,

        ---------- calendar
        timeline.cohort_month,
        complete_months.month_start is not null as is_complete_month

    from timeline
    left join complete_months on timeline.month_of_row = complete_months.month_start

)

select * from final
