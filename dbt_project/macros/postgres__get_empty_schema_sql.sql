{#- The columns of a contract as an empty query. dbt's own version warns of every numeric column
    without a scale; in this project that is the rule (PostgreSQL keeps such numbers exact, and feeds
    have prices of 0.001), so the warning would hide real ones. -#}
{% macro postgres__get_empty_schema_sql(columns) %}
    select
        {% for column in columns.values() -%}
            {%- if column['data_type'] is not defined -%}
                {{ exceptions.column_type_missing(column_names=[column['name']]) }}
            {%- endif -%}
            cast(null as {{ column['data_type'] }}) as {{ column['name'] }}{{ ',' if not loop.last }}
        {% endfor %}
{% endmacro %}
