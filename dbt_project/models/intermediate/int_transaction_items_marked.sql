{{ config(materialized='view') }}

with

items as (

    select * from {{ ref('stg_retail__transaction_items') }}

),

transactions as (

    select * from {{ ref('stg_retail__transactions') }}

),

non_product_codes as (

    select * from {{ ref('non_product_codes') }}

),

marked as (

    select
        items.transaction_id,
        items.line_number,
        transactions.customer_id,
        items.product_id,
        transactions.transaction_type,
        transactions.currency,
        transactions.transacted_at,
        transactions.recorded_at,
        transactions.updated_at,
        items.quantity,
        items.unit_price,
        items.net_amount + items.discount_amount as gross_amount,
        items.discount_amount,
        items.net_amount,
        case
            when upper(items.product_id) like 'TEST%' then 'test record'
            else non_product_codes.exclusion_reason
        end as exclusion_reason
    from items
    inner join transactions on items.transaction_id = transactions.transaction_id
    left join non_product_codes on upper(items.product_id) = non_product_codes.product_code

),

final as (

    select
        *,
        exclusion_reason is not null as is_excluded
    from marked

)

select * from final
