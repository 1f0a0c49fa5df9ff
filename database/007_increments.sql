-- Earlier versions kept the books of dbt's incremental builds in a schema of their own.
set local client_min_messages = warning;

drop schema if exists increments cascade;
