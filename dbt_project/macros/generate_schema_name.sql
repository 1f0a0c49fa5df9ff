{#- Exact schemas (staging, intermediate, warehouse) for the pipeline, whose readers, grants and asset keys rely on
    them; of any other target, such as `dev`, prefixed with the target's schema. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if target.name in ['warehouse', 'scratch'] -%} {{ (custom_schema_name or target.schema) | trim }}
    {%- else -%} {{ default__generate_schema_name(custom_schema_name, node) }}
    {%- endif -%}
{%- endmacro %}
