{#- The sums over lines that count, of the relation `items` of fct_transaction_items; described in docs.md. All
    can be added over any rows. -#}
{% macro line_sums() -%}
    cast(count(*) filter (where items.transaction_type = 'sale') as integer) as lines,
        coalesce(sum(items.quantity) filter (where items.transaction_type = 'sale'), 0)
            as quantity,
        coalesce(-sum(items.quantity) filter (where items.transaction_type = 'return'), 0)
            as returned_quantity,
        coalesce(sum(items.gross_amount) filter (where items.transaction_type = 'sale'), 0)
            as gross_amount,
        coalesce(sum(items.discount_amount) filter (where items.transaction_type = 'sale'), 0)
            as discount_amount,
        coalesce(sum(items.net_amount) filter (where items.transaction_type = 'sale'), 0)
            as sales_amount,
        coalesce(-sum(items.net_amount) filter (where items.transaction_type = 'return'), 0)
            as returns_amount,
        sum(items.net_amount) as net_amount,
        coalesce(sum(items.net_amount) filter (where items.cost_amount is not null), 0)
            as costed_net_amount,
        sum(items.net_amount - items.cost_amount) as margin_amount
{%- endmacro %}
