{#- A table of few rows: of a view the planner knows too little to join many lines with it. -#}

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
