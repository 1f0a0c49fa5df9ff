{{ config(post_hook="{{ restrict_to_owner() }}") }}

with

source as (

    select * from {{ records('users') }}

),

renamed as (

    select

        ---------- ids
        cast(user_id as text) as customer_id,

        ---------- personal data
        cast(name as text) as name,
        cast(email as text) as email,
        cast(phone as text) as phone,
        cast(address as text) as address

    from source

)

select * from renamed
