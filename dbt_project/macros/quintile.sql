{#- A score from 1 (lowest) to 5 (highest) by rank; equal values get equal scores, so that a refit
    never moves a customer whose numbers stay. -#}
{% macro quintile(order_by, partition_by) -%}
    cast(least(5, 1 + floor(5 * percent_rank() over (
        partition by {{ partition_by }} order by {{ order_by }}
    ))) as integer)
{%- endmacro %}
