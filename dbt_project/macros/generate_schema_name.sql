{#- Schemas are exact (staging, intermediate, warehouse), never prefixed with the target's name:
    readers, grants and asset keys rely on them. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
