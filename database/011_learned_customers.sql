-- How many customers models learned from and were tested on, where a shop has very many.

alter table clv.model_versions
    add column if not exists one_customer_in integer not null default 1;
comment on column clv.model_versions.one_customer_in is
    'It learned from one customer in so many, chosen by a digest of the id; 1: from everybody.';

alter table clv.backtest_metrics
    add column if not exists one_customer_in integer not null default 1;
comment on column clv.backtest_metrics.one_customer_in is
    'One customer in so many was tested, chosen by a digest of the id; 1: everybody.';
