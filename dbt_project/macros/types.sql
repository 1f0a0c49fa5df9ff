{#- The types of columns, as each database spells them. -#}
{% macro text_type() -%} {{ return(adapter.dispatch('text_type')()) }} {%- endmacro %}
{% macro default__text_type() -%} text {%- endmacro %}
{% macro spark__text_type() -%} string {%- endmacro %}

{% macro double_type() -%} {{ return(adapter.dispatch('double_type')()) }} {%- endmacro %}
{% macro default__double_type() -%} double precision {%- endmacro %}
{% macro spark__double_type() -%} double {%- endmacro %}

{#- A point in time, whatever the session's time zone. -#}
{% macro time_type() -%} {{ return(adapter.dispatch('time_type')()) }} {%- endmacro %}
{% macro default__time_type() -%} timestamptz {%- endmacro %}
{% macro spark__time_type() -%} timestamp {%- endmacro %}

{#- Money and quantities, which are added exactly. PostgreSQL's numbers have the digits that they need; elsewhere a type
    without a scale would round silently, so nine decimals are kept, and a test finds a number that needs more. -#}
{% macro number_type() -%} {{ return(adapter.dispatch('number_type')()) }} {%- endmacro %}
{% macro default__number_type() -%} decimal(38, 9) {%- endmacro %}
{% macro postgres__number_type() -%} numeric {%- endmacro %}


{#- A quotient, which has no exact decimals: PostgreSQL's numeric has sixteen digits or more of it, as a double has
    elsewhere. -#}
{% macro quotient(dividend, divisor) -%}
    {{ return(adapter.dispatch('quotient')(dividend, divisor)) }}
{%- endmacro %}

{% macro default__quotient(dividend, divisor) -%}
    cast({{ dividend }} as {{ double_type() }}) / {{ divisor }}
{%- endmacro %}

{% macro postgres__quotient(dividend, divisor) -%}
    {{ dividend }} / {{ divisor }}
{%- endmacro %}


{#- The whole number nearest to a double. -#}
{% macro nearest_integer(number) -%}
    {{ return(adapter.dispatch('nearest_integer')(number)) }}
{%- endmacro %}

{% macro default__nearest_integer(number) -%}
    cast({{ number }} as bigint)
{%- endmacro %}

{% macro spark__nearest_integer(number) -%}
    cast(rint({{ number }}) as bigint)
{%- endmacro %}
