-- Discounted values and margins of predictions, and whether a horizon is longer than the data.
set local client_min_messages = warning;

alter table clv.predictions add column if not exists discount_rate double precision;
alter table clv.predictions add column if not exists discounted_value numeric;
alter table clv.predictions add column if not exists predicted_margin numeric;
alter table clv.predictions add column if not exists discounted_margin numeric;
alter table clv.predictions add column if not exists is_extrapolated boolean;
comment on column clv.predictions.discount_rate is 'Yearly rate of the discounted columns: 0.1 is 10 % a year. Null, like these columns, if the prediction is older than the column.';
comment on column clv.predictions.discounted_value is 'Present value of predicted_value at the as-of date; equal to it at rate 0.';
comment on column clv.predictions.predicted_margin is 'Expected gross margin in the horizon: predicted_value less the cost of goods; null if no sold product has a known cost.';
comment on column clv.predictions.discounted_margin is 'Present value of predicted_margin at the as-of date; null if that is null.';
comment on column clv.predictions.is_extrapolated is 'Whether the horizon is longer than any complete outcome in the data, so that the prediction and its interval are untested.';

alter table clv.segments add column if not exists discounted_value double precision;
alter table clv.segments add column if not exists predicted_margin double precision;
alter table clv.segments add column if not exists discounted_margin double precision;
comment on column clv.segments.discounted_value is 'Total present value of their predicted values.';
comment on column clv.segments.predicted_margin is 'Total of their expected gross margins; null if no sold product has a known cost.';
comment on column clv.segments.discounted_margin is 'Present value of that margin; null if that is null.';

alter table clv.model_versions add column if not exists is_extrapolated boolean;
comment on column clv.model_versions.is_extrapolated is 'Whether its horizon is longer than any complete outcome of its training data; null if the version is older than the column.';
