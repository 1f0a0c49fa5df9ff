{#- Revoke all rights on a relation from everyone but its owner, including rights from the default privileges of
    the schema. -#}
{% macro restrict_to_owner() -%} {{ return(adapter.dispatch('restrict_to_owner')()) }} {%- endmacro %}

{#- Elsewhere rights are those of the landed files. -#}
{% macro default__restrict_to_owner() -%} {%- endmacro %}

{% macro postgres__restrict_to_owner() %}
do $$
declare
    role_name text;
begin
    revoke all on {{ this }} from public;
    for role_name in
        select distinct pg_get_userbyid(acl.grantee)
        from pg_class
        cross join lateral aclexplode(pg_class.relacl) as acl
        where pg_class.oid = '{{ this }}'::regclass
            and acl.grantee not in (0, pg_class.relowner)
    loop
        execute format('revoke all on {{ this }} from %I', role_name);
    end loop;
end
$$
{% endmacro %}
