{{ config(post_hook="{{ restrict_to_owner() }}") }}

select

    ---------- Airbyte's
    _airbyte_extracted_at,

    ---------- the retail API's columns
    cast(id as text) as user_id,
    concat_ws(' ', first_name, last_name) as name,
    email,
    phone,
    cast(default_address as text) as address,
    {{ json_text('default_address', 'country') }} as country,
    cast(created_at as timestamptz) as created_at,
    cast(created_at as timestamptz) as recorded_at,
    cast(updated_at as timestamptz) as updated_at

from {{ source('shopify', 'customers') }}
