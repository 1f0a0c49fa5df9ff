{#- A table, although it has few rows: without statistics, the planner would join it badly. -#}

with

versions as (

    {{ versions_by_day('product_versions', 'product_id') }}

),

final as (

    select

        ---------- ids
        product_id,

        ---------- dates
        known_from,
        known_until,

        ---------- attributes
        product_category,
        currency,
        price,
        cost

    from versions

)

select * from final
