{#- The month firsts from 90 days after the first purchase on, as that purchase was known on each of
    them: a record of a later day must not add an as-of date in the past. -#}

with

entries as (

    select * from {{ ref('customer_day_entries') }}

),

-- The same once more: PostgreSQL looks entries of one customer and day up by their index.
versions as (

    select * from {{ ref('customer_day_entries') }}

),

clock as (

    select
        min(date_day) as first_day,
        coalesce({{ as_of_date() }}, max(known_date) + 1) as as_of_date
    from entries

),

{% if var('as_of_dates') %}
{%- if execute and target.name == 'warehouse' -%}
    {{ exceptions.raise_compiler_error(
        'as_of_dates would take dates away that the pipeline needs: build with --target dev'
    ) }}
{%- endif %}

as_of_dates as (

    select cast(value as date) as as_of_date
    from unnest(array['{{ var("as_of_dates") | join("', '") }}']) as wanted (value)

),

{% else %}

months as (

    select cast(month_start as date) as as_of_date
    from clock
    cross join
        {{ time_series(month_start('clock.first_day + 90'), 'clock.as_of_date', 'month') }}
            as series (month_start)

),

months_with_history as (

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

),

as_of_dates as (

    select as_of_date from months_with_history
    union
    select as_of_date from clock
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
