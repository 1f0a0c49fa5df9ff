{{ config(materialized='view') }}

with

versions as (

    select
        *,
        {{ known_date('valid_from', 'recorded_at') }} as known_from
    from {{ ref('customer_versions') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by customer_id, known_from
            order by valid_from desc, valid_to desc nulls first
        ) as rank_of_day
    from versions

),

final as (

    select

        ---------- ids
        customer_id,

        ---------- dates
        known_from,
        lead(known_from) over (partition by customer_id order by known_from) as known_until,

        ---------- attributes
        country,
        {{ utc_date('registered_at') }} as registered_date

    from ranked
    where rank_of_day = 1

)

select * from final
