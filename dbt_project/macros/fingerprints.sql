{#- Which landed records are not what was seen last: the start of every increment (see increments.sql). A
    fingerprint is taken of a record's content: a redelivery changes nothing, a correction that keeps
    its time, a deleted row and an update by hand are noticed. It is taken before the rows are read:
    what is committed in between is built twice, never missed. -#}


{#- Bring a table of fingerprints up to date; where there are older ones, leave what differed in a
    temporary table.

    Args:
        key: The records' key.
        fingerprints: A query of (key, fingerprint), one row per record that there is now.
        memory: The table of the fingerprints that were seen last.
        changed: The temporary table of the keys that differ, are new or are gone.
        is_increment: Whether what was seen last counts. -#}
{% macro compare_fingerprints(key, fingerprints, memory, changed, is_increment) -%}
    create table if not exists {{ memory }} ({{ key }} text not null, fingerprint bigint not null);
    {% if is_increment -%}
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


{#- Find which records of a landing table are not what was seen last; the work of the staging view that
    says meta={'landed': {'key': …, 'fingerprint': …}}. -#}
{% macro compare_landed_records() -%}
    {%- set landed = model.config.meta.landed -%}
    {%- set is_known = not flags.FULL_REFRESH and build_state().has_same_code -%}
    {%- set fingerprints -%}
        select coalesce({{ landed.key }}, '') as {{ landed.key }}, {{ landed.fingerprint }} as fingerprint
        from {{ this }}
    {%- endset -%}
    {% call statement('books') -%}
        {{ lock_book() }}
        {{ compare_fingerprints(
            landed.key, fingerprints, 'increments.' ~ this.identifier, changed_keys(), is_known
        ) }}
        {% if is_known -%}
            {{ number_news('select from ' ~ changed_keys()) }}
            {{ note_changes(landed.key, changed_keys()) }}
        {%- else -%}
            {{ number_news('select') }}
            delete from increments.changes where model = '{{ this.identifier }}';
            update increments.builds set full_build = last_build where model = '{{ this.identifier }}';
        {%- endif %}
        {{ note_code() }}
    {%- endcall %}
    {%- do adapter.commit() -%}
{%- endmacro %}


{#- A number that differs when any of the values does, the same for equal values in every build. -#}
{% macro fingerprint(columns) -%}
    {{ return(adapter.dispatch('fingerprint')(columns)) }}
{%- endmacro %}

{% macro postgres__fingerprint(columns) -%}
    hash_record_extended(row({{ columns | join(', ') }}), 0)
{%- endmacro %}


{#- A product that is listed late, filed under another category or sold at another list price changes
    what its buyers bought. -#}
{% macro find_changed_products() -%}
    {%- set columns = ['known_from', 'known_until', 'product_category', 'price'] -%}
    {%- set fingerprints = fingerprints_of_versions(
        'int_product_prices', 'product_id', columns, 'known_from'
    ) -%}
    {{ compare_fingerprints(
        'product_id', fingerprints, 'increments.product_versions', 'products__changed', is_increment()
    ) }}
{%- endmacro %}

{% macro buyers_of_changed_products() -%}
    select customer_id
    from {{ ref('fct_transaction_items') }}
    where customer_id is not null
        and product_id in (select product_id from products__changed)
{%- endmacro %}


{#- The versions of each user as the snapshot has them now. -#}
{% macro fingerprints_of_customer_versions() -%}
    {%- set columns = ['country', 'registered_at', 'recorded_at', 'valid_from', 'valid_to'] -%}
    {{ fingerprints_of_versions('customer_versions', 'customer_id', columns, 'valid_from, valid_to') }}
{%- endmacro %}


{#- One fingerprint per product or customer of all versions that there are. -#}
{% macro fingerprints_of_versions(versions, key, columns, in_order) -%}
    select
        {{ key }},
        {{ fingerprint(['array_agg(' ~ fingerprint(columns) ~ ' order by ' ~ in_order ~ ')']) }}
            as fingerprint
    from {{ ref(versions) }}
    group by {{ key }}
{%- endmacro %}
