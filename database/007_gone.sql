-- Earlier versions built the warehouse in increments, with books of them, and asked for full builds.
set local client_min_messages = warning;

drop schema if exists increments cascade;
drop table if exists quality.rebuild_requests;
