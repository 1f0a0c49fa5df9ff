with

source as (

    select * from {{ records('users') }}

),

renamed as (

    select

        ---------- ids
        cast(user_id as text) as customer_id,

        ---------- text
        cast(country as text) as country,

        ---------- timestamps
        cast(created_at as timestamptz) as registered_at,
        cast(recorded_at as timestamptz) as recorded_at,
        cast(updated_at as timestamptz) as updated_at,
        _airbyte_extracted_at as loaded_at

    from source

)

select * from renamed
