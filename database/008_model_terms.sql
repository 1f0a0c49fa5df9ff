-- Terms of interpretable models, metrics of the probability of a purchase, and backtest predictions
-- in double precision.
set local client_min_messages = warning;

create table if not exists clv.model_terms (
    model_version text not null,
    term_number integer not null,
    model_name text not null,
    feature text,
    coefficient double precision,
    parent_number integer,
    branch text check (branch in ('yes', 'no')),
    threshold double precision,
    mean_value double precision,
    customers integer,
    primary key (model_version, term_number)
);
comment on table clv.model_terms is 'A term of an interpretable model: a coefficient of the linear regression, or a node of the decision tree.';
comment on column clv.model_terms.model_version is 'The version in clv.model_versions.';
comment on column clv.model_terms.term_number is 'The term''s number: 0 is the intercept, or the root of the tree.';
comment on column clv.model_terms.model_name is 'The kind of model.';
comment on column clv.model_terms.feature is 'The feature of the coefficient, or of the node''s split; null at a leaf.';
comment on column clv.model_terms.coefficient is 'Change of the square root of value per standard deviation of the feature; null for a node.';
comment on column clv.model_terms.parent_number is 'The node above; null at the root and for a coefficient.';
comment on column clv.model_terms.branch is 'yes: the parent''s feature is at most its threshold; no: it is above.';
comment on column clv.model_terms.threshold is 'Customers whose feature is at most this value go to the child `yes`; null at a leaf.';
comment on column clv.model_terms.mean_value is 'Mean outcome of the training rows in the node.';
comment on column clv.model_terms.customers is 'Training rows in the node: customers, counted once per past cut-off.';

alter table clv.backtest_metrics add column if not exists brier_score double precision;
alter table clv.backtest_metrics add column if not exists reliability_gap double precision;
comment on column clv.backtest_metrics.brier_score is 'Mean squared error of probability_active against the actual purchase (0 or 1).';
comment on column clv.backtest_metrics.reliability_gap is 'Mean difference, over tenths by probability_active, between it and the share of customers who purchased.';

-- With 650,000 estimates a run, decimals would double the time of writing. No-op if done before.
alter table clv.backtest_predictions
    alter column predicted_value type double precision,
    alter column lower_80 type double precision,
    alter column upper_80 type double precision,
    alter column actual_value type double precision;
