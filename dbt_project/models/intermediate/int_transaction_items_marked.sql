{#- One plain query, as in staging: an increment asks for a few transactions of it. -#}

{%- set exclusion_reason -%}
    case
        when upper(items.product_id) like 'TEST%' then 'test record'
        else non_product_codes.exclusion_reason
    end
{%- endset -%}

{{ config(materialized='view') }}

select

    ---------- ids
    items.transaction_id,
    items.line_number,
    transactions.customer_id,
    items.product_id,

    ---------- text
    transactions.transaction_type,
    transactions.currency,

    ---------- timestamps
    transactions.transacted_at,
    transactions.recorded_at,
    transactions.updated_at,

    ---------- numerics
    items.quantity,
    items.unit_price,
    items.net_amount + items.discount_amount as gross_amount,
    items.discount_amount,
    items.net_amount,

    ---------- booleans
    {{ exclusion_reason }} is not null as is_excluded,
    {{ exclusion_reason }} as exclusion_reason

from {{ ref('stg_retail__transaction_items') }} as items
inner join {{ ref('stg_retail__transactions') }} as transactions
    on items.transaction_id = transactions.transaction_id
left join {{ ref('non_product_codes') }} as non_product_codes
    on upper(items.product_id) = non_product_codes.product_code
