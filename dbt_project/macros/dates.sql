{#- The shop's time zone, in which days and months begin and as-of dates are meant. -#}
{% macro time_zone() -%}
    {{ return(var('time_zone') or env_var('RETAIL_DBT_TIME_ZONE', 'UTC')) }}
{%- endmacro %}


{#- The local time of a timestamp in the shop's time zone. -#}
{% macro local_time(timestamp) -%}
    {{ return(adapter.dispatch('local_time')(timestamp)) }}
{%- endmacro %}

{% macro default__local_time(timestamp) -%}
    ({{ timestamp }} at time zone '{{ time_zone() }}')
{%- endmacro %}

{% macro spark__local_time(timestamp) -%}
    from_utc_timestamp({{ timestamp }}, '{{ time_zone() }}')
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
    {%- set latest = 'greatest(' ~ times | join(', ') ~ ')' if times | length > 1 else times[0] -%}
    {{ is_day_before_as_of_date(business_date(latest)) }}
{%- endmacro %}

{#- The same condition of a day. -#}
{% macro is_day_before_as_of_date(day) -%}
    {%- if as_of_day() and not var('with_outcomes') -%}
        coalesce({{ day }} < {{ as_of_date() }}, true)
    {%- else -%} true
    {%- endif -%}
{%- endmacro %}


{#- The number of days from one date to another. -#}
{% macro days_between(earlier, later) -%}
    {{ return(adapter.dispatch('days_between')(earlier, later)) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    {{ later }} - {{ earlier }}
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}


{#- The day of the week of a date, 1 (Monday) to 7, and the year to which its ISO week belongs. -#}
{% macro iso_weekday(date) -%}
    {{ return(adapter.dispatch('iso_weekday')(date)) }}
{%- endmacro %}

{% macro default__iso_weekday(date) -%}
    extract(isodow from {{ date }})
{%- endmacro %}

{% macro spark__iso_weekday(date) -%}
    extract(dayofweek_iso from {{ date }})
{%- endmacro %}

{% macro iso_year(date) -%}
    {{ return(adapter.dispatch('iso_year')(date)) }}
{%- endmacro %}

{% macro default__iso_year(date) -%}
    extract(isoyear from {{ date }})
{%- endmacro %}

{% macro spark__iso_year(date) -%}
    extract(yearofweek from {{ date }})
{%- endmacro %}


{#- The number of calendar months from the month of one date to that of another. -#}
{% macro months_between(earlier, later) -%}
    cast(
        12 * (extract(year from {{ later }}) - extract(year from {{ earlier }}))
        + extract(month from {{ later }}) - extract(month from {{ earlier }})
        as integer
    )
{%- endmacro %}


{#- A series of times from the first date to the last, one per day or month; for the right side of a join. -#}
{% macro time_series(first, last, unit) -%}
    {{ return(adapter.dispatch('time_series')(first, last, unit)) }}
{%- endmacro %}

{% macro postgres__time_series(first, last, unit) -%}
    lateral generate_series(
        cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 {{ unit }}'
    )
{%- endmacro %}

{% macro duckdb__time_series(first, last, unit) -%}
    unnest(generate_series(
        cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 {{ unit }}'
    ))
{%- endmacro %}

{#- A sequence that would end before it begins is an error in Spark. -#}
{% macro spark__time_series(first, last, unit) -%}
    lateral explode(
        case when {{ first }} <= {{ last }} then sequence({{ first }}, {{ last }}, interval '1 {{ unit }}') end
    )
{%- endmacro %}


{#- The month starts of the relation `months` at which a purchase at least 90 days earlier was known; read from
    `entries` and `versions`, both customer_day_entries. -#}
{% macro months_with_history() -%}
    {{ return(adapter.dispatch('months_with_history')()) }}
{%- endmacro %}

{#- Each version of a day with a purchase gives the months from its own to the last one in which it was known; of
    versions with one first month, the longest is enough. -#}
{% macro default__months_with_history() -%}
    select months.as_of_date
    from months
    where
        exists (
            select 1
            from (
                select
                    {{ next_month('greatest(date_day + 90, known_date + 1) - 1') }} as first_month,
                    max(coalesce(known_until, cast('9999-12-31' as date))) as known_until
                from (
                    select
                        date_day,
                        known_date,
                        lead(known_date) over customer_day as known_until,
                        sum(net_amount) over customer_day as net_amount
                    from entries
                    window customer_day as (partition by customer_id, date_day order by known_date)
                ) as versions
                where net_amount > 0
                group by 1
            ) as purchases
            where months.as_of_date between purchases.first_month and purchases.known_until
        )
{%- endmacro %}

{#- It stops at the first such purchase, and finds the versions of its day by an index. -#}
{% macro postgres__months_with_history() -%}
    select months.as_of_date
    from months
    where
        exists (
            select 1
            from entries
            where entries.date_day <= months.as_of_date - 90
                and entries.known_date < months.as_of_date
                and (
                    select sum(versions.net_amount)
                    from versions
                    where versions.customer_id = entries.customer_id
                        and versions.date_day = entries.date_day
                        and versions.known_date < months.as_of_date
                ) > 0
        )
{%- endmacro %}
