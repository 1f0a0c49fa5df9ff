{{ config(
    materialized='incremental',
    meta={'increment': {
        'key': 'customer_id',
        'publishes': ['customer_id'],
        'known_by': ['known_from', 'known_until'],
    }},
    pre_hook="{{ find_changed_records(fingerprints_of_customer_versions(), 'increments.customer_versions') }}",
    indexes=[{'columns': ['customer_id', 'known_from'], 'unique': true}],
) }}

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
        {{ utc_date('registered_at') }} as registered_date

    from versions
    where {{ has_changed('customer_id') }}

)

select * from final
