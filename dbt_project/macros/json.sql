{#- The elements of a JSON array with their ordinal numbers from 1; for the right side of a join. Any other value
    has no elements. -#}
{% macro array_elements(column) -%}
    {{ return(adapter.dispatch('array_elements')(column)) }}
{%- endmacro %}

{% macro postgres__array_elements(column) -%}
    lateral jsonb_array_elements(
        case when jsonb_typeof({{ column }}) = 'array' then {{ column }} else '[]' end
    ) with ordinality
{%- endmacro %}


{#- Whether a JSON value is an array. -#}
{% macro is_array(column) -%}
    {{ return(adapter.dispatch('is_array')(column)) }}
{%- endmacro %}

{% macro postgres__is_array(column) -%}
    coalesce(jsonb_typeof({{ column }}) = 'array', false)
{%- endmacro %}


{#- A member of a JSON object as text; null if it is missing. -#}
{% macro json_text(object, name) -%}
    {{ return(adapter.dispatch('json_text')(object, name)) }}
{%- endmacro %}

{% macro postgres__json_text(object, name) -%}
    {{ object }} ->> '{{ name }}'
{%- endmacro %}


{#- A member of a JSON object as a number, also if it is a text such as "12.50"; null if it is missing, no number or
    beyond 1e15, from where a double precision number is no longer exact to the penny. -#}
{% macro json_number(object, name) -%}
    {{ return(adapter.dispatch('json_number')(object, name)) }}
{%- endmacro %}

{% macro postgres__json_number(object, name) -%}
    {#- Values of other types are not between two numbers. -#}
    case
        when {{ object }} -> '{{ name }}' between '-1e15' and '1e15'
            then cast({{ object }} -> '{{ name }}' as numeric)
        when jsonb_typeof({{ object }} -> '{{ name }}') = 'string'
            then case
                when {{ object }} ->> '{{ name }}' ~ '^ *[-+]?[0-9]{1,15}([.][0-9]+)?([eE](-[0-9]{1,2}|[+]?[0-9]))? *$'
                    then cast({{ object }} ->> '{{ name }}' as numeric)
            end
    end
{%- endmacro %}


{#- A number; null if it is not finite or beyond 1e15. -#}
{% macro finite(number) -%}
    case when abs({{ number }}) <= 1e15 then {{ number }} end
{%- endmacro %}
