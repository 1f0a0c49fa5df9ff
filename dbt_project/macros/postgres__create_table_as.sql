{#- Create the table of a model with a contract by `create table ... as`, which PostgreSQL can compute on several
    cores; dbt's own version uses `insert`, which runs on one. The columns are compared with the contract first, and
    `not null` is set afterwards. For models with other constraints dbt's own version is used. -#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set required = columns_not_null() -%}
    {%- if temporary or required is none or not config.get('contract').enforced -%}
        {{ return(dbt.postgres__create_table_as(temporary, relation, sql)) }}
    {%- endif -%}
    {{ get_assert_columns_equivalent(sql) }}
    create table {{ relation }} as (
        {{ get_select_subquery(sql) }}
    );
    {%- if required %}
    alter table {{ relation }}
        {%- for column in required %}
        alter column {{ adapter.quote(column) }} set not null{{ ',' if not loop.last }}
        {%- endfor %};
    {%- endif -%}
{%- endmacro %}


{#- The names of the model's columns with a `not null` constraint; none if it has any other constraint. -#}
{% macro columns_not_null() -%}
    {%- set required = [] -%}
    {%- for column in model.columns.values() -%}
        {%- for constraint in column.constraints -%}
            {%- if constraint.type != 'not_null' -%} {%- do return(none) -%} {%- endif -%}
            {%- do required.append(column.name) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(none if model.constraints else required) }}
{%- endmacro %}
