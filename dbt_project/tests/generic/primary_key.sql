{#- A key of one or several columns: no two rows share it, and no part of it is null. The rows are read
    only where the database does not enforce it already. -#}
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
