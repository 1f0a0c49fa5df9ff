{#- Which landed records are not what was seen last: the start of every increment (see increments.sql). A
    fingerprint is taken of a record's content: a redelivery changes nothing, a correction that keeps
    its time, a deleted row and an update by hand are noticed. It is taken before the rows are read:
    what is committed in between is built twice, never missed. -#}


{#- Bring a table of fingerprints up to date; an increment leaves what differed in a temporary one.

    Args:
        key: The records' key.
        fingerprints: A query of (key, fingerprint), one row per record that there is now.
        memory: The table of the fingerprints that were seen last.
        changed: The temporary table of the keys that differ, are new or are gone. -#}
{% macro compare_fingerprints(key, fingerprints, memory, changed) -%}
    create table if not exists {{ memory }} ({{ key }} text not null, fingerprint bigint not null);
    {% if is_increment() -%}
        -- Somebody has emptied the model: everything is to be built again.
        delete from {{ memory }} where not exists (select from {{ this }});
        create temporary table {{ changed }} on commit drop as
        select
            coalesce(records.{{ key }}, memory.{{ key }}) as {{ key }},
            records.fingerprint
        from ({{ fingerprints }}) as records
        full outer join {{ memory }} as memory on records.{{ key }} = memory.{{ key }}
        where records.fingerprint is distinct from memory.fingerprint;
        analyze {{ changed }};
        delete from {{ memory }} as memory using {{ changed }} as changed
        where memory.{{ key }} = changed.{{ key }};
        insert into {{ memory }}
        select * from {{ changed }} where fingerprint is not null;
    {%- else -%}
        truncate {{ memory }};
        insert into {{ memory }} {{ fingerprints }};
        analyze {{ memory }};
    {%- endif %}
{%- endmacro %}


{#- A number that differs when any of the values does, the same for equal values in every build. -#}
{% macro fingerprint(columns) -%}
    {{ return(adapter.dispatch('fingerprint')(columns)) }}
{%- endmacro %}

{% macro postgres__fingerprint(columns) -%}
    hash_record_extended(row({{ columns | join(', ') }}), 0)
{%- endmacro %}


{#- The landed transactions as they are now. -#}
{% macro fingerprints_of_transactions() -%}
    select transaction_id, record_hash as fingerprint from {{ ref('stg_retail__transactions') }}
{%- endmacro %}


{#- A product that is listed late, or filed under another category, changes what its buyers bought. -#}
{% macro find_changed_products() -%}
    {%- set fingerprints -%}
        select
            product_id,
            {{ fingerprint(['product_category', 'recorded_at']) }} as fingerprint
        from {{ ref('stg_retail__products') }}
    {%- endset -%}
    {{ compare_fingerprints('product_id', fingerprints, 'increments.products', 'products__changed') }}
{%- endmacro %}

{% macro buyers_of_changed_products() -%}
    select customer_id
    from {{ ref('fct_transaction_items') }}
    where customer_id is not null
        and product_id in (select product_id from products__changed)
{%- endmacro %}


{#- A user who registers late or moves changes one customer. -#}
{% macro find_changed_users() -%}
    {%- set fingerprints -%}
        select
            customer_id,
            {{ fingerprint(['country', 'registered_at']) }} as fingerprint
        from {{ ref('stg_retail__users') }}
    {%- endset -%}
    {{ compare_fingerprints('customer_id', fingerprints, 'increments.users', 'users__changed') }}
{%- endmacro %}

{% macro changed_users() -%}
    select customer_id from users__changed
{%- endmacro %}
