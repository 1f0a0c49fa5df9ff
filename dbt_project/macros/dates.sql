{#- The shop's time zone, in which days and months begin and as-of dates are meant. -#}
{% macro time_zone() -%}
    {{ return(var('time_zone') or env_var('RETAIL_DBT_TIME_ZONE', 'UTC')) }}
{%- endmacro %}


{#- The local time of a timestamp in the shop's time zone. -#}
{% macro local_time(timestamp) -%}
    {{ return(adapter.dispatch('local_time')(timestamp)) }}
{%- endmacro %}

{% macro postgres__local_time(timestamp) -%}
    ({{ timestamp }} at time zone '{{ time_zone() }}')
{%- endmacro %}


{#- The day of a timestamp in the shop's time zone, in any time zone of the session. -#}
{% macro business_date(timestamp) -%}
    cast({{ local_time(timestamp) }} as date)
{%- endmacro %}


{#- The first day of a date's month. -#}
{% macro month_start(date) -%}
    {{ return(adapter.dispatch('month_start')(date)) }}
{%- endmacro %}

{% macro default__month_start(date) -%}
    cast(date_trunc('month', cast({{ date }} as timestamp)) as date)
{%- endmacro %}


{#- The first day of the month after a date's. -#}
{% macro next_month(date) -%}
    cast({{ month_start(date) }} + interval '1 month' as date)
{%- endmacro %}


{#- The day on which a transaction became known: the later of the days on which it happened and was recorded.
    A line counts for as-of date D if this day is before D. -#}
{% macro known_date(transacted_at, recorded_at) -%}
    {{ business_date('greatest(' ~ transacted_at ~ ', ' ~ recorded_at ~ ')') }}
{%- endmacro %}


{#- The as-of date of this build, or null. The pipeline sets it by an environment variable, because dbt parses
    the whole project again if a dbt variable has changed. -#}
{% macro as_of_date() -%}
    {%- set day = as_of_day() -%}
    {%- if day -%} cast('{{ day }}' as date)
    {%- else -%} cast(null as date)
    {%- endif -%}
{%- endmacro %}

{% macro as_of_day() -%}
    {{ return(var('as_of_date') or env_var('RETAIL_DBT_AS_OF_DATE', '')) }}
{%- endmacro %}


{#- The condition of rows of the marts: they are before the as-of date.

    Args:
        times: Columns of times; the day of the latest one that is not null must be before the as-of date. Days are
            compared, so that this rule and known_date are one where clocks change at midnight. -#}
{% macro is_before_as_of_date(times) -%}
    {%- if as_of_day() and not var('with_outcomes') -%}
        coalesce({{ business_date('greatest(' ~ times | join(', ') ~ ')') }} < {{ as_of_date() }}, true)
    {%- else -%} true
    {%- endif -%}
{%- endmacro %}


{#- The number of calendar months from the month of one date to that of another. -#}
{% macro months_between(earlier, later) -%}
    cast(
        12 * (extract(year from {{ later }}) - extract(year from {{ earlier }}))
        + extract(month from {{ later }}) - extract(month from {{ earlier }})
        as integer
    )
{%- endmacro %}


{#- A series of times from the first to the last, one per day or month; for the right side of a join. -#}
{% macro time_series(first, last, unit) -%}
    {{ return(adapter.dispatch('time_series')(first, last, unit)) }}
{%- endmacro %}

{% macro postgres__time_series(first, last, unit) -%}
    lateral generate_series(
        cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 {{ unit }}'
    )
{%- endmacro %}
