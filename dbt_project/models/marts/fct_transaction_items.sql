{{ config(
    materialized='incremental',
    meta={'increment': {
        'key': 'transaction_id',
        'inputs': ['stg_retail__transactions'],
        'publishes': ['transaction_id', 'customer_id'],
    }},
    pre_hook="{{ find_changes() }}",
    indexes=[
        {'columns': ['transaction_id', 'line_number'], 'unique': true},
        {'columns': ['product_id']},
        {'columns': ['customer_id', 'product_id', 'transacted_at']},
    ],
) }}

-- depends_on: {{ ref('stg_retail__transactions') }}

with

items as (

    select * from {{ ref('int_transaction_items_marked') }}
    where {{ has_changed('transaction_id') }}

),

final as (

    select

        ---------- ids
        transaction_id,
        line_number,
        customer_id,
        product_id,

        ---------- text
        transaction_type,
        currency,

        ---------- numerics
        quantity,
        unit_price,
        gross_amount,
        discount_amount,
        net_amount,

        ---------- booleans
        is_excluded,
        exclusion_reason,

        ---------- timestamps
        transacted_at,
        recorded_at,
        updated_at

    from items

)

select * from final
