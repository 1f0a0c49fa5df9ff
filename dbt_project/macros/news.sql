{#- Keys that an increment builds again beside those that its inputs have rewritten (see increments.sql). -#}


{#- Days that came or went with the calendar, and all of them where the currency is another one. -#}
{% macro days_to_settle() -%}
    select date_day from {{ ref('dim_dates') }}
    where date_day not in (select date_day from {{ this }})
    union
    select date_day from {{ this }}
    where date_day not in (select date_day from {{ ref('dim_dates') }})
        or currency is distinct from {{ currency_of_revenue() }}
{%- endmacro %}


{#- The one currency of all transactions, read from the first. -#}
{% macro currency_of_revenue() -%}
    (
        select first_of_all.currency
        from {{ ref('int_transactions_counted') }} as first_of_all
        order by first_of_all.date_day, first_of_all.transaction_id
        limit 1
    )
{%- endmacro %}


{#- A sale of another day may be the one that a return belongs to: all returns of its customer. -#}
{% macro returns_of_changed_customers() -%}
    select transaction_id
    from {{ ref('fct_transaction_items') }}
    where transaction_type = 'return'
        and customer_id in (
            select customers.customer_id
            from ({{ news_of('fct_transaction_items', 'customer_id') }}) as customers
        )
{%- endmacro %}
