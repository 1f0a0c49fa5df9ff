{#- Increments by arrival. An incremental model has a key (a transaction, a customer, a day). A build
    finds the keys that have news, the model's SQL computes their rows again, and what differs from the
    rows that are there is deleted and inserted: all in the transaction of the model. Nothing is asked
    of clocks, cursors or the order of arrival.

    News starts at the landing tables, where a staging view compares the content of each record with
    what was seen last (fingerprints.sql), and is handed on: who rewrites rows notes in
    `increments.changes` which transactions, customers or days they belong to, before and after. So
    history is looked at once, and what follows costs what is new.

    A model says in its config what it takes part in:
        meta={'increment': {
            'key': 'customer_id',                    the column whose rows are replaced together
            'inputs': ['int_transactions_counted'],  the models that are read, by that key
            'publishes': ['customer_id'],            the columns whose values others wait for
            'known_by': ['known_date'],              the days from which on a row counts, or no longer
            'as_of': 'as_of_date',                   the date as of which the model's rows are
        }}

    A full build may be in slices of the key: `sliced_by` (slices.sql).

    `known_by` says more than that a key has news: from which day on (`changes.known_date`). A model with
    `as_of` keeps the rows of a changed key that are as of that day or earlier.

    The books (books.sql) change in the transaction of the rows. So a killed build, or one of a few
    models alone, is mended by the next one, whatever it selects. -#}


{#- Find the keys that have news; the pre-hook of an incremental model.

    Args:
        also: A query of further keys to build again, or none. -#}
{% macro find_changes(also=none) -%}
    {%- set key = increment().key -%}
    {{ start_build() }}
    {% if is_increment() -%}
        create temporary table {{ changed_keys() }} on commit drop as
        {% if increment().as_of -%} select {{ key }}, min(known_date) as known_date from ( {%- endif %}
        {% for input in increment().inputs -%}
        {{ news_of(input, key, is_dated=increment().as_of) }}
        {{ 'union' if not loop.last }}
        {% endfor -%}
        {% if also %}
        union
        {{ also }}
        {%- endif %}
        {% if increment().as_of -%} ) as news group by {{ key }} {%- endif %};
        {{ number_news('select from ' ~ changed_keys()) }}
        {{ note_rows_before() }}
    {%- endif %}
{%- endmacro %}


{#- The same for a model that compares the records of its input one by one.

    Args:
        fingerprints: A query of (key, fingerprint), one row per record that there is now.
        memory: The table of the fingerprints that were seen last. -#}
{% macro find_changed_records(fingerprints, memory) -%}
    {{ start_build() }}
    {% if is_increment() -%}
        -- Somebody has emptied the model: everything is to be built again.
        delete from {{ memory }} where not exists (select from {{ this }});
    {%- endif %}
    {{ compare_fingerprints(increment().key, fingerprints, memory, changed_keys(), is_increment()) }}
    {% if is_increment() -%}
        {{ number_news('select from ' ~ changed_keys()) }}
        {{ note_rows_before() }}
    {%- endif %}
{%- endmacro %}


{#- Make later builds of the same model wait, and note how far its inputs are. -#}
{% macro start_build() -%}
    {{ lock_book() }}
    {% if is_increment() -%}
        -- A few keys among all: each by its index, where PostgreSQL would rather read whole tables.
        set local random_page_cost = 1.1;
    {%- else -%}
        {{ number_news('select') }}
    {%- endif %}
    create temporary table {{ seen_inputs() }} on commit drop as
    select
        inputs.model as input,
        inputs.last_build,
        coalesce(positions.build, 0) as build_before,
        inputs.full_build > coalesce(positions.build, 0) as is_new
    from increments.builds as inputs
    left join increments.positions as positions
        on positions.model = '{{ this.identifier }}' and inputs.model = positions.input
    where inputs.model in ('{{ build_state().inputs | join("', '") }}');
{%- endmacro %}


{#- The keys that an input has rewritten since this model read it; all of them where somebody has
    emptied the model, or has just built the input from nothing.

    Args:
        is_dated: Also known_date, the day from which on there is news of the key. -#}
{% macro news_of(input, key, is_dated=false) -%}
    {%- set always = ", cast('-infinity' as date) as known_date" if is_dated -%}
    {%- set is_new -%}
        exists (select from {{ seen_inputs() }} as seen where seen.input = '{{ input }}' and seen.is_new)
    {%- endset -%}
    select cast(changes.value as {{ 'date' if key.startswith('date_') else 'text' }}) as {{ key }}
        {{- ', changes.known_date' if is_dated }}
    from increments.changes as changes
    inner join {{ seen_inputs() }} as seen on changes.model = seen.input
    where changes.model = '{{ input }}'
        and changes.column_name = '{{ key }}'
        and changes.build > seen.build_before
    union
    select {{ key }} {{- always }} from {{ ref(input) }}
    where {{ key }} is not null and (not exists (select from {{ this }}) or {{ is_new }})
    union
    select {{ key }} {{- always }} from {{ this }}
    where {{ is_new }}
{%- endmacro %}


{#- Note whose rows are computed again, and what they were. -#}
{% macro note_rows_before() -%}
    {%- set key = increment().key -%}
    analyze {{ changed_keys() }};
    {% if increment().known_by -%}
        create temporary table {{ rows_before() }} on commit drop as
        select * from {{ this }} where {{ has_changed(key) }};
    {%- elif key in increment().publishes | default([]) -%}
        {{ note_changes(key, changed_keys()) }}
    {%- endif %}
    {{ note_other_changes() }}
{%- endmacro %}


{#- Bring the rows of the changed keys to what the model's SQL says now.

    Args:
        sql: The model's SQL, which reads the changed keys alone. -#}
{% macro write_changed_rows(sql) -%}
    {%- set rows -%}
        {% if model.contract.enforced -%} ({{ model.columns | join(', ') }}) {{ get_select_subquery(sql) }}
        {%- else -%} {{ sql }}
        {%- endif %}
    {%- endset -%}
    {% if increment().as_of -%}
        delete from {{ this }} using {{ changed_keys() }} as changed
        where {{ this.identifier }}.{{ increment().key }} = changed.{{ increment().key }}
            and {{ this.identifier }}.{{ increment().as_of }} > changed.known_date;
        insert into {{ this }} {{ rows }}
    {%- else -%}
        create temporary table {{ rows_now() }} (like {{ this }}) on commit drop;
        insert into {{ rows_now() }} {{ rows }};
        {{ replace_rows_that_differ(rows_now()) }}
    {%- endif %}
{%- endmacro %}

{#- What is the same stays where it is: nine in ten days of a customer with news are as they were, and an
    index is dear to write. -#}
{% macro replace_rows_that_differ(rows_now) -%}
    {%- set content = row_content(columns_of_this()) -%}
    delete from {{ this }} where ctid = any(array(
        select places.place
        from (
            -- With offset 0 PostgreSQL looks into no other rows than those of the changed keys.
            select ctid as place, {{ content }} as row_content
            from {{ this }} where {{ has_changed(increment().key) }}
            offset 0
        ) as places
        where not exists (
            select from (select {{ content }} as row_content from {{ rows_now }}) as wanted
            where wanted.row_content = places.row_content
        )
    ));
    insert into {{ this }}
    select * from {{ rows_now }}
    where not exists (
        select
        from (
            select {{ content }} as row_content
            from {{ this }} where {{ has_changed(increment().key) }}
            offset 0
        ) as kept
        where kept.row_content = {{ content }}
    )
{%- endmacro %}

{#- A number for what a row says, to the letter: 9 and 9.00 are two. -#}
{% macro row_content(columns) -%}
    {%- set texts = [] -%}
    {%- for column in columns -%} {%- do texts.append('cast(' ~ column ~ ' as text)') -%} {%- endfor -%}
    {{ return(fingerprint(texts)) }}
{%- endmacro %}

{% macro columns_of_this() -%}
    {{ return(adapter.get_columns_in_relation(this) | map(attribute='name') | list if execute else []) }}
{%- endmacro %}


{#- Note what the rows of the changed keys say in the published columns. -#}
{% macro note_other_changes() -%}
    {%- set key = increment().key -%}
    {% for column in increment().publishes | default([]) if column != key -%}
        {{ note_changes(column, this ~ ' inner join ' ~ changed_keys() ~ ' using (' ~ key ~ ')') }}
    {% endfor -%}
{%- endmacro %}

{% macro note_changes(column, rows) -%}
    insert into increments.changes (model, column_name, value, build)
    select distinct
        '{{ this.identifier }}',
        '{{ column }}',
        cast({{ column }} as text),
        builds.last_build
    from {{ rows }}
    cross join increments.builds as builds
    where builds.model = '{{ this.identifier }}' and {{ column }} is not null
    on conflict (model, column_name, value) do update set build = excluded.build;
{%- endmacro %}


{#- Note of which keys the rows differ from those before, and from which day on: an event per row and day on
    which it began to count or ceased to. A key whose rows were written again as they were is not noted. -#}
{% macro note_dated_changes() -%}
    {%- set key = increment().key -%}
    insert into increments.changes (model, column_name, value, build, known_date)
    select
        '{{ this.identifier }}',
        '{{ key }}',
        cast(differing.{{ key }} as text),
        builds.last_build,
        min(differing.known_date)
    from (
        select {{ key }}, known_date, row_content
        from (
            {% for day in increment().known_by -%}
            {{ events(rows_before() ~ ' as before', day, -1) }}
            union all
            {{ events(this ~ ' where ' ~ has_changed(key), day, 1) }}
            {{ 'union all' if not loop.last }}
            {% endfor -%}
        ) as events
        where known_date is not null
        group by {{ key }}, known_date, row_content
        having sum(events.is_now) <> 0
    ) as differing
    cross join increments.builds as builds
    where builds.model = '{{ this.identifier }}'
    group by differing.{{ key }}, builds.last_build
    on conflict (model, column_name, value) do update
    set build = excluded.build, known_date = {{ first_known_date() }};
{%- endmacro %}

{#- What differs once counts for all who have not read the note before, else for those who have not either. -#}
{% macro first_known_date() -%}
    case
        when changes.build <= (
            select min(readers.build) from increments.positions as readers
            where readers.input = '{{ this.identifier }}'
        ) then excluded.known_date
        else least(changes.known_date, excluded.known_date)
    end
{%- endmacro %}

{% macro events(rows, day, is_now) -%}
    {%- set content = columns_of_this() | reject('in', increment().known_by[1:]) | list -%}
    select
        {{ increment().key }},
        {{ day }} as known_date,
        {{ row_content(content) }} as row_content,
        {{ is_now }} as is_now
    from {{ rows }}
{%- endmacro %}


{#- Fresh statistics, and the books of a build, after its rows are there; the post-hook of tables and
    incremental models. -#}
{% macro finish_build() -%}
    {{ analyze_table() }};
    {% if model.config.materialized == 'incremental' -%}
        {% if is_increment() -%}
            {{ note_other_changes() }}
            {% if increment().known_by -%} {{ note_dated_changes() }} {%- endif %}
        {%- else -%}
            delete from increments.changes where model = '{{ this.identifier }}';
            update increments.builds set full_build = last_build where model = '{{ this.identifier }}';
        {%- endif %}
        {{ note_positions('select seen.input, seen.last_build from ' ~ seen_inputs() ~ ' as seen') }}
    {%- else -%}
        {{ lock_book() }}
        {{ number_news(rows_that_differ()) }}
        {{ note_positions(seen_when_asked()) }}
    {%- endif %}
    {{ note_code() }}
{%- endmacro %}

{#- Whether a table has other rows than before. Only a small one is compared: it says so by
    meta={'is_small': true}; what reads it then has no news where it came out the same. -#}
{% macro rows_that_differ() -%}
    {%- set before = make_backup_relation(this, 'table') -%}
    {%- if not model.config.meta.get('is_small') or not build_state().has_same_code or not build_state().has_rows -%}
        {%- do return('select') -%}
    {%- endif -%}
    (select * from {{ this }} except all select * from {{ before }})
    union all
    (select * from {{ before }} except all select * from {{ this }})
{%- endmacro %}


{#- What the model's config says of its increments; nothing yet while dbt parses. -#}
{% macro increment() -%}
    {{ return(model.config.meta.get('increment', {})) }}
{%- endmacro %}


{#- The keys that an increment builds again; a temporary table of the model's transaction. -#}
{% macro changed_keys() -%}
    {{ this.identifier }}__changed
{%- endmacro %}


{#- The rows that they had before; a temporary table of the transaction of a model with known_by. -#}
{% macro rows_before() -%}
    {{ this.identifier }}__before
{%- endmacro %}


{#- The rows that they have now; a temporary table of the model's transaction. -#}
{% macro rows_now() -%}
    {{ this.identifier }}__now
{%- endmacro %}


{#- How far the inputs were when the build started; a temporary table of the model's transaction. -#}
{% macro seen_inputs() -%}
    {{ this.identifier }}__seen
{%- endmacro %}


{#- The condition that limits an increment to what has changed; true in a full build. The columns of
    temporary tables are named with their table: no schema tells the column lineage of them. -#}
{% macro has_changed(column) -%}
    {%- if is_increment() -%}
        {{ column }} in (select changed.{{ column }} from {{ changed_keys() }} as changed)
    {%- else -%} true
    {%- endif -%}
{%- endmacro %}


{#- Whether rows of this build join those of earlier ones; never in a unit test, which has no table. -#}
{% macro is_increment() -%}
    {{ return(this is not none and is_incremental()) }}
{%- endmacro %}


{#- Whether a model is built from nothing: asked for; its code is not the code that it was built by; or
    an input was built from nothing since it was read. dbt asks this macro. -#}
{% macro should_full_refresh() -%}
    {%- set asked = config.get('full_refresh') -%}
    {%- if asked is none -%} {%- set asked = flags.FULL_REFRESH -%} {%- endif -%}
    {%- if asked or not execute or model.config.materialized != 'incremental' -%}
        {%- do return(asked) -%}
    {%- endif -%}
    {%- set state = build_state() -%}
    {%- do return(not state.has_same_code or state.has_new_input) -%}
{%- endmacro %}
