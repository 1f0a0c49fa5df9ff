-- Owners and rights, by least privilege. The last script, applied again after any other script, so
-- that all tables exist. Rights that are not listed are revoked.
set local client_min_messages = warning;

-- PUBLIC has no rights; only the listed roles may connect.
do $$
begin
    execute format('revoke all on database %I from public', current_database());
    execute format(
        'grant connect, temporary on database %I to retail_loader, retail_transformer, '
        'retail_scientist', current_database()
    );
    execute format('grant connect on database %I to retail_reader', current_database());
end
$$;
revoke all on schema public, transactional, staging, intermediate, warehouse, clv,
    quality
    from public, retail_loader, retail_transformer, retail_scientist, retail_reader;

-- The database owner keeps the schemas, so that no role can drop or rename one.
grant usage, create on schema transactional to retail_loader;
grant usage on schema quality to retail_loader, retail_transformer, retail_scientist;
grant usage on schema transactional to retail_transformer;
grant usage, create on schema staging, intermediate, warehouse to retail_transformer;
grant usage on schema warehouse to retail_scientist, retail_reader;
grant usage, create on schema clv to retail_scientist;
grant usage on schema clv to retail_reader;

-- The loader adds a stream's new columns, dbt replaces its tables, and the training set's columns
-- follow the features; each of them needs ownership. Tables of other owners change their owner.
do $$
declare
    relation record;
begin
    for relation in
        select c.oid::regclass as name, wanted.role_name
        from pg_class as c
        cross join lateral (
            select case c.relnamespace::regnamespace::text
                when 'transactional' then 'retail_loader'
                when 'clv' then case c.relname when 'training_set' then 'retail_scientist' end
                else 'retail_transformer'
            end as role_name
        ) as wanted
        where c.relnamespace::regnamespace::text in (
            'transactional', 'staging', 'intermediate', 'warehouse', 'clv'
        )
            and c.relkind in ('r', 'p', 'v', 'm', 'f')
            and wanted.role_name is not null
            -- A table of somebody else's login stays with them; `db check` lists it.
            and pg_has_role(current_user, c.relowner, 'usage')
            and pg_get_userbyid(c.relowner) <> wanted.role_name
        order by c.oid
    loop
        execute format('alter table %s owner to %I', relation.name, relation.role_name);
    end loop;
end
$$;

-- Personal data is in transactional.users and staging.stg_retail__user_contacts, for the loader and
-- dbt only. Rejected records may contain personal data and are for the loader only.
do $$
declare
    relation record;
    granted text;
begin
    for relation in
        select c.oid::regclass as name, rights.revoked_from, rights.grants
        from pg_class as c
        inner join (
            values
            ('public', 'public', array[]::text[]),
            (
                'transactional', 'public, retail_transformer, retail_scientist, retail_reader',
                array['select on %s to retail_transformer']
            ),
            ('staging', 'public, retail_loader, retail_scientist, retail_reader', array[]::text[]),
            (
                'intermediate', 'public, retail_loader, retail_scientist, retail_reader',
                array[]::text[]
            ),
            (
                'warehouse', 'public, retail_loader, retail_scientist, retail_reader',
                array['select on %s to retail_scientist, retail_reader']
            ),
            (
                'clv', 'public, retail_loader, retail_transformer, retail_reader',
                array[
                    'select, insert, update, delete on %s to retail_scientist',
                    'select on %s to retail_reader'
                ]
            ),
            (
                'quality',
                'public, retail_loader, retail_transformer, retail_scientist, retail_reader',
                array[]::text[]
            )
        ) as rights (schema_name, revoked_from, grants)
            on c.relnamespace::regnamespace::text = rights.schema_name
        where c.relkind in ('r', 'p', 'v', 'm', 'f')
            and pg_has_role(current_user, c.relowner, 'usage')
        order by c.oid
    loop
        execute format('revoke all on %s from ' || relation.revoked_from, relation.name);
        foreach granted in array relation.grants loop
            execute format('grant ' || granted, relation.name);
        end loop;
    end loop;
end
$$;

grant select on quality.source_state, quality.landed_streams, quality.run_states
    to retail_loader, retail_transformer, retail_scientist;
grant update on quality.landed_streams to retail_loader;
-- A lock on the row needs the right to update a column; this column can only be `true`.
grant update (is_only_row) on quality.source_state to retail_loader;
grant select, insert, update, delete on quality.sync_jobs, quality.sync_states,
    quality.rejected_records, quality.suppressed_records, quality.file_losses to retail_loader;
grant select on quality.file_losses to retail_scientist;
grant select on quality.suppressed_customers to retail_loader;

-- Tables that are created later have the same rights.
alter default privileges in schema transactional grant all on tables to retail_loader;
alter default privileges in schema transactional grant select on tables to retail_transformer;
alter default privileges for role retail_loader in schema transactional
    grant select on tables to retail_transformer;
alter default privileges in schema warehouse
    grant select on tables to retail_scientist, retail_reader;
alter default privileges for role retail_transformer in schema warehouse
    grant select on tables to retail_scientist, retail_reader;
alter default privileges in schema clv
    grant select, insert, update, delete on tables to retail_scientist;
alter default privileges in schema clv grant select on tables to retail_reader;
alter default privileges for role retail_scientist in schema clv
    grant select on tables to retail_reader;
alter default privileges revoke execute on functions from public;
alter default privileges for role retail_loader, retail_transformer, retail_scientist
    revoke execute on functions from public;
