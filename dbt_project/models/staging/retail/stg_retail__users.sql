with

source as (

    select * from {{ records('users') }}

),

renamed as (

    select

        ---------- ids
        cast(user_id as {{ text_type() }}) as customer_id,

        ---------- text
        cast(country as {{ text_type() }}) as country,

        ---------- timestamps
        cast(created_at as {{ time_type() }}) as registered_at,
        cast(recorded_at as {{ time_type() }}) as recorded_at,
        cast(updated_at as {{ time_type() }}) as updated_at,
        _airbyte_extracted_at as loaded_at

    from source

)

select * from renamed
