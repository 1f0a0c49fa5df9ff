-- The embedded Airbyte engine's history of sync jobs, and the connectors' states.
set local client_min_messages = warning;

create table if not exists quality.sync_jobs (
    job_id bigint generated always as identity primary key,
    connection_id text not null,
    connection_name text not null,
    status text not null check (status in ('running', 'succeeded', 'failed', 'cancelled')),
    reason text,
    failure_type text,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    rows_read bigint not null default 0,
    rows_inserted bigint not null default 0,
    rows_updated bigint not null default 0,
    rows_rejected bigint not null default 0,
    bytes_read bigint not null default 0
);
alter table quality.sync_jobs drop column if exists heartbeat_at;
alter table quality.sync_jobs add column if not exists failure_type text;
alter table quality.sync_jobs add column if not exists reader text;
comment on column quality.sync_jobs.reader is 'The page loop, or the stock command and the reason for using it.';
alter table quality.sync_jobs add column if not exists undeclared jsonb;
comment on column quality.sync_jobs.undeclared is 'Fields by stream that records have and the schema does not declare.';
create index if not exists sync_jobs_connection on quality.sync_jobs (connection_id, job_id);
comment on table quality.sync_jobs is 'A sync of a connection by the embedded engine, with its outcome and the reason of a failure.';

create table if not exists quality.sync_states (
    connection_name text not null,
    stream text not null,
    state jsonb not null,
    job_id bigint not null,
    updated_at timestamptz not null default now(),
    primary key (connection_name, stream)
);
comment on table quality.sync_states is 'The sync state of a stream, committed together with its rows.';
