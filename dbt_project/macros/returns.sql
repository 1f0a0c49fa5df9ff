{#- The rows of the relation `returned_items`, each with the latest earlier sale in `sold_items` of the product to the
    customer that is large enough, if any. -#}
{% macro latest_sales_of_returns() -%}
    {{ return(adapter.dispatch('latest_sales_of_returns')()) }}
{%- endmacro %}

{% macro default__latest_sales_of_returns() -%}
    select
        returned_items.*,
        sales.sale_transaction_id,
        sales.sale_line_number,
        sales.sold_at,
        sales.sold_at_unit_amount
    from returned_items
    left join (
        select
            returned_items.transaction_id,
            returned_items.line_number,
            sold_items.transaction_id as sale_transaction_id,
            sold_items.line_number as sale_line_number,
            sold_items.transacted_at as sold_at,
            {{ quotient('sold_items.net_amount', 'sold_items.quantity') }} as sold_at_unit_amount,
            row_number() over (
                partition by returned_items.transaction_id, returned_items.line_number
                order by
                    sold_items.transacted_at desc,
                    sold_items.transaction_id desc,
                    sold_items.line_number desc
            ) as rank_of_sale
        from returned_items
        inner join sold_items on {{ is_returned_sale() }}
    ) as sales
        on returned_items.transaction_id = sales.transaction_id
        and returned_items.line_number = sales.line_number
        and sales.rank_of_sale = 1
{%- endmacro %}

{#- Each return reads its customer's sales by an index, the latest first. -#}
{% macro postgres__latest_sales_of_returns() -%}
    select
        returned_items.*,
        sales.transaction_id as sale_transaction_id,
        sales.line_number as sale_line_number,
        sales.transacted_at as sold_at,
        {{ quotient('sales.net_amount', 'sales.quantity') }} as sold_at_unit_amount
    from returned_items
    left join lateral (
        select *
        from sold_items
        where {{ is_returned_sale() }}
        order by
            sold_items.transacted_at desc,
            sold_items.transaction_id desc,
            sold_items.line_number desc
        limit 1
    ) as sales on true
{%- endmacro %}

{% macro is_returned_sale() -%}
    sold_items.customer_id = returned_items.customer_id
            and sold_items.product_id = returned_items.product_id
            and sold_items.transacted_at <= returned_items.transacted_at
            and sold_items.quantity >= coalesce(-returned_items.quantity, 0)
            and sold_items.net_amount >= -returned_items.net_amount
{%- endmacro %}
