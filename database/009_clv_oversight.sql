-- Monitoring: reasons of predictions, feature importance, drift and past predictions against actual
-- values. Money is numeric.
set local client_min_messages = warning;

create table if not exists clv.prediction_reasons (
    customer_id text not null,
    as_of_date date not null,
    horizon_days integer not null,
    reason_rank integer not null,
    feature_group text not null,
    effect numeric not null,
    explanation text not null,
    primary key (customer_id, as_of_date, horizon_days, reason_rank)
);
comment on table clv.prediction_reasons is 'A reason for a customer''s latest served prediction: a group of features and its effect against the typical customer. Only the latest as-of date of a horizon stays.';
comment on column clv.prediction_reasons.customer_id is 'The customer, pseudonymous.';
comment on column clv.prediction_reasons.as_of_date is 'The date of the prediction.';
comment on column clv.prediction_reasons.horizon_days is 'The horizon of the prediction.';
comment on column clv.prediction_reasons.reason_rank is 'Rank by size of the effect; 1 is the largest.';
comment on column clv.prediction_reasons.feature_group is 'The group of features, as in clv.feature_importance.';
comment on column clv.prediction_reasons.effect is 'Effect in money; over all groups the effects add up to the prediction less that of the typical customer.';
comment on column clv.prediction_reasons.explanation is 'The reason in words, with the typical value.';

create table if not exists clv.feature_importance (
    as_of_date date not null,
    horizon_days integer not null,
    feature_group text not null,
    model_name text not null,
    cutoff_date date not null,
    customers integer not null,
    repeats integer not null,
    deviance_increase double precision not null,
    deviance_increase_sd double precision not null,
    gini_loss double precision not null,
    primary key (as_of_date, horizon_days, feature_group)
);
comment on table clv.feature_importance is 'A group of features: how much worse the served kind of model predicts, out of time at the latest past cut-off, if the group is shuffled.';
comment on column clv.feature_importance.as_of_date is 'The date of the run.';
comment on column clv.feature_importance.horizon_days is 'The horizon.';
comment on column clv.feature_importance.feature_group is 'Features that are shuffled among customers together.';
comment on column clv.feature_importance.model_name is 'The kind of model, fitted as of the cut-off.';
comment on column clv.feature_importance.cutoff_date is 'The past cut-off of the predictions.';
comment on column clv.feature_importance.customers is 'Number of customers in the measurement.';
comment on column clv.feature_importance.repeats is 'Number of shuffles.';
comment on column clv.feature_importance.deviance_increase is 'Mean increase of the Tweedie deviance, as a share of the deviance unshuffled.';
comment on column clv.feature_importance.deviance_increase_sd is 'Its standard deviation over the repeats.';
comment on column clv.feature_importance.gini_loss is 'Mean loss of normalized Gini.';

create table if not exists clv.drift (
    as_of_date date not null,
    horizon_days integer not null,
    reference text not null check (reference in ('training', 'previous')),
    quantity text not null,
    is_prediction boolean not null,
    reference_date date not null,
    customers integer not null,
    reference_customers integer not null,
    stability_index double precision not null,
    chance_95 double precision not null,
    mean_value double precision,
    reference_mean_value double precision,
    bins jsonb not null,
    primary key (as_of_date, horizon_days, reference, quantity)
);
comment on table clv.drift is 'A feature or a prediction: how far its distribution over customers has moved from a reference.';
comment on column clv.drift.as_of_date is 'The date of the run.';
comment on column clv.drift.horizon_days is 'The horizon.';
comment on column clv.drift.reference is 'training: for a feature the past cut-offs of the training sample, for a prediction the backtest''s latest cut-off; previous: the previous as-of date.';
comment on column clv.drift.quantity is 'A column of warehouse.customer_features or of clv.predictions.';
comment on column clv.drift.is_prediction is 'Whether it is one of clv.predictions.';
comment on column clv.drift.reference_date is 'The date of the reference, or its latest date.';
comment on column clv.drift.customers is 'Customers compared; if there are very many, a fixed sample.';
comment on column clv.drift.reference_customers is 'Rows of the reference.';
comment on column clv.drift.stability_index is 'Population stability index over the reference''s tenths: below 0.1 little change, from 0.25 a changed population.';
comment on column clv.drift.chance_95 is '95th percentile of the index for samples of this size without any change.';
comment on column clv.drift.mean_value is 'Mean now; null for texts.';
comment on column clv.drift.reference_mean_value is 'Mean in the reference.';
comment on column clv.drift.bins is 'The bins: label, share now, share in the reference.';

create table if not exists clv.realised_predictions (
    as_of_date date not null,
    horizon_days integer not null,
    origin text not null check (origin in ('served', 'backtest')),
    clv_decile integer not null,
    model_name text not null,
    customers integer not null,
    predicted_value numeric not null,
    realised_value numeric not null,
    inside_80 integer not null,
    expected_active double precision not null,
    realised_active integer not null,
    judged_at_date date not null,
    primary key (as_of_date, horizon_days, origin, clv_decile)
);
comment on table clv.realised_predictions is 'A decile of past predictions whose horizon has passed: predicted and actual values.';
comment on column clv.realised_predictions.as_of_date is 'The as-of date of the predictions.';
comment on column clv.realised_predictions.horizon_days is 'The horizon.';
comment on column clv.realised_predictions.origin is 'served: predictions that were in use; backtest: past predictions of the model that is now in use.';
comment on column clv.realised_predictions.clv_decile is 'Decile of predicted value: 10 is the best tenth.';
comment on column clv.realised_predictions.model_name is 'The kind of model.';
comment on column clv.realised_predictions.customers is 'Customers in the decile.';
comment on column clv.realised_predictions.predicted_value is 'Total of their predicted values.';
comment on column clv.realised_predictions.realised_value is 'Total of their actual values, each floored at 0.';
comment on column clv.realised_predictions.inside_80 is 'Customers whose outcome lay inside the 80 % interval.';
comment on column clv.realised_predictions.expected_active is 'Sum of the probabilities of a purchase.';
comment on column clv.realised_predictions.realised_active is 'Customers whose outcome was above 0.';
comment on column clv.realised_predictions.judged_at_date is 'Outcomes use data recorded before this date.';
