-- What intervals are read from, on which side outcomes missed them, and totals of groups.

alter table clv.predictions add column if not exists value_shape double precision;
comment on column clv.predictions.value_shape is
    'Shape of the Gamma distribution of the value, given a purchase: 1 / CV². Null in older rows.';

alter table clv.predictions
    add column if not exists probability_alive double precision,
    add column if not exists next_order_median_date date,
    add column if not exists days_overdue double precision;
comment on column clv.predictions.probability_alive is
    'Probability of ever buying again, at the date; null where the model does not tell.';
comment on column clv.predictions.next_order_median_date is
    'The day by which the next order is as likely as not; null where an order within the horizon is less likely than not.';
comment on column clv.predictions.days_overdue is
    'Days since the last order less the median days between orders that the model expects of the customer: above 0 is late; null with one order.';

alter table clv.backtest_predictions
    add column if not exists value_shape double precision not null default 1;
comment on column clv.backtest_predictions.value_shape is
    'Shape of the Gamma distribution of the value, given a purchase: 1 / CV².';

alter table clv.backtest_metrics add column if not exists below_80 double precision;
alter table clv.backtest_metrics add column if not exists above_80 double precision;
comment on column clv.backtest_metrics.below_80 is
    'Share of outcomes below their 80 % interval.';
comment on column clv.backtest_metrics.above_80 is
    'Share of outcomes above their 80 % interval.';

create table if not exists clv.totals (
    as_of_date date not null,
    horizon_days integer not null,
    grouping text not null,
    group_value text not null,
    customers integer not null,
    predicted_value numeric not null,
    lower_80 numeric not null,
    upper_80 numeric not null,
    expected_orders double precision not null,
    expected_buyers double precision not null,
    actual_before numeric not null,
    predicted_year_ago numeric,
    actual_year_ago numeric,
    model_year_ago text,
    model_version text not null,
    primary key (as_of_date, horizon_days, grouping, group_value)
);
comment on table clv.totals is
    'A group of customers over the horizon: predicted total with its 80 % interval.';
comment on column clv.totals.as_of_date is 'The date of the prediction.';
comment on column clv.totals.horizon_days is 'Days ahead.';
comment on column clv.totals.grouping is
    'all, segment, clv_decile, country, channel or cohort_year.';
comment on column clv.totals.group_value is 'The group, such as a country; all for everybody.';
comment on column clv.totals.customers is 'Its customers.';
comment on column clv.totals.predicted_value is 'Sum of their predicted values.';
comment on column clv.totals.lower_80 is '10th percentile of the group''s total.';
comment on column clv.totals.upper_80 is '90th percentile of the group''s total.';
comment on column clv.totals.expected_orders is 'Sum of their expected orders.';
comment on column clv.totals.expected_buyers is 'Customers expected to buy at least once.';
comment on column clv.totals.actual_before is
    'Net amount of the same customers in as many days before the date.';
comment on column clv.totals.predicted_year_ago is
    'Of everybody: what model_year_ago predicted a year before, out of time.';
comment on column clv.totals.actual_year_ago is 'Of everybody: what came then.';
comment on column clv.totals.model_year_ago is
    'The model of predicted_year_ago: the one that serves, or without its season where that was not tested then.';
comment on column clv.totals.model_version is 'The model that serves.';
