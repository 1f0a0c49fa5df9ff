{#- Whether a JSON value is an array. -#}
{% macro is_array(column) -%}
    {{ return(adapter.dispatch('is_array')(column)) }}
{%- endmacro %}

{% macro default__is_array(column) -%}
    coalesce(ltrim({{ column }}) like '[%', false)
{%- endmacro %}

{% macro postgres__is_array(column) -%}
    coalesce(jsonb_typeof({{ column }}) = 'array', false)
{%- endmacro %}


{#- The elements of a JSON array with their ordinal numbers from 1; for the right side of a join. Any other value
    has no elements. -#}
{% macro array_elements(column) -%}
    {{ return(adapter.dispatch('array_elements')(column)) }}
{%- endmacro %}

{% macro postgres__array_elements(column) -%}
    lateral jsonb_array_elements(
        case when jsonb_typeof({{ column }}) = 'array' then {{ column }} else '[]' end
    ) with ordinality
{%- endmacro %}

{% macro duckdb__array_elements(column) -%}
    unnest(cast(case when {{ is_array(column) }} then {{ column }} else '[]' end as json[])) with ordinality
{%- endmacro %}

{#- Variants keep all digits of a number; Spark's other readers of JSON convert it to a double. -#}
{% macro spark__array_elements(column) -%}
    lateral inline(transform(
        cast(parse_json(case when {{ is_array(column) }} then {{ column }} else '[]' end) as array<variant>),
        (line, index) -> struct(line, cast(index + 1 as bigint))
    ))
{%- endmacro %}


{#- A member of a JSON object as text; null if it is missing. -#}
{% macro json_text(object, name) -%}
    {{ return(adapter.dispatch('json_text')(object, name)) }}
{%- endmacro %}

{% macro postgres__json_text(object, name) -%}
    {{ object }} ->> '{{ name }}'
{%- endmacro %}

{% macro duckdb__json_text(object, name) -%}
    json_extract_string({{ object }}, '$.{{ name }}')
{%- endmacro %}

{% macro spark__json_text(object, name) -%}
    try_variant_get({{ object }}, '$.{{ name }}', 'string')
{%- endmacro %}


{#- A member of a JSON object as a number, also if it is a text such as "12.50"; null if it is missing, no number or
    beyond 1e15, from where a double precision number is no longer exact to the penny. -#}
{% macro json_number(object, name) -%}
    {{ return(adapter.dispatch('json_number')(object, name)) }}
{%- endmacro %}

{% macro default__json_number(object, name) -%}
    {{ finite(number_in(json_text(object, name), number_type())) }}
{%- endmacro %}

{% macro postgres__json_number(object, name) -%}
    {#- Values of other types are not between two numbers. -#}
    case
        when {{ object }} -> '{{ name }}' between '-1e15' and '1e15'
            then cast({{ object }} -> '{{ name }}' as numeric)
        when jsonb_typeof({{ object }} -> '{{ name }}') = 'string'
            then case
                when {{ object }} ->> '{{ name }}' ~ '^ *[-+]?[0-9]{1,15}([.][0-9]+)?([eE](-[0-9]{1,2}|[+]?[0-9]))? *$'
                    then cast({{ object }} ->> '{{ name }}' as numeric)
            end
    end
{%- endmacro %}


{#- The number that a text is, as the given type; null if it is none. -#}
{% macro number_in(text, type) -%}
    case
        when {{ matches(text, '^ *[-+]?[0-9]{1,16}([.][0-9]+)?([eE](-[0-9]{1,2}|[+]?[0-9]{1,2}))? *$') }}
            then cast({{ text }} as {{ type }})
    end
{%- endmacro %}


{#- Whether a text matches a regular expression. -#}
{% macro matches(text, pattern) -%}
    {{ return(adapter.dispatch('matches')(text, pattern)) }}
{%- endmacro %}

{% macro default__matches(text, pattern) -%}
    regexp_like({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro duckdb__matches(text, pattern) -%}
    regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}


{#- A number; null if it is not finite or beyond 1e15. -#}
{% macro finite(number) -%}
    case when abs({{ number }}) <= 1e15 then {{ number }} end
{%- endmacro %}


{#- The lines of the transactions in the relation `source`, with their numbers and values. A line's number is its own
    if all lines of the transaction have whole numbers that fit the column, each once; else its position. -#}
{% macro parsed_lines() -%}
    {{ return(adapter.dispatch('parsed_lines')()) }}
{%- endmacro %}

{% macro default__parsed_lines() -%}
    select
        transaction_id,
        product_id,
        case
            when has_own_position or not are_numbers then position
            else line_number
        end as line_number,
        -- Of lines with one number, the one at this position counts, else the first.
        not has_own_position and line_number is not null and (is_repeated or is_claimed)
            as is_doubled,
        quantity,
        unit_price,
        discount_amount,
        net_amount
    from (
        select
            *,
            min(case
                when line_number between 1 and 2147483647 and line_number % 1 = 0 and not is_repeated
                    then 1
                else 0
            end) over (partition by transaction_id) = 1 as are_numbers
        from (
            select
                *,
                row_number() over (
                    partition by transaction_id, line_number order by position
                ) > 1 as is_repeated,
                max(case when own_number = cast(position as {{ text_type() }}) then 1 else 0 end)
                    over (partition by transaction_id, line_number) = 1 as is_claimed
            from (
                select
                    source.transaction_id,
                    item.position,
                    {{ json_text('item.line', 'line_number') }} as own_number,
                    {{ json_text('item.line', 'line_number') }} is null
                    or {{ json_text('item.line', 'line_number') }}
                    = cast(item.position as {{ text_type() }}) as has_own_position,
                    {{ json_number('item.line', 'line_number') }} as line_number,
                    {{ json_text('item.line', 'product_id') }} as product_id,
                    {{ json_number('item.line', 'quantity') }} as quantity,
                    {{ json_number('item.line', 'unit_price') }} as unit_price,
                    {{ json_number('item.line', 'discount') }} as discount_amount,
                    {{ json_number('item.line', 'amount') }} as net_amount
                from source
                cross join {{ array_elements('source.items') }} as item (line, position)
            ) as elements
        ) as marked
    ) as numbered
{%- endmacro %}

{#- The values are on the nullable side of an outer join: PostgreSQL computes each of them once then, and not once per
    use in this model and the next; numbers are compared only for lines that need it. -#}
{% macro postgres__parsed_lines() -%}
    select
        elements.transaction_id,
        {{ json_text('elements.line', 'product_id') }} as product_id,
        parsed.*
    from (
        select
            source.transaction_id,
            source.items,
            item.line,
            item.position,
            {{ json_text('item.line', 'line_number') }} is null
            or {{ json_text('item.line', 'line_number') }} = cast(item.position as text)
                as has_own_position
        from source
        cross join {{ array_elements('source.items') }} as item (line, position)
    ) as elements
    left join lateral (  -- noqa: ST05
        select
            case
                when elements.has_own_position then elements.position
                when (
                    select
                        count(distinct {{ json_number('item.line', 'line_number') }}) = count(*)
                        and bool_and(
                            {{ json_number('item.line', 'line_number') }} between 1 and 2147483647
                            and {{ json_number('item.line', 'line_number') }} % 1 = 0
                        )
                    from {{ array_elements('elements.items') }} as item (line, position)
                ) then {{ json_number('elements.line', 'line_number') }}
                else elements.position
            end as line_number,
            not elements.has_own_position and exists (
                -- Of lines with one number, the one at this position counts, else the first.
                select 1
                from {{ array_elements('elements.items') }} as item (line, position)
                where item.position != elements.position
                    and {{ json_number('item.line', 'line_number') }}
                    = {{ json_number('elements.line', 'line_number') }}
                    and (
                        item.position < elements.position
                        or {{ json_text('item.line', 'line_number') }}
                        = cast(item.position as text)
                    )
            ) as is_doubled,
            {{ json_number('elements.line', 'quantity') }} as quantity,
            {{ json_number('elements.line', 'unit_price') }} as unit_price,
            {{ json_number('elements.line', 'discount') }} as discount_amount,
            {{ json_number('elements.line', 'amount') }} as net_amount
    ) as parsed on true
{%- endmacro %}
