-- Earlier versions built the warehouse in increments, with a schema of their own, and asked for full
-- builds. A schema of that name in a database that they never migrated is somebody else's.
set local client_min_messages = warning;

do $$
begin
    if exists (select from quality.migrations where name = '007_increments.sql') then
        drop schema if exists increments cascade;
        delete from quality.migrations where name = '007_increments.sql';
    end if;
end
$$;

drop table if exists quality.rebuild_requests;
