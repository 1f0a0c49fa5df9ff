-- Earlier versions built the warehouse in increments, with a schema of their own, and asked for full
-- builds; a schema of that name in a database that they never migrated is somebody else's. They
-- remembered removals of persons that were interrupted, which today start over.
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
drop table if exists quality.unfinished_forgets;
