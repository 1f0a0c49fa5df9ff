-- Forgotten customers, as keyed hashes. With the key, which is not in the database, the loader finds
-- a customer's records; without the key the hashes cannot be traced to ids.
set local client_min_messages = warning;

create table if not exists quality.suppressed_customers (
    customer_hash text primary key,
    key_id text not null,
    suppressed_at timestamptz not null default now()
);
comment on table quality.suppressed_customers is 'A forgotten customer, whose records are suppressed: a keyed hash, never the id.';
comment on column quality.suppressed_customers.customer_hash is 'HMAC-SHA256 of the customer''s id.';
comment on column quality.suppressed_customers.key_id is 'Identifies the key of the hash, without revealing it.';
comment on column quality.suppressed_customers.suppressed_at is 'When the customer was forgotten.';

create table if not exists quality.suppressed_records (
    stream text not null,
    record_hash text not null,
    primary key (stream, record_hash)
);
comment on table quality.suppressed_records is 'A suppressed record of the source: records served = rows + rejected + suppressed.';
comment on column quality.suppressed_records.stream is 'The stream of the record.';
comment on column quality.suppressed_records.record_hash is 'HMAC-SHA256 of the record''s key.';

alter table quality.sync_jobs add column if not exists rows_suppressed bigint not null default 0;
