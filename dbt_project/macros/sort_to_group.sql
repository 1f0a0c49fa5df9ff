{#- Have PostgreSQL sort to group, for the statements of a transaction; a pre-hook of a model.

    With millions of groups, one per transaction or customer and day, a hash of them does not fit into memory
    and goes to disk in pieces, which takes up to twice the time of a sort; PostgreSQL reckons otherwise. Where
    groups are few (products, days) a hash is right. -#}
{% macro sort_to_group() -%}
    set local enable_hashagg = off
{%- endmacro %}
