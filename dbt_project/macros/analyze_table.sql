{#- Fresh statistics for the models that read the table next: of a new table, and of one in which as large
    a share of the rows has changed as PostgreSQL itself would wait for. A row that an increment deletes and
    writes again has changed once. -#}
{% macro analyze_table() -%}
    {%- if model.config.materialized != 'view' -%}
do $$
declare
    table_id oid := '{{ this }}'::regclass;
    rows_analyzed float8 := (select reltuples from pg_class where oid = table_id);
    rows_changed float8 := pg_stat_get_mod_since_analyze(table_id)
        + greatest(
            pg_stat_get_xact_tuples_inserted(table_id), pg_stat_get_xact_tuples_deleted(table_id)
        );
begin
    if rows_analyzed < 0
        or rows_changed > rows_analyzed * current_setting('autovacuum_analyze_scale_factor')::float8
    then
        analyze {{ this }};
    end if;
end
$$
    {%- endif -%}
{%- endmacro %}
