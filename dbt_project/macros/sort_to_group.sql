{#- Have PostgreSQL sort to group, for the statements of a transaction: as a pre-hook of a model, or with
    `meta={'sorts_to_group': true}` of a test.

    With millions of groups, one per transaction or customer and day, a hash of them does not fit into memory
    and goes to disk in pieces, which takes up to twice the time of a sort and one core; PostgreSQL reckons
    otherwise. Where groups are few (products, days) a hash is right. -#}
{% macro sort_to_group() -%}
    set local enable_hashagg = off
{%- endmacro %}
