-- Customer lifetime value. Money is numeric; probabilities, ratios and metrics are double precision.
-- There are no foreign keys on purpose: the layers are emptied together, and predictions of older
-- dates stay after their models are deleted.
set local client_min_messages = warning;

create table if not exists clv.training_set (
    customer_id text not null,
    as_of_date date not null,
    horizon_days integer not null,
    future_value numeric not null,
    future_orders integer not null,
    primary key (customer_id, as_of_date, horizon_days)
);
comment on table clv.training_set is 'A customer at a past cut-off with the outcome that followed; the feature columns follow warehouse.customer_features.';
comment on column clv.training_set.customer_id is 'The customer, pseudonymous.';
comment on column clv.training_set.as_of_date is 'The cut-off: features use only data recorded before it (00:00 UTC).';
comment on column clv.training_set.horizon_days is 'Length of the outcome in days.';
comment on column clv.training_set.future_value is 'Net amount from the cut-off to the end of the horizon, floored at 0.';
comment on column clv.training_set.future_orders is 'Purchase days in the horizon.';

create table if not exists clv.backtest_metrics (
    model_name text not null,
    cutoff_date date not null,
    horizon_days integer not null,
    customers integer not null,
    mae double precision,
    mae_over_mean double precision,
    rmse double precision,
    r2 double precision,
    spearman double precision,
    normalized_gini double precision,
    tweedie_deviance double precision,
    bias double precision,
    decile_calibration double precision,
    top_decile_capture double precision,
    coverage_80 double precision,
    training_rows integer,
    fit_seconds double precision,
    as_of_date date not null,
    primary key (model_name, cutoff_date, horizon_days)
);
comment on table clv.backtest_metrics is 'A model at a past cut-off: how well it predicted, out of time; null where a metric is undefined.';
comment on column clv.backtest_metrics.model_name is 'The model.';
comment on column clv.backtest_metrics.cutoff_date is 'The past date that the model predicted from.';
comment on column clv.backtest_metrics.horizon_days is 'Length of the outcome in days.';
comment on column clv.backtest_metrics.customers is 'Customers predicted.';
comment on column clv.backtest_metrics.mae is 'Mean absolute error, in money.';
comment on column clv.backtest_metrics.mae_over_mean is 'Mean absolute error over the mean outcome.';
comment on column clv.backtest_metrics.rmse is 'Root of the mean squared error, in money.';
comment on column clv.backtest_metrics.r2 is '1 - squared error over squared deviation from the mean.';
comment on column clv.backtest_metrics.spearman is 'Rank correlation of prediction and outcome.';
comment on column clv.backtest_metrics.normalized_gini is 'Gini of the ranking by prediction over Gini of the actual ranking; 1 is perfect.';
comment on column clv.backtest_metrics.tweedie_deviance is 'Mean Tweedie deviance, power 1.5, predictions floored at 1 % of the mean outcome.';
comment on column clv.backtest_metrics.bias is 'Total predicted over total actual.';
comment on column clv.backtest_metrics.decile_calibration is 'Sum over predicted deciles of |predicted - actual|, over total actual.';
comment on column clv.backtest_metrics.top_decile_capture is 'Share of the total outcome from the tenth with the highest predictions.';
comment on column clv.backtest_metrics.coverage_80 is 'Share of outcomes inside their 80 % interval.';
comment on column clv.backtest_metrics.training_rows is 'Rows of the model''s training sample.';
comment on column clv.backtest_metrics.fit_seconds is 'Seconds that the fit took.';
comment on column clv.backtest_metrics.as_of_date is 'As-of date of the test: outcomes use data recorded before it.';

