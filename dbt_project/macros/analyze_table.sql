{#- Fresh statistics for the models that read the table next; a view has none. -#}
{% macro analyze_table() -%}
    {%- if model.config.materialized != 'view' -%} analyze {{ this }} {%- endif -%}
{%- endmacro %}
