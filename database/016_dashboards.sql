-- What dashboards show beside the predictions: results of checks, and suggestions for segments.

create table if not exists clv.check_results (
    asset text not null,
    check_name text not null,
    outcome text not null check (outcome in ('passed', 'warned', 'failed', 'not run')),
    reason text not null,
    in_this_run boolean not null,
    as_of_date date not null,
    primary key (asset, check_name)
);
comment on table clv.check_results is 'A check: its latest result when the latest report was made.';
comment on column clv.check_results.asset is 'The checked asset.';
comment on column clv.check_results.check_name is 'The check.';
comment on column clv.check_results.outcome is 'passed, warned, failed or not run.';
comment on column clv.check_results.reason is 'What the check found, in words; may be empty.';
comment on column clv.check_results.in_this_run is 'Whether the run of the report evaluated it; else the result is older.';
comment on column clv.check_results.as_of_date is 'As-of date of the report.';

alter table clv.segments add column if not exists action text;
comment on column clv.segments.action is 'A suggestion what to do with such customers; it follows from the segment alone. Null in older rows.';
