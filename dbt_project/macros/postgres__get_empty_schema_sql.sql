{#- The columns of a contract as an empty query. dbt's own version warns about every numeric column without a
    scale. In this project no numeric column has one, because PostgreSQL stores such numbers exactly and feeds have
    prices of 0.001, so these warnings would hide others. -#}
{% macro postgres__get_empty_schema_sql(columns) %}
    select
        {% for column in columns.values() -%}
            {%- if column['data_type'] is not defined -%}
                {{ exceptions.column_type_missing(column_names=[column['name']]) }}
            {%- endif -%}
            cast(null as {{ column['data_type'] }}) as {{ column['name'] }}{{ ',' if not loop.last }}
        {% endfor %}
{% endmacro %}
