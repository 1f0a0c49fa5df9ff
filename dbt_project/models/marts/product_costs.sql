with

prices as (

    select * from {{ ref('int_product_prices') }}
    where cost is not null
        and {{ is_day_before_as_of_date('known_from') }}

),

final as (

    select

        ---------- ids
        product_id,

        ---------- text
        currency,

        ---------- numerics
        cost,

        ---------- dates
        known_from,
        case
            when row_number() over (partition by product_id order by known_from) > 1
                then known_from
        end as sold_from,
        known_until as sold_until

    from prices

)

select * from final
