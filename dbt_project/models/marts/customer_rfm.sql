{{ config(indexes=[{'columns': ['customer_id'], 'unique': true}]) }}

with

features as (

    select * from {{ ref('customer_features') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

compared_dates as (

    select
        max(as_of_date) as as_of_date,
        coalesce(
            max(case when not is_current and extract(day from as_of_date) = 1 then as_of_date end),
            max(as_of_date)
        ) as previous_as_of_date
    from as_of_dates

),

customers as (

    select
        features.customer_id,
        features.as_of_date,
        features.recency_days,
        features.purchase_days as frequency,
        features.total_net_amount as monetary,
        compared_dates.previous_as_of_date,
        features.as_of_date = compared_dates.as_of_date as is_current
    from features
    inner join compared_dates
        on features.as_of_date in (compared_dates.as_of_date, compared_dates.previous_as_of_date)

),

scored as (

    select
        *,
        {{ quintile('recency_days desc', 'as_of_date') }} as r_score,
        {{ quintile('frequency', 'as_of_date') }} as f_score,
        {{ quintile('monetary', 'as_of_date') }} as m_score
    from customers

),

named as (

    select
        *,
        case
            when r_score = 5 and f_score >= 4 then 'Champions'
            when r_score >= 3 and f_score >= 4 then 'Loyal customers'
            when r_score <= 2 and f_score = 5 then 'Cannot lose them'
            when r_score <= 2 and f_score >= 3 then 'At risk'
            when r_score <= 2 then 'Hibernating'
            when r_score = 3 and f_score = 3 then 'Need attention'
            when r_score = 3 then 'About to sleep'
            when f_score >= 2 then 'Potential loyalists'
            when r_score = 5 then 'New customers'
            else 'Promising'
        end as rfm_segment
    from scored

),

final as (

    select

        ---------- ids
        named.customer_id,
        named.as_of_date,

        ---------- numerics
        named.recency_days,
        named.frequency,
        named.monetary,
        named.r_score,
        named.f_score,
        named.m_score,

        ---------- text
        named.rfm_segment,
        previous.rfm_segment as previous_rfm_segment,

        ---------- dates
        named.previous_as_of_date

    from named
    left join named as previous
        on named.customer_id = previous.customer_id
        and named.previous_as_of_date = previous.as_of_date
    where named.is_current

)

select * from final
