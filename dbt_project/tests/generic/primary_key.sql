{#- The key, of one or several columns, is unique and not null. The rows are read only if the database does not
    enforce this. -#}
{% test primary_key(model, columns) %}

select
    {{ columns | join(', ') }},
    count(*) as rows_found
from {{ model }}
where not {{ is_enforced_key(model, columns) }}
group by {{ columns | join(', ') }}
having count(*) > 1
    {%- for column in columns %}
    or {{ column }} is null
    {%- endfor %}

{% endtest %}
