{#- Full builds in slices. PostgreSQL computes windows, and all that follows from them, in one process. What a
    function does it does not ask, so a model is built on several cores as the union of what a function
    returns for ranges of keys. That is the model's rows by the law of its increments: the rows of a key
    follow from the rows of that key in its inputs (increments.sql).

    A model asks for it in what its config says of its increments:
        'sliced_by': 'customer_day_entries'    the input whose keys are parted: the longest one

    Each input is read by its slice in place of its name, so it has an alias in the model's SQL. What is not an
    input is read whole. The SQL that dbt compiles is the whole model's. -#}


{#- The statements that create a table in slices; none of the key may be null.

    Args:
        relation: The table.
        sql: A query of the columns of the model's contract, in their order.
        bounds: The first keys of all slices but the first, as literals in ascending order. -#}
{% macro create_table_in_slices(relation, sql, bounds) -%}
    {%- set function = 'pg_temp.' ~ this.identifier ~ '__slice' -%}
    {%- set key_type = model.columns[increment().key].data_type -%}
    create function {{ function }} (first_key {{ key_type }}, end_key {{ key_type }})
    returns table (
        {%- for column in model.columns.values() %}
        {{ adapter.quote(column.name) }} {{ column.data_type }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
    language plpgsql stable parallel safe
    -- Dear enough that PostgreSQL starts processes for it; planned as one process and by its keys.
    cost 1000000
    set max_parallel_workers_per_gather = 0
    as $function$
    begin
        return query execute $query$ {{ read_slices(sql) }} $query$ using first_key, end_key;
    end
    $function$;

    -- As many processes compute as for other queries; the one that writes is beside them.
    set local parallel_leader_participation = off;
    set local max_parallel_workers_per_gather = {{ processes_of_a_query() }};
    create table {{ relation }} as (
        {% for keys in lanes(bounds) -%}
        select slice.*
        from (values {{ keys | join(', ') }}) as keys (first_key, end_key)
        cross join lateral {{ function }}(keys.first_key, keys.end_key) as slice
        {{ 'union all' if not loop.last }}
        {% endfor -%}
    );
    set local max_parallel_workers_per_gather to default;
    set local parallel_leader_participation to default;
    drop function {{ function }};
{%- endmacro %}


{#- The first keys of the slices of a full build; none where one process is all that there is, the input is
    short, or the model is not to be sliced. They are where `analyze` has found equal parts of the rows. -#}
{% macro bounds_of_slices() -%}
    {%- set input = increment().sliced_by -%}
    {%- if not execute or not input or processes_of_a_query() == 1 -%} {%- do return([]) -%} {%- endif -%}
    {%- set query -%}
        select quote_literal(parts.bound) as bound
        from (
            select
                bounds.bound,
                row_number() over (order by bounds.bound) - 1 as part,
                count(*) over () - 1 as parts,
                input.reltuples / {{ var('rows_of_a_slice') }} as slices
            from pg_stats as statistics
            inner join pg_class as input
                on input.oid = cast('{{ ref(input) }}' as regclass)
                and statistics.schemaname = cast(cast(input.relnamespace as regnamespace) as text)
                and statistics.tablename = input.relname
            cross join lateral unnest(
                cast(cast(statistics.histogram_bounds as text) as {{ model.columns[increment().key].data_type }}[])
            ) as bounds (bound)
            where statistics.attname = '{{ increment().key }}'
        ) as parts
        -- The first bound of each slice after the first; parts have no more slices than bounds.
        where floor(parts.part * least(parts.slices, parts.parts) / parts.parts)
            > floor((parts.part - 1) * least(parts.slices, parts.parts) / parts.parts)
            and parts.part between 1 and parts.parts - 1
        order by parts.bound
    {%- endset -%}
    {{ return(run_query(query).columns[0].values() | list) }}
{%- endmacro %}


{#- How many processes compute a query: the leader and its workers. -#}
{% macro processes_of_a_query() -%}
    {%- set query -%} select cast(current_setting('max_parallel_workers_per_gather') as integer) + 1 {%- endset -%}
    {{ return(run_query(query).columns[0].values()[0] | int) }}
{%- endmacro %}


{#- Lists of pairs of keys. A process takes a list and computes slice by slice; there are more lists than
    processes, so that all end at about the same time. The rows of a slice are held until the next one of
    its list is asked for, so each list ends on an empty slice. -#}
{% macro lanes(bounds) -%}
    {%- set first_keys = ['null'] + bounds -%}
    {%- set end_keys = bounds + ['null'] -%}
    {%- set lanes = [] -%}
    {%- for places in range(first_keys | length) | slice(16) if places -%}
        {%- set keys = [] -%}
        {%- for place in places -%}
            {%- do keys.append('(' ~ first_keys[place] ~ ', ' ~ end_keys[place] ~ ')') -%}
        {%- endfor -%}
        {%- do keys.append('(' ~ bounds[0] ~ ', ' ~ bounds[0] ~ ')') -%}
        {%- do lanes.append(keys) -%}
    {%- endfor -%}
    {{ return(lanes) }}
{%- endmacro %}


{#- The model's SQL over one slice of its inputs: $1 is the first key and $2 the one that ends it. -#}
{% macro read_slices(sql) -%}
    {%- set key = increment().key -%}
    {%- set read = namespace(sql=sql) -%}
    {%- for input in increment().inputs -%}
        {%- set slice -%}
            (
                select * from {{ ref(input) }}
                where ($1 is null or {{ key }} >= $1) and ($2 is null or {{ key }} < $2)
            )
        {%- endset -%}
        {%- if ref(input) | string not in sql -%}
            {{ exceptions.raise_compiler_error(input ~ ' is not read by the SQL of ' ~ this.identifier) }}
        {%- endif -%}
        {%- set read.sql = read.sql | replace(ref(input) | string, slice) -%}
    {%- endfor -%}
    {{ return(read.sql) }}
{%- endmacro %}
