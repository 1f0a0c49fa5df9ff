-- Landing tables in the layout of Airbyte's PostgreSQL destination (direct load): Airbyte's own
-- columns first, the stream's columns in schema order, nullable, no primary key.
set local client_min_messages = warning;

create table if not exists transactional.products (
    _airbyte_raw_id varchar not null,
    _airbyte_extracted_at timestamptz not null,
    _airbyte_meta jsonb not null,
    _airbyte_generation_id bigint not null,
    product_id varchar,
    name varchar,
    category varchar,
    price numeric,
    cost numeric,
    currency varchar,
    recorded_at timestamptz,
    updated_at timestamptz
);

create table if not exists transactional.users (
    _airbyte_raw_id varchar not null,
    _airbyte_extracted_at timestamptz not null,
    _airbyte_meta jsonb not null,
    _airbyte_generation_id bigint not null,
    user_id varchar,
    name varchar,
    email varchar,
    phone varchar,
    address varchar,
    country varchar,
    created_at timestamptz,
    recorded_at timestamptz,
    updated_at timestamptz
);

create table if not exists transactional.transactions (
    _airbyte_raw_id varchar not null,
    _airbyte_extracted_at timestamptz not null,
    _airbyte_meta jsonb not null,
    _airbyte_generation_id bigint not null,
    transaction_id varchar,
    user_id varchar,
    transacted_at timestamptz,
    recorded_at timestamptz,
    updated_at timestamptz,
    type varchar,
    currency varchar,
    country varchar,
    channel varchar,
    items jsonb
);

create index if not exists products_product_id on transactional.products (product_id);
create index if not exists products_updated_at on transactional.products (updated_at);
create index if not exists products_extracted_at on transactional.products (_airbyte_extracted_at);
create index if not exists users_user_id on transactional.users (user_id);
create index if not exists users_updated_at on transactional.users (updated_at);
create index if not exists users_extracted_at on transactional.users (_airbyte_extracted_at);
create index if not exists transactions_transaction_id on transactional.transactions (transaction_id);
create index if not exists transactions_updated_at on transactional.transactions (updated_at);
create index if not exists transactions_extracted_at
    on transactional.transactions (_airbyte_extracted_at);

comment on table transactional.products is 'A product of the retail API, latest version.';
comment on table transactional.users is 'A user of the retail API, latest version; holds personal data.';
comment on table transactional.transactions is 'A sale or return of the retail API with its lines, latest version.';
