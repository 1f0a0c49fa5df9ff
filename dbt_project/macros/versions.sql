{#- The versions of a snapshot by the day on which they became known, of one day the last: the columns of
    the snapshot with known_from and known_until, so that known_from < D <= known_until holds for the one
    that was known at D. -#}
{% macro versions_by_day(snapshot, key) -%}
    with

    versions as (

        select
            *,
            {{ known_date('valid_from', 'recorded_at') }} as known_from
        from {{ ref(snapshot) }}

    ),

    ranked as (

        select
            *,
            row_number() over (
                partition by {{ key }}, known_from
                order by valid_from desc, valid_to desc nulls first
            ) as rank_of_day
        from versions

    )

    select
        *,
        lead(known_from) over (partition by {{ key }} order by known_from) as known_until
    from ranked
    where rank_of_day = 1
{%- endmacro %}
