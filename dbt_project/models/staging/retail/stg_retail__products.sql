with

source as (

    select * from {{ records('products') }}

),

renamed as (

    select

        ---------- ids
        cast(product_id as {{ text_type() }}) as product_id,

        ---------- text
        cast(name as {{ text_type() }}) as product_name,
        cast(category as {{ text_type() }}) as product_category,
        cast(currency as {{ text_type() }}) as currency,

        ---------- numerics
        {{ finite('cast(price as ' ~ number_type() ~ ')') }} as price,
        {{ finite('cast(cost as ' ~ number_type() ~ ')') }} as cost,

        ---------- timestamps
        cast(recorded_at as {{ time_type() }}) as recorded_at,
        cast(updated_at as {{ time_type() }}) as updated_at,
        _airbyte_extracted_at as loaded_at

    from source

)

select * from renamed
