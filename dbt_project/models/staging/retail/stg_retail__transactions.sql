with

source as (

    select * from {{ records('transactions') }}

),

renamed as (

    select

        ---------- ids
        cast(transaction_id as {{ text_type() }}) as transaction_id,
        nullif(cast(user_id as {{ text_type() }}), '') as customer_id,

        ---------- text
        cast(type as {{ text_type() }}) as transaction_type,
        nullif(upper(trim(cast(currency as {{ text_type() }}))), '') as currency,
        cast(country as {{ text_type() }}) as country,
        cast(channel as {{ text_type() }}) as channel,
        case
            when transacted_at is null then 'no time'
            when coalesce(type, '') not in ('sale', 'return') then 'neither sale nor return'
            when not {{ is_array('items') }} then 'lines are no list'
        end as exclusion_reason,

        ---------- timestamps
        cast(transacted_at as {{ time_type() }}) as transacted_at,
        cast(recorded_at as {{ time_type() }}) as recorded_at,
        cast(updated_at as {{ time_type() }}) as updated_at,
        _airbyte_extracted_at as loaded_at

    from source

)

select * from renamed
