{#- What incremental models are built from: queries of a key and its fingerprint (see increments.sql). -#}


{#- The landed transactions as they are now. -#}
{% macro fingerprints_of_records() -%}
    select transaction_id, record_hash as fingerprint from {{ ref('stg_retail__transactions') }}
{%- endmacro %}


{#- What another model was built from: where that is all that a model reads, it is the same for it.
    Taken from what was built, not from the landing table: the model before may not be up to date. -#}
{% macro fingerprints_of(model_name) -%}
    {%- do ref(model_name) -%}
    select * from {{ inputs_of(model_name) }}
{%- endmacro %}


{#- The customers by the transactions that count for them. -#}
{% macro customers_of_transactions() -%}
    select
        transactions.customer_id,
        sum(records.fingerprint) as fingerprint
    from {{ ref('int_transactions_counted') }} as transactions
    inner join {{ inputs_of('int_transactions_counted') }} as records
        on transactions.transaction_id = records.transaction_id
    where transactions.customer_id is not null
    group by transactions.customer_id
{%- endmacro %}


{#- A product that is listed late, or filed under another category, changes what its buyers bought:
    a second table of fingerprints, and the customers that it concerns. -#}
{% macro find_changed_products() -%}
    {%- set inputs -%}
        select
            product_id,
            {{ fingerprint(['product_category', 'recorded_at']) }} as fingerprint
        from {{ ref('stg_retail__products') }}
    {%- endset -%}
    {{ compare_fingerprints('product_id', inputs, inputs_of('products'), 'products__changed') }}
{%- endmacro %}

{% macro buyers_of_changed_products() -%}
    select distinct customer_id
    from {{ ref('fct_transaction_items') }}
    where customer_id is not null
        and product_id in (select product_id from products__changed)
{%- endmacro %}


{#- The customers by all that their features are computed from. -#}
{% macro customers_of_features() -%}
    select
        customer_id,
        sum(fingerprint) as fingerprint
    from (
        {% for model_name, columns in {
            'customer_day_entries': [
                'date_day', 'known_date', 'net_amount', 'sales_amount', 'returns_amount', 'orders',
                'return_orders', 'lines', 'quantity', 'priced_lines', 'unit_prices', 'order_hours'
            ],
            'int_customer_contexts': ['known_from', 'known_until', 'country', 'channel'],
            'int_customer_assortments': [
                'known_from', 'known_until', 'distinct_products', 'distinct_categories'
            ],
        }.items() -%}
        select
            customer_id,
            {{ fingerprint(["cast('" ~ model_name ~ "' as text)"] + columns) }} as fingerprint
        from {{ ref(model_name) }}
        {{ 'union all' if not loop.last }}
        {% endfor %}
    ) as inputs
    group by customer_id
{%- endmacro %}
