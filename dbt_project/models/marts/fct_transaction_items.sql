{{ config(indexes=[
    {'columns': ['transaction_id', 'line_number'], 'unique': true},
    {'columns': ['product_id']},
    {'columns': ['customer_id', 'product_id', 'transacted_at']},
]) }}

with

transactions as (

    select * from {{ ref('stg_retail__transactions') }}
    where {{ is_before_as_of_date(['transacted_at', 'recorded_at']) }}

),

items as (

    select * from {{ ref('stg_retail__transaction_items') }}

),

non_product_codes as (

    select * from {{ ref('non_product_codes') }}
    where code_list = '{{ code_list() }}'

),

marked_items as (

    select
        items.*,
        non_product_codes.exclusion_reason
    from items
    left join non_product_codes
        on upper(items.product_id) = non_product_codes.product_code

),

final as (

    select

        ---------- ids
        transactions.transaction_id,
        items.line_number,
        transactions.customer_id,
        items.product_id,

        ---------- text
        transactions.transaction_type,
        transactions.currency,

        ---------- numerics
        items.quantity,
        items.unit_price,
        items.net_amount + items.discount_amount as gross_amount,
        items.discount_amount,
        items.net_amount,

        ---------- booleans
        items.exclusion_reason is not null as is_excluded,
        items.exclusion_reason,

        ---------- timestamps
        transactions.transacted_at,
        transactions.recorded_at,
        transactions.updated_at

    from marked_items as items
    inner join transactions on items.transaction_id = transactions.transaction_id

)

select * from final
