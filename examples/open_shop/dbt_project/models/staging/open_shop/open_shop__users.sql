{{ config(post_hook="{{ restrict_to_owner() }}") }}

{#- No time of change is served, and none is made up: a user is known from the beginning. -#}

select

    ---------- Airbyte's
    _airbyte_extracted_at,

    ---------- the retail API's columns
    cast(id as text) as user_id,
    concat_ws(' ', "firstName", "lastName") as name,
    email,
    phone,
    cast(address as text) as address,
    {{ json_text('address', 'country') }} as country,
    cast(null as timestamptz) as created_at,
    cast(null as timestamptz) as recorded_at,
    cast(null as timestamptz) as updated_at

from {{ source('open_shop', 'shop_users') }}
