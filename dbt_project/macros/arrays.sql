{#- The elements of an array; for the right side of a join. -#}
{% macro elements_of(array) -%}
    {{ return(adapter.dispatch('elements_of')(array)) }}
{%- endmacro %}

{% macro default__elements_of(array) -%}
    lateral unnest({{ array }})
{%- endmacro %}

{% macro spark__elements_of(array) -%}
    lateral explode({{ array }})
{%- endmacro %}


{#- An aggregate: the value of the latest row by time, a row without a time last; of equal times, that of the lowest
    id. -#}
{% macro latest(value, time, id) -%}
    {{ return(adapter.dispatch('latest')(value, time, id)) }}
{%- endmacro %}

{% macro default__latest(value, time, id) -%}
    (array_agg({{ value }} order by {{ time }} desc nulls last, {{ id }}))[1]
{%- endmacro %}

{% macro spark__latest(value, time, id) -%}
    min_by({{ value }}, struct({{ time }} is null, -unix_micros({{ time }}), {{ id }}))
{%- endmacro %}
