{#- dbt's materializations on PostgreSQL, with one thing before: what is up to date by the books (books.sql)
    is kept, at the cost of one query. `--full-refresh` keeps nothing. -#}


{% materialization view, adapter='postgres' -%}
    {%- set relation = load_cached_relation(this) -%}
    {%- set is_kept = is_same_node() and relation is not none and relation.is_view -%}
    {%- if is_kept -%} {{ keep() }}
    {%- else -%} {%- do dbt.materialization_view_default() -%}
    {%- endif -%}
    {%- if is_landed(model) -%} {{ compare_landed_records() }}
    {%- elif not is_kept -%} {{ note_build() }}
    {%- endif -%}
    {{ return({'relations': [this.incorporate(type='view')]}) }}
{%- endmaterialization %}


{% materialization table, adapter='postgres' -%}
    {%- if is_kept_table() -%} {{ keep() }}
    {%- else -%} {%- do dbt.materialization_table_default() -%}
    {%- endif -%}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{%- endmaterialization %}


{% materialization seed, adapter='postgres' -%}
    {%- if is_kept_table() -%}
        {%- do store_result('agate_table', response='KEPT', agate_table=load_agate_table()) -%}
        {{ keep() }}
    {%- else -%}
        {%- do dbt.materialization_seed_default() -%}
        {{ note_build() }}
    {%- endif -%}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{%- endmaterialization %}


{% materialization snapshot, adapter='postgres' -%}
    {%- if is_kept_table() -%} {{ keep() }}
    {%- else -%}
        {%- do dbt.materialization_snapshot_default() -%}
        {{ note_build() }}
    {%- endif -%}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{%- endmaterialization %}


{#- An increment writes what differs of the keys with news: the code is the same, hence the columns are. -#}
{% materialization incremental, adapter='postgres' -%}
    {%- set relation = this.incorporate(type='table') -%}
    {%- if is_kept_table() -%} {{ keep() }}
    {%- elif not is_increment() -%} {%- do dbt.materialization_incremental_default() -%}
    {%- else -%}
        {{ run_hooks(pre_hooks) }}
        {% call statement('main') -%} {{ write_changed_rows(sql) }} {%- endcall %}
        {%- if not build_state().has_same_docs -%} {%- do persist_docs(relation, model) -%} {%- endif -%}
        {{ run_hooks(post_hooks) }}
        {%- do adapter.commit() -%}
    {%- endif -%}
    {{ return({'relations': [relation]}) }}
{%- endmaterialization %}


{#- A test that has passed is not repeated over the same rows; `dbt test` repeats all. -#}
{% materialization test, adapter='postgres' -%}
    {%- if flags.WHICH == 'build' and is_same_node() and build_state().has_no_news -%}
        {%- do store_raw_result('main', 'KEPT', 'KEPT', 0, build_state().passed) -%}
    {%- else -%}
        {%- do build_state() -%}
        {%- if config.get('meta').sorts_to_group -%} {%- do run_query(sort_to_group()) -%} {%- endif -%}
        {%- do dbt.materialization_test_default() -%}
        {%- if load_result('main').table.rows[0]['failures'] == 0 -%} {{ note_build() }} {%- endif -%}
    {%- endif -%}
    {{ return({'relations': []}) }}
{%- endmaterialization %}


{% macro is_same_node() -%}
    {{ return(
        not flags.FULL_REFRESH and build_state().has_same_code and build_state().has_same_docs
    ) }}
{%- endmacro %}

{% macro is_kept_table() -%}
    {{ return(is_same_node() and build_state().has_no_news and build_state().has_rows) }}
{%- endmacro %}

{% macro keep() -%}
    {% call noop_statement('main', 'KEPT', 'KEPT', 0) %}{% endcall %}
{%- endmacro %}
