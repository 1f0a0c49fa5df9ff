{#- Increments by arrival. An incremental model has a key (a transaction, a customer). Beside it, in
    the schema `intermediate`, lies <model>__inputs: per key the fingerprint of what the key's rows
    were built from. A build compares it with the fingerprints of now, deletes the rows of every key
    that differs, is new or is gone, and the model's SQL inserts these keys again: all in the
    transaction of the model. Nothing is asked of clocks, cursors or the order of arrival.

    A fingerprint is taken before the rows are read: what is committed in between is built twice,
    never missed. A build that was killed has changed neither the rows nor the fingerprints. -#}


{#- Find what has changed and delete it; the pre-hook of an incremental model.

    Args:
        key: The column whose rows are replaced together.
        inputs: A query of (key, fingerprint), one row per key that the model has now.
        also: A query of further keys to build again, or none. -#}
{% macro find_changes(key, inputs, also=none) -%}
    {{ compare_fingerprints(key, inputs, inputs_of(this.identifier), changed_keys()) }}
    {% if is_increment() -%}
        {% if also -%}
            insert into {{ changed_keys() }} ({{ key }}) {{ also }};
        {%- endif %}
        analyze {{ changed_keys() }};
        delete from {{ this }} using {{ changed_keys() }} as changed
        where {{ this.identifier }}.{{ key }} = changed.{{ key }};
    {%- endif %}
{%- endmacro %}


{#- Bring a table of fingerprints up to date; an increment leaves what differed in a temporary one. -#}
{% macro compare_fingerprints(key, inputs, memory, changed) -%}
    create table if not exists {{ memory }} ({{ key }} text not null, fingerprint numeric not null);
    {% if is_increment() -%}
        -- Somebody has emptied the model: everything is to be built again.
        delete from {{ memory }} where not exists (select from {{ this }});
        create temporary table {{ changed }} on commit drop as
        select
            {{ key }},
            inputs.fingerprint
        from ({{ inputs }}) as inputs
        full outer join {{ memory }} as memory using ({{ key }})
        where inputs.fingerprint is distinct from memory.fingerprint;
        analyze {{ changed }};
        delete from {{ memory }} as memory using {{ changed }} as changed
        where memory.{{ key }} = changed.{{ key }};
        insert into {{ memory }}
        select * from {{ changed }} where fingerprint is not null;
    {%- else -%}
        truncate {{ memory }};
        insert into {{ memory }} {{ inputs }};
    {%- endif %}
    analyze {{ memory }};
{%- endmacro %}


{#- The keys that an increment builds again; a temporary table of the model's transaction. -#}
{% macro changed_keys() -%}
    {{ this.identifier }}__changed
{%- endmacro %}


{#- The condition that limits an increment to what has changed; true in a full build. The columns of
    temporary tables are named with their table: no schema tells the column lineage of them. -#}
{% macro has_changed(column) -%}
    {%- if is_increment() -%}
        {{ column }} in (select changed.{{ column }} from {{ changed_keys() }} as changed)
    {%- else -%} true
    {%- endif -%}
{%- endmacro %}


{#- Whether rows of this build join those of earlier ones; never in a unit test, which has no table. -#}
{% macro is_increment() -%}
    {{ return(this is not none and is_incremental()) }}
{%- endmacro %}


{#- The table of fingerprints that a model was built from. -#}
{% macro inputs_of(model_name) -%}
    {{ target.database }}.intermediate.{{ model_name }}__inputs
{%- endmacro %}


{#- A number that differs when any of the values does, the same for equal values in every build. -#}
{% macro fingerprint(columns) -%}
    {{ return(adapter.dispatch('fingerprint')(columns)) }}
{%- endmacro %}

{% macro postgres__fingerprint(columns) -%}
    hash_record_extended(row({{ columns | join(', ') }}), 0)
{%- endmacro %}


{#- Whether a model is built anew: asked for, or its code is not the code that it was built by. dbt
    asks this macro before each incremental build. -#}
{% macro should_full_refresh() -%}
    {%- set asked = config.get('full_refresh') -%}
    {%- if asked is none -%} {%- set asked = flags.FULL_REFRESH -%} {%- endif -%}
    {%- if asked or not execute or model.config.materialized != 'incremental' -%}
        {%- do return(asked) -%}
    {%- endif -%}
    {%- set built_by -%}
        select obj_description(to_regclass('{{ inputs_of(this.identifier) }}'), 'pg_class')
    {%- endset -%}
    {%- set description = run_query(built_by).columns[0].values()[0] or '' -%}
    {%- do return(not description.endswith(code_version())) -%}
{%- endmacro %}


{#- Note the code that an incremental model was built by; a post-hook, since dbt asks for a full refresh
    once more after the rows are there, before it creates the indexes. -#}
{% macro note_code() -%}
    {%- if model.config.materialized == 'incremental' -%}
        comment on table {{ inputs_of(this.identifier) }} is
        'What the rows of {{ this.identifier }} were built from; code {{ code_version() }}'
    {%- endif -%}
{%- endmacro %}


{#- A digest of all code that a model's rows depend on: its own, that of the models and seeds before
    it, and the project's macros. -#}
{% macro code_version() -%}
    {%- set seen = [] -%}
    {%- set code = [] -%}
    {%- do collect_code(model.unique_id, seen, code) -%}
    {%- for name, macro in context[project_name].items() | sort(attribute='0') -%}
        {%- do code.append(macro.macro.macro_sql) -%}
    {%- endfor -%}
    {%- do return(local_md5(code | join('\n'))) -%}
{%- endmacro %}

{% macro collect_code(unique_id, seen, code) -%}
    {%- if unique_id in graph.nodes and unique_id not in seen -%}
        {%- set node = graph.nodes[unique_id] -%}
        {%- do seen.append(unique_id) -%}
        {%- do code.append(node.checksum.checksum if node.resource_type == 'seed' else node.raw_code) -%}
        {%- for parent in node.depends_on.nodes | default([]) | sort -%}
            {%- do collect_code(parent, seen, code) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