create table if not exists clv.backtest_predictions (
    model_name text not null,
    cutoff_date date not null,
    horizon_days integer not null,
    customer_id text not null,
    predicted_value double precision not null,
    lower_80 double precision not null,
    upper_80 double precision not null,
    expected_orders double precision not null,
    probability_active double precision not null,
    actual_value double precision not null,
    primary key (model_name, cutoff_date, horizon_days, customer_id)
);
comment on table clv.backtest_predictions is 'A customer at a past cut-off: a model''s out-of-time prediction and the actual value.';
comment on column clv.backtest_predictions.model_name is 'The model.';
comment on column clv.backtest_predictions.cutoff_date is 'The past date that the model predicted from.';
comment on column clv.backtest_predictions.horizon_days is 'Length of the outcome in days.';
comment on column clv.backtest_predictions.customer_id is 'The customer, pseudonymous.';
comment on column clv.backtest_predictions.predicted_value is 'Expected net amount in the horizon.';
comment on column clv.backtest_predictions.lower_80 is 'Lower end of the 80 % interval.';
comment on column clv.backtest_predictions.upper_80 is 'Upper end of the 80 % interval.';
comment on column clv.backtest_predictions.expected_orders is 'Expected purchase days in the horizon.';
comment on column clv.backtest_predictions.probability_active is 'Probability of a purchase in the horizon.';
comment on column clv.backtest_predictions.actual_value is 'The outcome: net amount in the horizon, floored at 0.';

create table if not exists clv.model_versions (
    model_version text primary key,
    model_name text not null,
    status text not null check (status in ('champion', 'challenger', 'retired')),
    validated boolean not null default false,
    trained_at timestamptz not null,
    training_rows integer not null,
    metrics jsonb,
    data_version text not null,
    as_of_date date not null,
    horizon_days integer not null,
    fit_seconds double precision
);
create unique index if not exists model_versions_one_champion
    on clv.model_versions (status) where status = 'champion';
comment on table clv.model_versions is 'A trained model; the version is derived from its content, so equal models have equal versions.';
comment on column clv.model_versions.model_version is 'Name and digest of the model''s content.';
comment on column clv.model_versions.model_name is 'The kind of model.';
comment on column clv.model_versions.status is 'champion: serves; challenger: fitted in the latest run; retired: all others.';
comment on column clv.model_versions.validated is 'Whether the kind of model met the promotion rule on at least one past cut-off.';
comment on column clv.model_versions.trained_at is 'When it was last trained.';
comment on column clv.model_versions.training_rows is 'Rows of its training sample.';
comment on column clv.model_versions.metrics is 'Mean backtest metrics over the common past cut-offs; null where it was not tested.';
comment on column clv.model_versions.data_version is 'The data it was trained on: source, as-of date, generation.';
comment on column clv.model_versions.as_of_date is 'As-of date: only data recorded before it was used.';
comment on column clv.model_versions.horizon_days is 'Days ahead that it predicts.';
comment on column clv.model_versions.fit_seconds is 'Seconds that the fit took.';

create table if not exists clv.model_artifacts (
    model_version text primary key,
    model_name text not null,
    content jsonb not null
);
comment on table clv.model_artifacts is 'A trained model''s parameters as plain JSON: loading one runs no code.';
comment on column clv.model_artifacts.model_version is 'The version in clv.model_versions.';
comment on column clv.model_artifacts.model_name is 'The kind of model.';
comment on column clv.model_artifacts.content is 'Horizon and parameters.';

create table if not exists clv.abstentions (
    model_name text not null,
    as_of_date date not null,
    horizon_days integer not null,
    reason text not null,
    primary key (model_name, as_of_date, horizon_days)
);
comment on table clv.abstentions is 'A model that could not be fitted at a date and horizon, and why.';
comment on column clv.abstentions.model_name is 'The model.';
comment on column clv.abstentions.as_of_date is 'The date of the fit.';
comment on column clv.abstentions.horizon_days is 'The horizon of the fit.';
comment on column clv.abstentions.reason is 'Why it could not be fitted.';

create table if not exists clv.model_decisions (
    as_of_date date not null,
    horizon_days integer not null,
    decided_at timestamptz not null,
    model_name text not null,
    model_version text not null,
    validated boolean not null,
    reason text not null,
    numbers jsonb not null,
    primary key (as_of_date, horizon_days, decided_at)
);
comment on table clv.model_decisions is 'A decision on which model serves, with its numbers and its reason in one sentence.';
comment on column clv.model_decisions.as_of_date is 'The date that the decision was made for.';
comment on column clv.model_decisions.horizon_days is 'The horizon that it was made for.';
comment on column clv.model_decisions.decided_at is 'When the decision was made.';
comment on column clv.model_decisions.model_name is 'The kind of model that serves.';
comment on column clv.model_decisions.model_version is 'The version that serves.';
comment on column clv.model_decisions.validated is 'Whether it met the promotion rule on at least one past cut-off.';
comment on column clv.model_decisions.reason is 'Why, in one sentence.';
comment on column clv.model_decisions.numbers is 'Incumbent, common cut-offs, leaderboard, abstentions.';

