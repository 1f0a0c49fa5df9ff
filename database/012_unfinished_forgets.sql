-- What a removal of a person has still to do: without it, one that was interrupted after the rows
-- had gone could not know what else to look for.
set local client_min_messages = warning;

-- Statistics would keep samples of the details.
create table if not exists quality.unfinished_forgets (
    customer_hash text primary key,
    details text[] not null,
    tables text[] not null
) with (autovacuum_enabled = false);
alter table quality.unfinished_forgets alter column details set statistics 0;
comment on table quality.unfinished_forgets is 'A removal of a person that has not come to its end; the owner''s alone, empty while none is at work.';
comment on column quality.unfinished_forgets.customer_hash is 'HMAC-SHA256 of the customer''s id.';
comment on column quality.unfinished_forgets.details is 'Name, e-mail, phone and address, to be found in logs and in Dagster''s storage.';
comment on column quality.unfinished_forgets.tables is 'The tables that rows were deleted from, to be rewritten.';
