-- Rejected records, and the source and as-of date that all layers share.
set local client_min_messages = warning;

create table if not exists quality.rejected_records (
    stream text not null,
    record_hash text not null,
    record jsonb not null,
    reason text not null,
    seen_at timestamptz not null default now(),
    primary key (stream, record_hash)
);
comment on table quality.rejected_records is 'A record that the loader rejected, with the reason.';

create table if not exists quality.source_state (
    is_only_row boolean primary key default true check (is_only_row),
    source_id text not null,
    as_of date not null,
    generation bigint not null,
    updated_at timestamptz not null default now()
);
comment on table quality.source_state is 'The source and the as-of date that all layers share.';

create table if not exists quality.run_states (
    run_id text primary key,
    source_id text not null,
    as_of date not null,
    generation bigint not null,
    entered_at timestamptz not null default now()
);
comment on table quality.run_states is 'A run that has begun, with the state that all of its steps use.';

create table if not exists quality.landed_streams (
    stream text primary key,
    as_of date,
    generation bigint,
    run_id text,
    landed_at timestamptz
);
comment on table quality.landed_streams is 'A stream of the source, with the as-of date and generation of its landing table.';
