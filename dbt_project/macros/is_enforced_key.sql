{#- Whether the database enforces that the key is unique and not null. -#}
{% macro is_enforced_key(relation, columns) -%}
    {{ return(adapter.dispatch('is_enforced_key')(relation, columns)) }}
{%- endmacro %}

{% macro default__is_enforced_key(relation, columns) -%} false {%- endmacro %}

{% macro postgres__is_enforced_key(relation, columns) -%}
    exists (
        select from pg_index
        where pg_index.indrelid = to_regclass('{{ relation }}')
            and pg_index.indisunique
            and pg_index.indisvalid
            and pg_index.indpred is null
            and (
                select array_agg(cast(attname as text) order by attname)
                from pg_attribute
                where attrelid = pg_index.indrelid
                    and attnum = any(pg_index.indkey)
                    and attnotnull
            ) = array['{{ columns | sort | join("', '") }}']
            and pg_index.indnkeyatts = {{ columns | length }}
    )
{%- endmacro %}
