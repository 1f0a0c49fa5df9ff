{#- Versions are compared by content and dated by the record's own time. So a redelivery does not make a version, the
    day of the build does not matter, and a correction with an unchanged time replaces the version that it corrects. -#}
{% snapshot product_versions %}

{{ config(
    unique_key='product_id',
    strategy='check',
    check_cols=['product_category', 'currency', 'price', 'cost', 'recorded_at'],
    updated_at='updated_at',
) }}

with

products as (

    select * from {{ ref('stg_retail__products') }}

),

final as (

    select

        ---------- ids
        product_id,

        ---------- text
        product_category,
        currency,

        ---------- numerics
        price,
        cost,

        ---------- timestamps
        recorded_at,
        {{ version_time() }} as updated_at

    from products

)

select * from final

{% endsnapshot %}
