{#- Where staging reads the API's records of a kind (products, users, transactions): the landing table of
    the retail API, or with the variable `records_of` the model `<records_of>__<kind>`, which gives
    another source's records the same columns. -#}
{% macro records(kind) -%}
    {%- if var('records_of') -%}
        {{ return(ref(var('records_of') ~ '__' ~ kind)) }}
    {%- else -%}
        {{ return(source('transactional', kind)) }}
    {%- endif -%}
{%- endmacro %}
