-- Removal of objects of earlier versions: the schema `increments`, requests for full builds,
-- unfinished removals of persons and the run of the latest rebuild. The schema is dropped only if an earlier version has created it.
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
alter table quality.source_state drop column if exists rebuilt_by;
