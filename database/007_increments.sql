-- The books of dbt's builds (dbt_project/macros/books.sql): who was built when, from what and by which
-- code. dbt keeps its fingerprints of the landed records beside them.
set local client_min_messages = warning;

create schema if not exists increments;
comment on schema increments is 'dbt: the books of the builds; nothing here is data.';

create sequence if not exists increments.build_number;

create table if not exists increments.builds (
    model text primary key,
    last_build bigint not null default nextval('increments.build_number'),
    full_build bigint not null default 0,
    code text,
    docs text
);
alter table increments.builds add column if not exists docs text;
comment on table increments.builds is 'A model, seed, snapshot or test.';
comment on column increments.builds.last_build is 'The number of its last build that had news.';
comment on column increments.builds.full_build is 'The number of its last build from nothing.';
comment on column increments.builds.code is 'A digest of the code that it was built by.';
comment on column increments.builds.docs is 'A digest of the descriptions that its comments are made from.';

create table if not exists increments.positions (
    model text not null,
    input text not null,
    build bigint not null,
    primary key (model, input)
);
comment on table increments.positions is 'A model or test and what it reads.';
comment on column increments.positions.build is 'Up to which build of the input the model has read it.';

create table if not exists increments.changes (
    model text not null,
    column_name text not null,
    value text not null,
    build bigint not null,
    known_date date not null default '-infinity',
    primary key (model, column_name, value)
);
alter table increments.changes add column if not exists known_date date not null default '-infinity';
create index if not exists changes_build on increments.changes (model, column_name, build);
comment on table increments.changes is 'A value in rows that a model has rewritten since it was built from nothing.';
comment on column increments.changes.build is 'The last build that rewrote rows with the value, before or after.';
comment on column increments.changes.known_date is
'The day from which on rows with the value differ; -infinity where nothing is said of it.';

-- Names of earlier versions.
drop table if exists increments.transactions, increments.users, increments.products;
