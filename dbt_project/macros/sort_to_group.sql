{#- A pre-hook: make PostgreSQL group by sorting instead of hashing in the model's transaction.

    With millions of groups, such as transactions or customer-days, a hash table does not fit into memory and is
    written to disk in parts, which takes up to twice as long as a sort; PostgreSQL's planner does not expect that.
    For models with few groups (products, days) hashing is faster. -#}
{% macro sort_to_group() -%} {{ return(adapter.dispatch('sort_to_group')()) }} {%- endmacro %}

{% macro default__sort_to_group() -%} {%- endmacro %}

{% macro postgres__sort_to_group() -%}
    set local enable_hashagg = off
{%- endmacro %}