create table if not exists clv.predictions (
    customer_id text not null,
    as_of_date date not null,
    horizon_days integer not null,
    predicted_value numeric not null,
    lower_80 numeric not null,
    upper_80 numeric not null,
    expected_orders double precision not null,
    probability_active double precision not null,
    clv_decile integer not null,
    segment text not null,
    model_name text not null,
    model_version text not null,
    predicted_at timestamptz not null,
    primary key (customer_id, as_of_date, horizon_days)
);
create index if not exists predictions_as_of_date on clv.predictions (as_of_date, horizon_days);
comment on table clv.predictions is 'A customer''s served prediction at an as-of date and horizon; older dates stay.';
comment on column clv.predictions.customer_id is 'The customer, pseudonymous.';
comment on column clv.predictions.as_of_date is 'As-of date: only data recorded before it was used.';
comment on column clv.predictions.horizon_days is 'Days ahead.';
comment on column clv.predictions.predicted_value is 'Expected net amount in the horizon.';
comment on column clv.predictions.lower_80 is 'Lower end of the 80 % interval.';
comment on column clv.predictions.upper_80 is 'Upper end of the 80 % interval.';
comment on column clv.predictions.expected_orders is 'Expected purchase days in the horizon.';
comment on column clv.predictions.probability_active is 'Probability of a purchase in the horizon.';
comment on column clv.predictions.clv_decile is 'Decile of predicted value: 10 is the best tenth, ties together.';
comment on column clv.predictions.segment is 'Value tier and activity, such as "high value, fading".';
comment on column clv.predictions.model_name is 'The kind of model that served.';
comment on column clv.predictions.model_version is 'The version that served.';
comment on column clv.predictions.predicted_at is 'When the prediction was written.';

create table if not exists clv.segments (
    as_of_date date not null,
    horizon_days integer not null,
    segment text not null,
    customers integer not null,
    predicted_value numeric not null,
    share_of_customers double precision not null,
    share_of_value double precision not null,
    mean_predicted_value numeric not null,
    mean_probability_active double precision not null,
    primary key (as_of_date, horizon_days, segment)
);
comment on table clv.segments is 'A segment of the served predictions: its size and its value.';
comment on column clv.segments.as_of_date is 'The date of the predictions.';
comment on column clv.segments.horizon_days is 'Their horizon.';
comment on column clv.segments.segment is 'Value tier and activity, such as "high value, fading".';
comment on column clv.segments.customers is 'Customers in it.';
comment on column clv.segments.predicted_value is 'Total of their predicted values.';
comment on column clv.segments.share_of_customers is 'Their share of the customers.';
comment on column clv.segments.share_of_value is 'Their share of the predicted value.';
comment on column clv.segments.mean_predicted_value is 'Predicted value per customer.';
comment on column clv.segments.mean_probability_active is 'Mean probability of a purchase in the horizon.';

alter table clv.segments add column if not exists past_customers integer;
alter table clv.segments add column if not exists past_mean_value double precision;
alter table clv.segments add column if not exists past_share_of_value double precision;
comment on column clv.segments.past_customers is 'Customers in the segment by the backtest, over all past cut-offs; 0 if there were none.';
comment on column clv.segments.past_mean_value is 'Mean actual value of such a customer within the horizon after a past cut-off; null if there was none.';
comment on column clv.segments.past_share_of_value is 'Their share of all actual values after the past cut-offs.';

create table if not exists clv.rfm_segments (
    as_of_date date not null,
    horizon_days integer not null,
    rfm_segment text not null,
    customers integer not null,
    predicted_value numeric not null,
    share_of_customers double precision not null,
    share_of_value double precision not null,
    mean_predicted_value numeric not null,
    mean_probability_active double precision not null,
    primary key (as_of_date, horizon_days, rfm_segment)
);
comment on table clv.rfm_segments is 'A named RFM segment, for communication: its size and its predicted value.';
comment on column clv.rfm_segments.as_of_date is 'The date of the predictions.';
comment on column clv.rfm_segments.horizon_days is 'Their horizon.';
comment on column clv.rfm_segments.rfm_segment is 'The name in warehouse.customer_rfm.';
comment on column clv.rfm_segments.customers is 'Customers in it.';
comment on column clv.rfm_segments.predicted_value is 'Total of their predicted values.';
comment on column clv.rfm_segments.share_of_customers is 'Their share of the customers.';
comment on column clv.rfm_segments.share_of_value is 'Their share of the predicted value.';
comment on column clv.rfm_segments.mean_predicted_value is 'Predicted value per customer.';
comment on column clv.rfm_segments.mean_probability_active is 'Mean probability of a purchase in the horizon.';

