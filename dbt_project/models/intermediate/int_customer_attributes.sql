{{ config(indexes=[{'columns': ['customer_id', 'known_from'], 'unique': true}]) }}

with

versions as (

    {{ versions_by_day('customer_versions', 'customer_id') }}

),

final as (

    select

        ---------- ids
        customer_id,

        ---------- dates
        known_from,
        known_until,

        ---------- attributes
        country,
        {{ business_date('registered_at') }} as registered_date

    from versions

)

select * from final
