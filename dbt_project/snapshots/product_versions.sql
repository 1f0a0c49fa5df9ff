{#- Compared by content, dated by the record's own time: neither a redelivery nor the day of a build
    makes a version, and a correction that keeps its time replaces what it corrects. -#}
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
        coalesce(updated_at, recorded_at) as updated_at

    from products
    where coalesce(updated_at, recorded_at) is not null

)

select * from final

{% endsnapshot %}
