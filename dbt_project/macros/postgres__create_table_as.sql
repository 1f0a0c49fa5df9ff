{#- The table of a contract by `create table ... as`, which PostgreSQL may compute on several cores; dbt's own
    version fills it by `insert`, which has one. The contract's columns are compared before, and what may not be
    null is declared behind. Any other constraint is left to dbt's own version. -#}
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


{#- The names of the model's columns that may not be null; none where it has another constraint too. -#}
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
