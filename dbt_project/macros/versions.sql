{#- The time from which a record has had its values; a record without any time has always had them. -#}
{% macro version_time() -%}
    coalesce(updated_at, recorded_at, cast('1970-01-01 00:00+00' as {{ time_type() }}))
{%- endmacro %}


{#- The versions of a snapshot with the columns known_from and known_until: the version that was known at date D
    has known_from < D <= known_until. Of several versions that became known on one day, only the last is kept. -#}
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
