{#- Versions are compared by content and dated by the record's own time; see product_versions. -#}
{% snapshot customer_versions %}

{{ config(
    unique_key='customer_id',
    strategy='check',
    check_cols=['country', 'registered_at', 'recorded_at'],
    updated_at='updated_at',
) }}

with

users as (

    select * from {{ ref('stg_retail__users') }}

),

final as (

    select

        ---------- ids
        customer_id,

        ---------- text
        country,

        ---------- timestamps
        registered_at,
        recorded_at,
        {{ version_time() }} as updated_at

    from users

)

select * from final

{% endsnapshot %}
