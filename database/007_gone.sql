-- Removal of objects of earlier versions: the schema `increments`, requests for full builds and
-- unfinished removals of persons. The schema is dropped only if an earlier version has created it.
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
