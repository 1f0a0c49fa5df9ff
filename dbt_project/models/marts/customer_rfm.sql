{{ config(indexes=[{'columns': ['customer_id'], 'unique': true}]) }}

with

features as (

    select * from {{ ref('customer_features') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

customers as (

    select
        features.customer_id,
        features.as_of_date,
        features.recency_days,
        features.purchase_days as frequency,
        features.total_net_amount as monetary
    from features
    inner join as_of_dates on features.as_of_date = as_of_dates.as_of_date
    where as_of_dates.is_current

),

scored as (

    select
        *,
        {{ quintile('recency_days desc') }} as r_score,
        {{ quintile('frequency') }} as f_score,
        {{ quintile('monetary') }} as m_score
    from customers

),

final as (

    select

        ---------- ids
        customer_id,
        as_of_date,

        ---------- numerics
        recency_days,
        frequency,
        monetary,
        r_score,
        f_score,
        m_score,

        ---------- text
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

)

select * from final
