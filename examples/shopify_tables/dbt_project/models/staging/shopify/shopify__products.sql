{#- A product costs as much as its cheapest variant. Shopify has costs in another stream,
    inventory_items. -#}

select

    ---------- Airbyte's
    _airbyte_extracted_at,

    ---------- the retail API's columns
    cast(id as text) as product_id,
    title as name,
    nullif(product_type, '') as category,
    cast(null as text) as currency,
    (
        select min({{ json_number('item.line', 'price') }})
        from {{ array_elements('variants') }} as item (line, position)
    ) as price,
    cast(null as numeric) as cost,
    cast(created_at as timestamptz) as recorded_at,
    cast(updated_at as timestamptz) as updated_at

from {{ source('shopify', 'products') }}
