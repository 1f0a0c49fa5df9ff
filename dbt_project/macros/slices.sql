{#- Full builds in slices. PostgreSQL computes windows, and all that follows from them, in one process,
    but it does not look into functions. So a model is built on several cores as the union of what a function
    returns for ranges of keys. That is the model's rows by the law of its increments (increments.sql): the
    rows of a key follow from the rows of that key in its inputs.

    A model asks for it in what its config says of its increments:
        'sliced_by': 'customer_day_entries'    the longest input, whose keys are parted into slices

    In place of its name each input is read by its slice, so it has an alias in the model's SQL. What is no
    input is read whole. What dbt compiles is the whole model. -#}


{#- The statements that create a table in slices.

    Args:
        relation: The table.
        sql: A query of the columns of the model's contract, in their order.
        bounds: The first keys of all slices but the first, as literals in ascending order. -#}
{% macro create_table_in_slices(relation, sql, bounds) -%}
    {%- set function = 'pg_temp.' ~ this.identifier ~ '__slice' -%}
    {%- set key_type = model.columns[increment().key].data_type -%}
    create function {{ function }}(first_key {{ key_type }}, end_key {{ key_type }})
    returns table (
        {%- for column in model.columns.values() %}
        {{ adapter.quote(column.name) }} {{ column.data_type }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
    language plpgsql stable parallel safe
    -- So dear that PostgreSQL starts processes for it; each slice is planned for its keys, and for one process.
    cost 1000000
    set max_parallel_workers_per_gather = 0
    as $function$
    begin
        return query execute $query$ {{ read_slice(sql) }} $query$ using first_key, end_key;
    end
    $function$;

    -- The process that writes computes nothing: it would let the others wait. One more is in its place.
    set local parallel_leader_participation = off;
    set local max_parallel_workers_per_gather = {{ processes_of_a_query() }};
    create table {{ relation }} as (
        {% for slices in lists_of_slices(bounds) -%}
        select slice.*
        from (values {{ slices | join(', ') }}) as slices (first_key, end_key)
        cross join lateral {{ function }}(
            cast(slices.first_key as {{ key_type }}), cast(slices.end_key as {{ key_type }})
        ) as slice
        {{ 'union all' if not loop.last }}
        {% endfor -%}
    );
    set local max_parallel_workers_per_gather to default;
    set local parallel_leader_participation to default;
    drop function {{ function }};
{%- endmacro %}


{#- The model's SQL over a slice of its inputs: $1 is the first key, $2 the first key of the next slice. -#}
{% macro read_slice(sql) -%}
    {%- set key = increment().key -%}
    {%- set read = namespace(sql=sql) -%}
    {%- for input in increment().inputs -%}
        {%- set name = ref(input) | string -%}
        {%- if name not in sql -%}
            {{ exceptions.raise_compiler_error(
                this.identifier ~ ' does not read its input ' ~ input ~ ': take it from the inputs in the config'
            ) }}
        {%- endif -%}
        {%- set slice -%}
            (
                select * from {{ name }}
                where ($1 is null or {{ key }} >= $1) and ($2 is null or {{ key }} < $2)
            )
        {%- endset -%}
        {%- set read.sql = read.sql | replace(name, slice) -%}
    {%- endfor -%}
    {{ return(read.sql) }}
{%- endmacro %}


{#- The first keys of all slices of a full build but the first: where `analyze` has found equal parts of the
    input's rows, as many as there are slices. None where the model is not sliced, a query has one process,
    or the input is short. -#}
{% macro bounds_of_slices() -%}
    {%- set input = increment().sliced_by -%}
    {%- set key = increment().key -%}
    {%- if not execute or not input or processes_of_a_query() == 1 -%} {%- do return([]) -%} {%- endif -%}
    {%- if not config.get('contract').enforced or key not in required_columns() -%}
        {{ exceptions.raise_compiler_error(
            this.identifier ~ ' is sliced by ' ~ key ~ ': its contract has to say that it is not null'
        ) }}
    {%- endif -%}
    {%- set query -%}
        with

        input as (

            select
                oid,
                relname,
                cast(cast(relnamespace as regnamespace) as text) as schema_name,
                reltuples / {{ var('rows_of_a_slice') }} as slices
            from pg_class
            where oid = cast('{{ ref(input) }}' as regclass)

        ),

        bounds as (

            select
                bounds.bound,
                least(input.slices, count(*) over () - 1) / (count(*) over () - 1) as slices_of_a_part,
                row_number() over (order by bounds.bound) - 1 as part
            from input
            inner join pg_stats as statistics
                on input.schema_name = statistics.schemaname
                and input.relname = statistics.tablename
                and statistics.attname = '{{ key }}'
            cross join lateral unnest(
                cast(cast(statistics.histogram_bounds as text) as {{ model.columns[key].data_type }}[])
            ) as bounds (bound)

        )

        select quote_literal(bound) as bound
        from bounds
        where floor(part * slices_of_a_part) > floor((part - 1) * slices_of_a_part)
            and part > 0
        order by part
    {%- endset -%}
    {{ return(run_query(query).columns[0].values() | list) }}
{%- endmacro %}


{#- How many processes compute a query: the leader and its workers. -#}
{% macro processes_of_a_query() -%}
    {%- set query -%}
        select cast(current_setting('max_parallel_workers_per_gather') as integer) + 1 as processes
    {%- endset -%}
    {{ return(run_query(query).columns[0].values()[0] | int) }}
{%- endmacro %}


{#- The slices in lists, as pairs of keys. A process takes a list and computes slice by slice; there are more
    lists than processes, so that all end at about the same time. The rows of a slice are held until the
    next one of its list is asked for, so each list ends on an empty slice. -#}
{% macro lists_of_slices(bounds) -%}
    {%- set first_keys = ['null'] + bounds -%}
    {%- set end_keys = bounds + ['null'] -%}
    {%- set most_lists = 16 -%}
    {%- set lists = [] -%}
    {%- for numbers in range(first_keys | length) | slice(most_lists) if numbers -%}
        {%- set slices = [] -%}
        {%- for number in numbers -%}
            {%- do slices.append('(' ~ first_keys[number] ~ ', ' ~ end_keys[number] ~ ')') -%}
        {%- endfor -%}
        {%- do slices.append('(' ~ bounds[0] ~ ', ' ~ bounds[0] ~ ')') -%}
        {%- do lists.append(slices) -%}
    {%- endfor -%}
    {{ return(lists) }}
{%- endmacro %}
