{#- The relation from which staging reads records of a kind (products, users, transactions): the landing table of
    the retail API, or, with the variable `records_of`, the model `<records_of>__<kind>`, which has the same columns
    for another source. -#}
{% macro records(kind) -%}
    {%- if var('records_of') -%}
        {{ return(ref(var('records_of') ~ '__' ~ kind)) }}
    {%- else -%}
        {{ return(source('transactional', kind)) }}
    {%- endif -%}
{%- endmacro %}
