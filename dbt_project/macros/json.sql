{#- The elements of a JSON array with their ordinal numbers from 1; for the right side of a join. -#}
{% macro array_elements(column) -%}
    {{ return(adapter.dispatch('array_elements')(column)) }}
{%- endmacro %}

{% macro postgres__array_elements(column) -%}
    lateral jsonb_array_elements({{ column }}) with ordinality
{%- endmacro %}


{#- A member of a JSON object as text; null if it is missing. -#}
{% macro json_text(object, name) -%}
    {{ return(adapter.dispatch('json_text')(object, name)) }}
{%- endmacro %}

{% macro postgres__json_text(object, name) -%}
    {{ object }} ->> '{{ name }}'
{%- endmacro %}
