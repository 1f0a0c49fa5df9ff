{#- No time of change is served, and none is made up: a product is known from the beginning, with
    the price that it has now. -#}

select

    ---------- Airbyte's
    _airbyte_extracted_at,

    ---------- the retail API's columns
    cast(id as text) as product_id,
    title as name,
    category,
    cast(null as text) as currency,
    price,
    cast(null as numeric) as cost,
    cast(null as timestamptz) as recorded_at,
    cast(null as timestamptz) as updated_at

from {{ source('open_shop', 'shop_products') }}