create table if not exists clv.segment_changes (
    as_of_date date not null,
    horizon_days integer not null,
    scheme text not null,
    since_date date not null,
    label_before text not null,
    label_after text not null,
    customers integer not null,
    customers_without_purchase integer not null,
    primary key (as_of_date, horizon_days, scheme, label_before, label_after)
);
comment on table clv.segment_changes is 'A change between two labels (or none, if both are equal) since the previous month start, with the number of customers.';
comment on column clv.segment_changes.as_of_date is 'The date of the later label.';
comment on column clv.segment_changes.horizon_days is 'The horizon of the served model.';
comment on column clv.segment_changes.scheme is 'decision: value and activity, by the served model; rfm: the named RFM segments.';
comment on column clv.segment_changes.since_date is 'The date of the earlier label.';
comment on column clv.segment_changes.label_before is 'The label at the earlier date.';
comment on column clv.segment_changes.label_after is 'The label at the later date.';
comment on column clv.segment_changes.customers is 'Customers at both dates with these labels.';
comment on column clv.segment_changes.customers_without_purchase is 'Those of them who bought nothing in between.';

create table if not exists clv.backtest_summary (
    model_name text not null,
    horizon_days integer not null,
    as_of_date date not null,
    cutoffs integer not null,
    first_cutoff_date date not null,
    last_cutoff_date date not null,
    metrics jsonb not null,
    primary key (model_name, horizon_days)
);
comment on table clv.backtest_summary is 'A model over the past cut-offs that are due: its mean metrics.';
comment on column clv.backtest_summary.model_name is 'The model.';
comment on column clv.backtest_summary.horizon_days is 'Length of the outcome in days.';
comment on column clv.backtest_summary.as_of_date is 'As-of date of the test: outcomes use data recorded before it.';
comment on column clv.backtest_summary.cutoffs is 'Cut-offs that it was tested at; a model that abstained at some has fewer.';
comment on column clv.backtest_summary.first_cutoff_date is 'The earliest of them.';
comment on column clv.backtest_summary.last_cutoff_date is 'The latest of them.';
comment on column clv.backtest_summary.metrics is 'Means of the metrics of clv.backtest_metrics; null where undefined at all of them.';

create table if not exists clv.backtest_abstentions (
    model_name text not null,
    cutoff_date date not null,
    horizon_days integer not null,
    reason text not null,
    primary key (model_name, cutoff_date, horizon_days)
);
comment on table clv.backtest_abstentions is 'A model that could not be fitted at a past cut-off, and why.';
comment on column clv.backtest_abstentions.model_name is 'The model.';
comment on column clv.backtest_abstentions.cutoff_date is 'The cut-off.';
comment on column clv.backtest_abstentions.horizon_days is 'Length of the outcome in days.';
comment on column clv.backtest_abstentions.reason is 'Why it could not be fitted.';

drop table if exists clv.input_digests;
alter table clv.backtest_metrics add column if not exists input_digest text;
comment on column clv.backtest_metrics.input_digest is 'Digest of the code, library versions and rows that the test depends on; if it is unchanged, the cut-off is not tested again.';

alter table clv.model_versions add column if not exists artifact_bytes integer;
alter table clv.model_versions add column if not exists code_version text;
comment on column clv.model_versions.artifact_bytes is 'Length of its content as JSON text.';
comment on column clv.model_versions.code_version is 'Digest of the modeling code and its libraries'' versions.';

create table if not exists clv.model_pins (
    horizon_days integer primary key,
    model_version text not null,
    pinned_at timestamptz not null
);
comment on table clv.model_pins is 'A model version that a user has chosen for a horizon, which overrides the promotion rule.';
comment on column clv.model_pins.horizon_days is 'The horizon.';
comment on column clv.model_pins.model_version is 'The version that serves the horizon.';
comment on column clv.model_pins.pinned_at is 'When the version was chosen.';
