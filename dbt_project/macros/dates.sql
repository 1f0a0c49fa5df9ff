{#- The UTC day of a point in time, whatever the session's time zone. -#}
{% macro utc_date(timestamp) -%}
    {{ return(adapter.dispatch('utc_date')(timestamp)) }}
{%- endmacro %}

{% macro postgres__utc_date(timestamp) -%}
    cast(({{ timestamp }} at time zone 'UTC') as date)
{%- endmacro %}


{#- The first day of a date's month. -#}
{% macro month_start(date) -%}
    {{ return(adapter.dispatch('month_start')(date)) }}
{%- endmacro %}

{% macro default__month_start(date) -%}
    cast(date_trunc('month', cast({{ date }} as timestamp)) as date)
{%- endmacro %}


{#- The day on which a transaction became known: a line counts for as-of date D when it happened and
    was recorded before D, that is when its known day lies before D. -#}
{% macro known_date(transacted_at, recorded_at) -%}
    {{ utc_date('greatest(' ~ transacted_at ~ ', ' ~ recorded_at ~ ')') }}
{%- endmacro %}


{#- The as-of date of this build, null where none was given. The pipeline gives it by the environment: dbt
    parses the whole project anew when a variable is another one. -#}
{% macro as_of_date() -%}
    {%- set day = as_of_day() -%}
    {%- if day -%} cast('{{ day }}' as date)
    {%- else -%} cast(null as date)
    {%- endif -%}
{%- endmacro %}

{% macro as_of_day() -%}
    {{ return(var('as_of_date') or env_var('RETAIL_DBT_AS_OF_DATE', '')) }}
{%- endmacro %}


{#- The condition that keeps what is of the as-of date or later out of the marts.

    Args:
        times: Columns; the latest of them that is not null has to lie before the as-of date, 00:00 UTC. -#}
{% macro is_before_as_of_date(times) -%}
    {%- if as_of_day() and not var('with_outcomes') -%}
        coalesce(greatest({{ times | join(', ') }}) < cast('{{ as_of_day() }} 00:00:00+00' as timestamptz), true)
    {%- else -%} true
    {%- endif -%}
{%- endmacro %}


{#- Calendar months from one date's month to another's. -#}
{% macro months_between(earlier, later) -%}
    cast(
        12 * (extract(year from {{ later }}) - extract(year from {{ earlier }}))
        + extract(month from {{ later }}) - extract(month from {{ earlier }})
        as integer
    )
{%- endmacro %}


{#- A column of times from the first to the last, one every day or month; the right side of a join. -#}
{% macro time_series(first, last, unit) -%}
    {{ return(adapter.dispatch('time_series')(first, last, unit)) }}
{%- endmacro %}

{% macro postgres__time_series(first, last, unit) -%}
    lateral generate_series(
        cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 {{ unit }}'
    )
{%- endmacro %}
