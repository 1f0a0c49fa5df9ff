-- The four roles of the pipeline, without login and superuser rights. 900_grants.sql grants their
-- rights. Roles belong to the whole server, so several databases may run this script at once.
--
-- If the owner of the database may not create roles (a managed PostgreSQL), an administrator runs
-- this file once in the database: psql -d <database> -f database/000_roles.sql
-- An owner that may create roles also creates a login for each role (retail_pipeline/postgres/logins.py).
set local client_min_messages = warning;

do $$
declare
    role_name text;
    member_name text;
    is_new boolean := current_setting('server_version_num')::int >= 160000;
begin
    foreach role_name in array array[
        'retail_loader', 'retail_transformer', 'retail_scientist', 'retail_reader'
    ] loop
        if not exists (select from pg_roles where rolname = role_name) then
            begin
                execute format('create role %I nologin', role_name);
            exception when duplicate_object or unique_violation then
                null;  -- the migration of another database has created the role
            end;
        end if;

        if exists (
            select from pg_roles
            where rolname = role_name
                and (rolcanlogin or rolsuper or rolcreatedb or rolcreaterole or rolreplication
                    or rolbypassrls)
        ) then
            execute format(
                'alter role %I nologin nosuperuser nocreatedb nocreaterole noreplication '
                'nobypassrls', role_name
            );
        end if;

        -- The database's owner may act as each role; a superuser needs no grant.
        for member_name in
            select members.rolname
            from pg_roles as members
            where not members.rolsuper
                and members.rolname in (
                    current_user,
                    (
                        select pg_get_userbyid(datdba) from pg_database
                        where datname = current_database()
                    )
                )
                -- The owner needs inheritance for the role's tables, not only `set role`.
                and not pg_has_role(members.rolname, role_name, 'usage')
        loop
            execute format(
                'grant %I to %I %s', role_name, member_name,
                case
                    when is_new then 'with inherit true, set true'
                        || case when member_name <> current_user then ', admin true' else '' end
                    when member_name <> current_user then 'with admin option' else ''
                end
            );
        end loop;
    end loop;
end
$$;
