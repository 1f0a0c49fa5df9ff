{{ config(post_hook="{{ restrict_to_owner() }}") }}

with

source as (

    select * from {{ records('users') }}

),

renamed as (

    select

        ---------- ids
        cast(user_id as {{ text_type() }}) as customer_id,

        ---------- personal data
        cast(name as {{ text_type() }}) as name,
        cast(email as {{ text_type() }}) as email,
        cast(phone as {{ text_type() }}) as phone,
        cast(address as {{ text_type() }}) as address

    from source

)

select * from renamed
