{#- The books of the builds, in the schema `increments` (database/007_increments.sql): by which code a model
    was built, up to which build it has read each of its inputs, and which of its builds had news last.
    What is up to date by them is kept as it is: materializations.sql. -#}


{#- What the books say of the node that is built. Asked once per node and invocation, so that all of a build
    hear the same; held in dbt's graph, which compiling and running share.

    Returns:
        inputs: the nodes behind it that have books.
        news: those of them that have news since this node has read them.
        has_no_news: that there are none, and that all inputs are known.
        has_new_input: that one of them was built from nothing since.
        has_same_code, has_same_docs: that code or descriptions are those that it was built by.
        has_rows: that there is a table with rows.
        seen: how far each input is, to be noted when the node is built.
        passed: what dbt expects of a test that has passed. -#}
{% macro build_state() -%}
    {%- if not execute -%} {%- do return({'inputs': [], 'news': [], 'seen': []}) -%} {%- endif -%}
    {%- set node = graph.nodes[model.unique_id] -%}
    {%- if node.get('build_state', {}).get('invocation') != invocation_id -%}
        {%- do node.update({'build_state': read_books()}) -%}
    {%- endif -%}
    {{ return(node.build_state) }}
{%- endmacro %}

{% macro read_books() -%}
    {%- set inputs = [] -%}
    {%- do collect_inputs(model.unique_id, inputs) -%}
    {%- set code = code_version() -%}
    {%- set docs = docs_version() -%}
    {%- set relation = none if model.resource_type == 'test' else load_cached_relation(this) -%}
    {%- set query -%}
        select
            node.code is not distinct from '{{ code }}' as has_same_code,
            node.docs is not distinct from '{{ docs }}' as has_same_docs,
            {% if relation and relation.is_table -%} exists (select from {{ this }})
            {%- else -%} false
            {%- endif %} as has_rows,
            coalesce(bool_or(inputs.full_build > coalesce(positions.build, 0)), false) as has_new_input,
            count(inputs.model) as known_inputs,
            string_agg(inputs.model, ',') filter (
                where inputs.last_build > coalesce(positions.build, -1)
            ) as news,
            string_agg(inputs.model || ' ' || inputs.last_build, ',') as seen,
            0 as failures,
            false as should_warn,
            false as should_error
        from (values ('{{ book() }}')) as asked (model)
        left join increments.builds as node on asked.model = node.model
        left join increments.builds as inputs on inputs.model in ('{{ inputs | join("', '") }}')
        left join increments.positions as positions
            on asked.model = positions.model and inputs.model = positions.input
        group by node.code, node.docs
    {%- endset -%}
    {%- set answer = run_query(query) -%}
    {%- set row = answer.rows[0] -%}
    {%- set news = (row['news'] or '').split(',') | select | list -%}
    {{ return({
        'invocation': invocation_id,
        'inputs': inputs,
        'news': news,
        'has_no_news': not news and row['known_inputs'] == inputs | length,
        'has_new_input': row['has_new_input'] or row['known_inputs'] < inputs | length,
        'has_same_code': row['has_same_code'],
        'has_same_docs': row['has_same_docs'],
        'has_rows': row['has_rows'],
        'seen': (row['seen'] or '').split(',') | select | list,
        'code': code,
        'docs': docs,
        'passed': answer.select(['failures', 'should_warn', 'should_error']),
    }) }}
{%- endmacro %}


{#- The name of a node in the books. -#}
{% macro book() -%}
    {{ return(model.unique_id if model.resource_type == 'test' else this.identifier) }}
{%- endmacro %}


{#- The nodes behind one that have books. A plain view has none: what it reads stands for it. A source stands
    for the staging view that compares its records; one that no view compares is never known. -#}
{% macro collect_inputs(unique_id, inputs) -%}
    {%- for parent in graph.nodes[unique_id].depends_on.nodes | default([]) -%}
        {%- if parent in graph.sources -%}
            {%- set found = [] -%}
            {%- for node in graph.nodes.values() if is_landed(node) and reads(node, parent) -%}
                {%- do found.append(node.name) -%}
            {%- endfor -%}
            {%- for name in found or [parent] if name not in inputs and name != graph.nodes[unique_id].name -%}
                {%- do inputs.append(name) -%}
            {%- endfor -%}
        {%- elif is_plain_view(graph.nodes[parent]) -%}
            {%- do collect_inputs(parent, inputs) -%}
        {%- elif graph.nodes[parent].name not in inputs -%}
            {%- do inputs.append(graph.nodes[parent].name) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{% macro reads(node, source) -%}
    {%- if source in node.depends_on.nodes -%} {%- do return(true) -%} {%- endif -%}
    {%- for parent in node.depends_on.nodes if parent in graph.nodes and is_plain_view(graph.nodes[parent]) -%}
        {%- if reads(graph.nodes[parent], source) -%} {%- do return(true) -%} {%- endif -%}
    {%- endfor -%}
    {{ return(false) }}
{%- endmacro %}

{% macro is_plain_view(node) -%}
    {{ return(node.config.materialized == 'view' and not is_landed(node)) }}
{%- endmacro %}

{% macro is_landed(node) -%}
    {{ return('landed' in node.config.meta) }}
{%- endmacro %}


{#- Make others that build the same node wait until this one is done. -#}
{% macro lock_book() -%}
    insert into increments.builds (model, last_build) values ('{{ book() }}', 0)
    on conflict (model) do update set model = excluded.model;
{%- endmacro %}


{#- Give the build a number of its own where a query finds rows: whoever reads the node has news. -#}
{% macro number_news(rows) -%}
    update increments.builds set last_build = nextval('increments.build_number')
    where model = '{{ book() }}' and exists ({{ rows }});
{%- endmacro %}


{#- Note up to which build of its inputs the node has read them.

    Args:
        positions: A query of (input, build). -#}
{% macro note_positions(positions) -%}
    insert into increments.positions (model, input, build)
    select
        '{{ book() }}',
        positions.input,
        positions.build
    from ({{ positions }}) as positions (input, build)
    on conflict (model, input) do update set build = excluded.build;
{%- endmacro %}

{% macro seen_when_asked() -%}
    {% for input in build_state().seen -%}
        select '{{ input.split(' ')[0] }}', {{ input.split(' ')[1] }} {{ 'union all' if not loop.last }}
    {% else -%}
        select cast(null as text), cast(null as bigint) where false
    {%- endfor %}
{%- endmacro %}

{% macro note_code() -%}
    update increments.builds
    set code = '{{ build_state().code }}', docs = '{{ build_state().docs }}'
    where model = '{{ book() }}'
{%- endmacro %}


{#- Note a build whose materialization has no hook for it, in a transaction of its own: after the rows,
    so that a killed build is done again. -#}
{% macro note_build() -%}
    {% call statement('books') -%}
        {{ lock_book() }}
        {{ number_news('select') }}
        {{ note_positions(seen_when_asked()) }}
        {{ note_code() }}
    {%- endcall %}
    {%- do adapter.commit() -%}
{%- endmacro %}


{#- A digest of all code that a node's rows depend on: its own, that of the nodes before it, the project's
    macros, and the clock where it reads it. -#}
{% macro code_version() -%}
    {%- set code = [code_of(model.unique_id), code_of_macros()] -%}
    {%- if model.config.meta.get('reads_clock') -%}
        {%- do code.append(as_of_date() ~ var('as_of_dates') | join(' ')) -%}
    {%- endif -%}
    {%- do return(local_md5(code | join('\n'))) -%}
{%- endmacro %}

{% macro code_of(unique_id) -%}
    {%- set node = graph.nodes[unique_id] -%}
    {%- if 'code_version' not in node -%}
        {%- set code = [
            node.checksum.checksum if node.resource_type == 'seed' else node.raw_code,
            tojson(node.get('test_metadata') or {}, sort_keys=True),
        ] -%}
        {%- for parent in node.depends_on.nodes | default([]) | sort if parent in graph.nodes -%}
            {%- do code.append(code_of(parent)) -%}
        {%- endfor -%}
        {%- do node.update({'code_version': local_md5(code | join('\n'))}) -%}
    {%- endif -%}
    {{ return(node.code_version) }}
{%- endmacro %}

{% macro code_of_macros() -%}
    {%- if 'code_of_macros' not in graph -%}
        {%- set code = [] -%}
        {%- for name, macro in context[project_name].items() | sort(attribute='0') -%}
            {%- do code.append(macro.macro.macro_sql) -%}
        {%- endfor -%}
        {%- do graph.update({'code_of_macros': local_md5(code | join('\n'))}) -%}
    {%- endif -%}
    {{ return(graph.code_of_macros) }}
{%- endmacro %}


{#- A digest of what the database's comments are made from. -#}
{% macro docs_version() -%}
    {%- set docs = [model.get('description') or ''] -%}
    {%- for name, column in (model.get('columns') or {}).items() -%}
        {%- do docs.append(name ~ ' ' ~ column.get('description', '')) -%}
    {%- endfor -%}
    {%- do return(local_md5(docs | join('\n'))) -%}
{%- endmacro %}
