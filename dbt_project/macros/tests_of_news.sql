{#- Data tests of an increment look at what is new since they have passed: they remember what they have read
    in the same books as the models (books.sql). A full refresh and `dbt test` read all. -#}


{#- The condition that limits a test to the keys that were rewritten since it has passed; true where it has
    to read everything.

    Args:
        key: A column that every input with news notes its changes by. -#}
{% macro to_test(key) -%}
    {%- if not can_test_news(key) -%} true
    {%- else -%}
        {{ key }} in (
            select changes.value
            from increments.changes as changes
            inner join increments.positions as positions on changes.model = positions.input
            where positions.model = '{{ book() }}'
                and changes.column_name = '{{ key }}'
                and changes.build > positions.build
        )
    {%- endif -%}
{%- endmacro %}

{% macro can_test_news(key) -%}
    {%- if not execute or flags.WHICH != 'build' or model.resource_type != 'test' or not is_same_node()
        or build_state().has_new_input
    -%}
        {%- do return(false) -%}
    {%- endif -%}
    {%- for node in graph.nodes.values() if node.name in build_state().news -%}
        {%- if key not in published_keys(node) -%} {%- do return(false) -%} {%- endif -%}
    {%- endfor -%}
    {{ return(true) }}
{%- endmacro %}

{% macro published_keys(node) -%}
    {%- set meta = node.config.meta -%}
    {{ return([meta.landed.key] if is_landed(node) else meta.get('increment', {}).get('publishes', [])) }}
{%- endmacro %}


{#- What a generic test reads; dbt asks this macro. A test of each row for itself reads the rows of the keys
    that were rewritten. -#}
{% macro postgres__get_where_subquery(relation) -%}
    {%- set test = model.get('test_metadata') or {} -%}
    {%- set tested = graph.nodes.get(model.get('attached_node')) if execute -%}
    {%- set key = row_key(tested) if tested -%}
    {%- set column = model.get('column_name') -%}
    {%- if config.get('where') or not key or not can_test_news(key)
        or not (test.name in ['accepted_values', 'not_negative', 'not_null'] and column != key
            or test.name == 'unique' and column == key)
    -%}
        {%- do return(dbt.default__get_where_subquery(relation)) -%}
    {%- endif -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ to_test(key) ~ ') as rewritten') }}
{%- endmacro %}

{% macro row_key(node) -%}
    {%- set meta = node.config.meta -%}
    {{ return(meta.landed.key if is_landed(node) else meta.get('increment', {}).get('key')) }}
{%- endmacro %}
