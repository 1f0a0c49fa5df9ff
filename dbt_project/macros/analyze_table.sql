{#- Fresh statistics for the models that read the table next: they are read before PostgreSQL's autovacuum comes
    to it. -#}
{% macro analyze_table() -%}
    {%- if model.config.materialized != 'view' %} analyze {{ this }} {%- endif -%}
{%- endmacro %}
