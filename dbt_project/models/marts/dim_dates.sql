{{ config(indexes=[{'columns': ['date_day'], 'unique': true}]) }}

with

transactions as (

    select * from {{ ref('fct_transactions') }}

),

bounds as (

    select
        {{ business_date('min(transacted_at)') }} as first_day,
        greatest({{ business_date('max(transacted_at)') }}, {{ as_of_date() }} - 1) as last_day
    from transactions

),

days as (

    select
        cast(series.date_day as date) as date_day,
        bounds.last_day
    from bounds
    cross join {{ time_series('bounds.first_day', 'bounds.last_day', 'day') }} as series (date_day)

),

final as (

    select

        ---------- ids
        date_day,

        ---------- calendar
        {{ month_start('date_day') }} as month_start_date,
        cast(extract(year from date_day) as integer) as year,
        cast(extract(quarter from date_day) as integer) as quarter,
        cast(extract(month from date_day) as integer) as month_of_year,
        cast({{ iso_year('date_day') }} as integer) as iso_year,
        cast(extract(week from date_day) as integer) as iso_week,
        cast({{ iso_weekday('date_day') }} as integer) as iso_day_of_week,

        ---------- booleans
        {{ iso_weekday('date_day') }} > 5 as is_weekend,
        {{ next_month('date_day') }} - 1 <= last_day as is_complete_month

    from days

)

select * from final
