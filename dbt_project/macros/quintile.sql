{#- A score from 1 (lowest) to 5 (highest) by rank. Equal values get equal scores, so the score does not depend on
    the order of the rows. -#}
{% macro quintile(order_by, partition_by) -%}
    cast(least(5, 1 + floor(5 * percent_rank() over (
        partition by {{ partition_by }} order by {{ order_by }}
    ))) as integer)
{%- endmacro %}
