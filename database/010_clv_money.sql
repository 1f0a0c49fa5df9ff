-- What predictions are worth discounted and as margin, and whether the data reach as far as they do.
set local client_min_messages = warning;

alter table clv.predictions add column if not exists discount_rate double precision;
alter table clv.predictions add column if not exists discounted_value numeric;
alter table clv.predictions add column if not exists predicted_margin numeric;
alter table clv.predictions add column if not exists discounted_margin numeric;
alter table clv.predictions add column if not exists is_extrapolated boolean;
comment on column clv.predictions.discount_rate is 'Yearly rate of the discounted columns: .1 is 10 % a year. Null, as these are, where the prediction is older than the column.';
comment on column clv.predictions.discounted_value is 'Present value of predicted_value at the as-of date; at rate 0 the same.';
comment on column clv.predictions.predicted_margin is 'Expected gross margin in the horizon: predicted_value less the cost of goods; null where no product that was sold has a known cost.';
comment on column clv.predictions.discounted_margin is 'Present value of predicted_margin at the as-of date; null where that is.';
comment on column clv.predictions.is_extrapolated is 'Whether the horizon is longer than any complete outcome in the data: nothing has tested the prediction and its interval.';

alter table clv.segments add column if not exists discounted_value double precision;
alter table clv.segments add column if not exists predicted_margin double precision;
alter table clv.segments add column if not exists discounted_margin double precision;
comment on column clv.segments.discounted_value is 'Present value of their predicted value in all.';
comment on column clv.segments.predicted_margin is 'Their expected gross margin in all; null where no product that was sold has a known cost.';
comment on column clv.segments.discounted_margin is 'Present value of that margin; null where that is.';

alter table clv.model_versions add column if not exists is_extrapolated boolean;
comment on column clv.model_versions.is_extrapolated is 'Whether its horizon is longer than any complete outcome that it could have learned from; null where the version is older than the column.';
