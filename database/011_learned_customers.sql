-- The samples of customers for training and tests if a shop has very many customers.

alter table clv.model_versions
    add column if not exists one_customer_in integer not null default 1;
comment on column clv.model_versions.one_customer_in is
    'The training sample has one customer in so many, chosen by a digest of the id; 1: all customers.';

alter table clv.backtest_metrics
    add column if not exists one_customer_in integer not null default 1;
comment on column clv.backtest_metrics.one_customer_in is
    'The test has one customer in so many, chosen by a digest of the id; 1: all customers.';
