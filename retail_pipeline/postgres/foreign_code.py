"""Code in the database that neither the scripts nor dbt made, and logins with too many rights.

A trigger, rule, policy or view of a role's login runs in the sessions that touch its tables. Those
sessions have no more rights than their role; still nobody should have to run code of others.
"""

from typing import Final

import psycopg

OWN_FUNCTION: Final = "clv.customers()"
"""The one function that the scripts create."""


def foreign_code(connection: psycopg.Connection) -> list[str]:
    """Return a line for each foreign object that can run code, and for each login with more rights.

    Args:
        connection: The owner's connection; it only reads the catalog.
    """
    rows = connection.execute(_CODE, {"own": OWN_FUNCTION}).fetchall()
    rows += connection.execute(_LOGINS).fetchall()
    return [line for (line,) in rows]


_CODE: Final = """
with
schemas as (
    select oid, nspname from pg_namespace
    where nspname !~ '^pg_' and nspname <> 'information_schema'
),
relations as (
    select c.*, format('%%I.%%I', s.nspname, c.relname) as name
    from pg_class as c join schemas as s on s.oid = c.relnamespace
),
extended as (select classid, objid from pg_depend where deptype = 'e'),
objects as (
    select 'pg_proc'::regclass as class, p.oid, p.proowner as owner,
        case prokind when 'p' then 'procedure ' else 'function ' end || p.oid::regprocedure as what
    from pg_proc as p join schemas as s on s.oid = p.pronamespace
    where p.oid is distinct from to_regprocedure(%(own)s) or p.proowner <> (
        select datdba from pg_database where datname = current_database()
    ) and pg_get_userbyid(p.proowner) <> current_user
    union all
    select 'pg_class'::regclass, r.oid, relowner, format(
        '%%s %%s', case when relkind = 'v' then 'view' else 'table' end, name
    )
    from relations as r
    where relnamespace::regnamespace::text in (
        'transactional', 'staging', 'intermediate', 'warehouse', 'clv', 'quality'
    )
        and relkind in ('r', 'p', 'v', 'm', 'f') and pg_get_userbyid(relowner) <> current_user
        and pg_get_userbyid(relowner) !~ '^retail_(loader|transformer|scientist)$'
    union all
    select 'pg_trigger'::regclass, t.oid, r.relowner, format(
        'trigger %%I on %%s, which calls %%s', tgname, r.name, tgfoid::regproc
    )
    from pg_trigger as t join relations as r on r.oid = t.tgrelid where not tgisinternal
    union all
    select 'pg_rewrite'::regclass, w.oid, r.relowner, format('rule %%I on %%s', rulename, r.name)
    from pg_rewrite as w join relations as r on r.oid = w.ev_class where rulename <> '_RETURN'
    union all
    select 'pg_policy'::regclass, p.oid, r.relowner, format('policy %%I on %%s', polname, r.name)
    from pg_policy as p join relations as r on r.oid = p.polrelid
    union all
    select 'pg_class'::regclass, oid, relowner, format('row security on %%s', name)
    from relations where relrowsecurity or relforcerowsecurity
    union all
    select 'pg_class'::regclass, oid, relowner, format('view %%s, which calls set_config', name)
    from relations where relkind in ('v', 'm') and pg_get_viewdef(oid) ~* 'set_config'
    union all
    select 'pg_type'::regclass, t.oid, typowner, format('domain %%s', t.oid::regtype)
    from pg_type as t join schemas as s on s.oid = t.typnamespace where typtype = 'd'
    union all
    select 'pg_operator'::regclass, o.oid, oprowner, format('operator %%s', o.oid::regoperator)
    from pg_operator as o join schemas as s on s.oid = o.oprnamespace
    union all
    select 'pg_cast'::regclass, oid, null, format(
        'cast from %%s to %%s', castsource::regtype, casttarget::regtype
    )
    from pg_cast where oid >= 16384
    union all
    select 'pg_event_trigger'::regclass, oid, evtowner, format('event trigger %%I', evtname)
    from pg_event_trigger
)
select format('not of the scripts: %%s', what)
    || case when owner is null then '' else format(' (of %%s)', pg_get_userbyid(owner)) end
from objects
where not exists (select from extended where classid = class and objid = objects.oid)
order by 1
"""

_LOGINS: Final = """
with recursive
ours as (
    select oid, rolname from pg_roles
    where rolname ~ '^retail_(loader|transformer|scientist|reader)$'
),
members as (
    select m.member, ours.rolname as role, m.admin_option
    from pg_auth_members as m join ours on ours.oid = m.roleid
    union
    select m.member, members.role, m.admin_option
    from pg_auth_members as m join members on members.member = m.roleid
),
logins as (
    select r.*, array_agg(distinct members.role) as roles, bool_or(admin_option) as may_grant
    from members join pg_roles as r on r.oid = members.member
    where rolcanlogin and rolname <> current_user and r.oid <> (
        select datdba from pg_database where datname = current_database()
    )
    group by r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb,
        r.rolcanlogin, r.rolreplication, r.rolconnlimit, r.rolpassword, r.rolvaliduntil,
        r.rolbypassrls, r.rolconfig
),
rights as (
    select rolname, roles, array_remove(array[
        case when rolsuper then 'is a superuser' end,
        case when rolcreaterole then 'may create roles' end,
        case when rolcreatedb then 'may create databases' end,
        case when rolreplication then 'may replicate' end,
        case when rolbypassrls then 'bypasses row security' end,
        case when may_grant then 'may grant the role to others' end,
        case when cardinality(roles) > 1 then 'is a member of ' || array_to_string(roles, ', ') end
    ] || array(
        select 'is a member of ' || pg_get_userbyid(m.roleid)
        from pg_auth_members as m
        where m.member = logins.oid and (
            m.roleid < 16384 or pg_get_userbyid(m.roleid) = current_user
        )
    ), null) as more
    from logins
)
select format('the login %s of %s also %s', rolname, roles[1], array_to_string(more, ', '))
from rights where more <> '{}' order by 1
"""
