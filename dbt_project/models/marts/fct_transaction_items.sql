{{ config(indexes=[
    {'columns': ['transaction_id', 'line_number'], 'unique': true},
    {'columns': ['product_id']},
    {'columns': ['customer_id', 'product_id', 'transacted_at']},
]) }}

{#- A line of a sale with a negative amount takes money off the other lines. -#}
{%- set is_voucher = "transactions.transaction_type = 'sale' and items.net_amount < 0
                and items.discount_amount = 0 and coalesce(items.quantity, 0) >= 0" -%}

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

costs as (

    select * from {{ ref('product_costs') }}

),

marked_items as (

    select
        items.*,
        coalesce(items.exclusion_reason, non_product_codes.exclusion_reason)
            as line_exclusion_reason
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
        case
            when {{ is_voucher }} then 0
            else items.net_amount + items.discount_amount
        end as gross_amount,
        case
            when {{ is_voucher }} then -items.net_amount
            else items.discount_amount
        end as discount_amount,
        items.net_amount,
        cast(items.quantity * costs.cost as {{ number_type() }}) as cost_amount,

        ---------- booleans
        coalesce(transactions.exclusion_reason, items.line_exclusion_reason) is not null
            as is_excluded,
        coalesce(transactions.exclusion_reason, items.line_exclusion_reason) as exclusion_reason,

        ---------- dates
        {{ business_date('transactions.transacted_at') }} as date_day,
        {{ known_date('transactions.transacted_at', 'transactions.recorded_at') }} as known_date,

        ---------- timestamps
        transactions.transacted_at,
        transactions.recorded_at,
        transactions.updated_at

    from marked_items as items
    inner join transactions on items.transaction_id = transactions.transaction_id
    left join costs
        on items.product_id = costs.product_id
        and coalesce({{ business_date('transactions.transacted_at') }} >= costs.sold_from, true)
        and coalesce({{ business_date('transactions.transacted_at') }} < costs.sold_until, true)
        and coalesce(upper(trim(costs.currency)) = transactions.currency, true)

)

select * from final
