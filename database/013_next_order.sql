-- How well the time until the next order was predicted, beside two simple rivals.

alter table clv.backtest_metrics
    add column if not exists next_order_loss_50 double precision,
    add column if not exists next_order_loss_80 double precision,
    add column if not exists own_gap_loss_50 double precision,
    add column if not exists own_gap_loss_80 double precision,
    add column if not exists usual_gap_loss_50 double precision,
    add column if not exists usual_gap_loss_80 double precision,
    add column if not exists next_order_error_days double precision,
    add column if not exists own_gap_error_days double precision,
    add column if not exists usual_gap_error_days double precision,
    add column if not exists next_order_pit jsonb;
comment on column clv.backtest_metrics.next_order_loss_50 is
    'Half the mean days between predicted (median) and actual next order, both counted up to the horizon; null for models without dates of orders.';
comment on column clv.backtest_metrics.next_order_loss_80 is
    'Mean pinball loss at .8 of the days until the next order: a late order costs four times as much as an early one.';
comment on column clv.backtest_metrics.own_gap_loss_50 is
    'next_order_loss_50 of a prediction by the customer''s own mean gap between purchases.';
comment on column clv.backtest_metrics.own_gap_loss_80 is
    'next_order_loss_80 of a prediction by the customer''s own mean gap, lengthened by the population''s 80th percentile over its median.';
comment on column clv.backtest_metrics.usual_gap_loss_50 is
    'next_order_loss_50 of a prediction by the population''s median gap.';
comment on column clv.backtest_metrics.usual_gap_loss_80 is
    'next_order_loss_80 of a prediction by the population''s 80th percentile of gaps.';
comment on column clv.backtest_metrics.next_order_error_days is
    'Mean days between predicted (median) and actual next order of the customers with a predicted date, both counted up to the horizon.';
comment on column clv.backtest_metrics.own_gap_error_days is
    'The same for the same customers by the customer''s own mean gap.';
comment on column clv.backtest_metrics.usual_gap_error_days is
    'The same for the same customers by the population''s median gap.';
comment on column clv.backtest_metrics.next_order_pit is
    'Shares of customers by tenths of the predicted probability of an order up to the actual one; all .1 for a perfect model.';
