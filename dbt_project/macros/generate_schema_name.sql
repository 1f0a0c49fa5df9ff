{#- The schema of a model. On the pipeline's targets it is exactly the configured one (staging, intermediate,
    warehouse), as consumers, grants and asset keys rely on it. On other targets, such as `dev`, the target's
    schema is the prefix. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if target.name in ['warehouse', 'scratch', 'duckdb', 'spark'] -%} {{ (custom_schema_name or target.schema) | trim }}
    {%- else -%} {{ default__generate_schema_name(custom_schema_name, node) }}
    {%- endif -%}
{%- endmacro %}
