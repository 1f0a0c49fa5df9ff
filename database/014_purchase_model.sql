-- The purchase model beside the data: weekly repeat purchases, and what it infers from a history.

create table if not exists clv.purchase_tracking (
    as_of_date date not null,
    horizon_days integer not null,
    week_start date not null,
    cutoff_date date not null,
    customers integer not null,
    actual_orders integer not null,
    expected_orders double precision not null,
    primary key (as_of_date, horizon_days, week_start)
);
comment on table clv.purchase_tracking is
    'A week: repeat purchases of the customers known at a past cut-off, actual and expected by Pareto/NBD as fitted there. Only the latest as-of date of a horizon stays.';
comment on column clv.purchase_tracking.as_of_date is 'The date of the run.';
comment on column clv.purchase_tracking.horizon_days is 'The horizon, which the cut-off follows from.';
comment on column clv.purchase_tracking.week_start is
    'Its first day; weeks are counted from the cut-off.';
comment on column clv.purchase_tracking.cutoff_date is
    'The latest cut-off with a complete outcome: the model is fitted there, later weeks test it.';
comment on column clv.purchase_tracking.customers is 'Customers who first bought before the cut-off.';
comment on column clv.purchase_tracking.actual_orders is
    'Their purchase days in the week, each customer''s first one not counted.';
comment on column clv.purchase_tracking.expected_orders is 'The expected number of these.';

create table if not exists clv.recency_frequency (
    as_of_date date not null,
    horizon_days integer not null,
    purchases integer not null,
    days_since_last integer not null,
    age_days integer not null,
    probability_alive double precision not null,
    expected_orders double precision not null,
    primary key (as_of_date, horizon_days, purchases, days_since_last)
);
comment on table clv.recency_frequency is
    'A purchase history: how likely Pareto/NBD thinks that such a customer buys again, and how often. Only the latest as-of date of a horizon stays.';
comment on column clv.recency_frequency.as_of_date is 'The date of the run.';
comment on column clv.recency_frequency.horizon_days is 'Days ahead.';
comment on column clv.recency_frequency.purchases is 'Purchase days so far.';
comment on column clv.recency_frequency.days_since_last is 'Days since the last of these.';
comment on column clv.recency_frequency.age_days is
    'Days since the first of these: the median of the customers.';
comment on column clv.recency_frequency.probability_alive is 'Probability of ever buying again.';
comment on column clv.recency_frequency.expected_orders is 'Expected orders within the horizon.';
