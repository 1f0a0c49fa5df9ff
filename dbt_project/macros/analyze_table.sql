{#- Update the table's statistics for the models that read it next, as they start before PostgreSQL's
    autovacuum has analyzed it. -#}
{% macro analyze_table() -%} {{ return(adapter.dispatch('analyze_table')()) }} {%- endmacro %}

{% macro default__analyze_table() -%} {%- endmacro %}

{% macro postgres__analyze_table() -%}
    {%- if model.config.materialized != 'view' %} analyze {{ this }} {%- endif -%}
{%- endmacro %}
