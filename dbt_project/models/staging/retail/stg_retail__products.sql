with

source as (

    select * from {{ records('products') }}

),

renamed as (

    select

        ---------- ids
        cast(product_id as text) as product_id,

        ---------- text
        cast(name as text) as product_name,
        cast(category as text) as product_category,
        cast(currency as text) as currency,

        ---------- numerics
        {{ finite('cast(price as numeric)') }} as price,
        {{ finite('cast(cost as numeric)') }} as cost,

        ---------- timestamps
        cast(recorded_at as timestamptz) as recorded_at,
        cast(updated_at as timestamptz) as updated_at,
        _airbyte_extracted_at as loaded_at

    from source

)

select * from renamed
