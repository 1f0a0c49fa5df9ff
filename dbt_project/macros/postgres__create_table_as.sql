{#- A table by `create table … as`, which PostgreSQL may compute on several cores; dbt's own version fills
    the table of a contract by `insert`, which has one. The contract's columns are compared before, and what
    may not be null is declared behind. A model that says so is made in slices (slices.sql). -#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set has_contract = config.get('contract').enforced -%}
    {%- if has_contract %} {{ get_assert_columns_equivalent(sql) }} {% endif -%}

    {%- set rows = get_select_subquery(sql) if has_contract else sql -%}
    {%- set bounds = [] if temporary else bounds_of_slices() %}

    {% if bounds -%} {{ create_table_in_slices(relation, rows, bounds) }}
    {%- else -%}
    create {{ 'temporary ' if temporary }}table {{ relation }} as (
        {{ rows }}
    );
    {%- endif %}

    {%- if has_contract and not temporary -%}
        {%- set required = required_columns() -%}
        {%- if required %}
    alter table {{ relation }}
            {%- for column in required %}
        alter column {{ adapter.quote(column) }} set not null{{ ',' if not loop.last }}
            {%- endfor %};
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- The columns that a contract wants filled. Another constraint would be lost here, so it is refused. -#}
{% macro required_columns() -%}
    {%- set required = [] -%}
    {%- for column in model.columns.values() -%}
        {%- for constraint in column.constraints -%}
            {%- if constraint.type != 'not_null' -%}
                {{ exceptions.raise_compiler_error(
                    column.name ~ ': a constraint ' ~ constraint.type ~ ' is not built; write a data test'
                ) }}
            {%- endif -%}
            {%- do required.append(column.name) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if model.constraints -%}
        {{ exceptions.raise_compiler_error('constraints of a model are not built; write a data test') }}
    {%- endif -%}
    {{ return(required) }}
{%- endmacro %}
