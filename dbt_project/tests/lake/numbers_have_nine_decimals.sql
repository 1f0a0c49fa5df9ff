{{ config(enabled=target.type != 'postgres') }}

{#- Lines with a number, or a cost, that number_type would round. -#}

with

transactions as (

    select * from {{ records('transactions') }}

),

items as (

    select * from {{ ref('fct_transaction_items') }}

),

costs as (

    select * from {{ ref('product_costs') }}

)

select
    transactions.transaction_id,
    item.position
from transactions
cross join {{ array_elements('transactions.items') }} as item (line, position)
where
    {% for name in ['quantity', 'unit_price', 'discount', 'amount'] -%}
    {%- set text = json_text('item.line', name) -%}
    {{ number_in(text, 'decimal(38, 22)') }}
    != cast({{ number_in(text, number_type()) }} as decimal(38, 22))
    {{ 'or' if not loop.last }}
    {% endfor %}
union all
select
    items.transaction_id,
    items.line_number
from items
inner join costs
    on items.product_id = costs.product_id
    and coalesce(items.date_day >= costs.sold_from, true)
    and coalesce(items.date_day < costs.sold_until, true)
    and coalesce(upper(trim(costs.currency)) = items.currency, true)
where items.quantity * costs.cost is distinct from items.cost_amount
