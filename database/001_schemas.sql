-- The layers of the pipeline, in the order of the data flow.
set local client_min_messages = warning;

create schema if not exists transactional;
create schema if not exists staging;
create schema if not exists intermediate;
create schema if not exists warehouse;
create schema if not exists clv;
create schema if not exists quality;

comment on schema transactional is 'Records of the retail API as Airbyte lands them: latest version, one table per stream.';
comment on schema staging is 'dbt: typed and renamed landing records, one to one.';
comment on schema intermediate is 'dbt: steps between staging and the marts.';
comment on schema warehouse is 'dbt: the marts for analysts and models.';
comment on schema clv is 'Customer lifetime value: training set, models, predictions, segments.';
comment on schema quality is 'Rejected records with the reason, sync jobs, the state of source and as-of date.';
