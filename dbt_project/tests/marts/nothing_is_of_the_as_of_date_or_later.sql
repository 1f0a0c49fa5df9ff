{{ config(meta={'dagster': {'ref': {'name': 'revenue_daily'}}}) }}

{%- set latest_days = {
    'fct_transactions': business_date('greatest(transacted_at, recorded_at)'),
    'fct_transaction_items': business_date('greatest(transacted_at, recorded_at)'),
    'fct_returned_items': business_date('returned_at'),
    'dim_dates': 'date_day',
    'revenue_daily': 'date_day',
    'sales_daily': 'date_day',
    'product_daily': 'date_day',
    'customer_months': 'month_start',
    'customer_day_entries': 'known_date',
    'cohort_retention': 'cohort_month',
} %}

{% for mart, latest_day in latest_days.items() -%}
select
    '{{ mart }}' as mart,
    max({{ latest_day }}) as latest_day
from {{ ref(mart) }}
having max({{ latest_day }}) >= {{ as_of_date() }} and not {{ var('with_outcomes') }}
{{ 'union all' if not loop.last }}
{% endfor %}
