{#- A month start is an as-of date if a purchase at least 90 days earlier was known on that day: a
    record that becomes known later must not add an as-of date in the past. -#}

with

entries as (

    select * from {{ ref('customer_day_entries') }}

),

-- A second reference to the table, for which PostgreSQL can use the index on customer and day.
versions as (

    select * from {{ ref('customer_day_entries') }}

),

bounds as (

    select
        min(date_day) as first_day,
        coalesce({{ as_of_date() }}, max(known_date) + 1) as as_of_date
    from entries

),

{% if var('as_of_dates') %}
{%- if execute and target.name == 'warehouse' -%}
    {{ exceptions.raise_compiler_error(
        'as_of_dates would remove dates that the pipeline needs: build with --target dev'
    ) }}
{%- endif %}

as_of_dates as (

    {% for date in var('as_of_dates') -%}
    select cast('{{ date }}' as date) as as_of_date
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

{% else %}

months as (

    select cast(month_start as date) as as_of_date
    from bounds
    cross join
        {{ time_series(month_start('bounds.first_day + 90'), 'bounds.as_of_date', 'month') }}
            as series (month_start)

),

months_with_history as (

    {{ months_with_history() }}

),

as_of_dates as (

    select as_of_date from months_with_history
    union
    select as_of_date from bounds
    where as_of_date is not null

),

{% endif %}

final as (

    select
        as_of_date,
        as_of_date = max(as_of_date) over () as is_current
    from as_of_dates

)

select * from final
