-- Views for people and tools: one row per customer at the latest served date. Applied again after any
-- other script, so that `select *` has the columns that the script may have added.
set local client_min_messages = warning;

create table if not exists clv.default_horizon (
    is_only_row boolean primary key default true check (is_only_row),
    horizon_days integer not null
);
comment on table clv.default_horizon is 'The horizon of the setting RETAIL_HORIZON_DAYS when customers were last predicted.';

create or replace view clv.latest_serving as
select
    served.as_of_date,
    served.horizon_days,
    served.predicted_at,
    served.model_name,
    (
        select max(earlier.as_of_date)
        from clv.segments as earlier
        where
            earlier.horizon_days = served.horizon_days
            and earlier.as_of_date < served.as_of_date
    ) as previous_date
from (
    select
        latest.as_of_date,
        latest.horizon_days,
        max(latest.predicted_at) as predicted_at,
        min(latest.model_name) as model_name
    from clv.predictions as latest
    where latest.as_of_date = (select max(dated.as_of_date) from clv.predictions as dated)
    group by latest.as_of_date, latest.horizon_days
) as served
left join clv.default_horizon as wanted on served.horizon_days = wanted.horizon_days
order by
    wanted.horizon_days asc nulls last,
    served.predicted_at desc
limit 1;
comment on view clv.latest_serving is 'The latest served date, over the default horizon if that date has it, with the served date before; one row.';

create or replace view clv.current_predictions as
select *
from clv.predictions
where (as_of_date, horizon_days) = (
    select
        serving.as_of_date,
        serving.horizon_days
    from clv.latest_serving as serving
);
comment on view clv.current_predictions is 'A customer''s prediction at the latest served date, over the default horizon where that date has it.';

-- dbt replaces the marts and drops the views on them. A function's body is no dependency, so this
-- view stays. The caller's rights apply to the tables inside.
set local check_function_bodies = off;

create or replace function clv.customers() returns table (
    customer_id text,
    country text,
    cohort_month date,
    first_purchase_date date,
    last_purchase_date date,
    purchase_days integer,
    orders integer,
    net_amount numeric,
    average_order_value numeric,
    average_days_between_orders double precision,
    rfm_segment text,
    r_score integer,
    f_score integer,
    m_score integer
) language sql stable as $$
    select
        customers.customer_id,
        customers.country,
        customers.cohort_month,
        customers.first_purchase_date,
        customers.last_purchase_date,
        customers.purchase_days,
        customers.orders,
        customers.net_amount,
        days.sales_amount / nullif(customers.orders, 0),
        (customers.last_purchase_date - customers.first_purchase_date)
        / nullif(customers.purchase_days - 1, 0)::double precision,
        rfm.rfm_segment,
        rfm.r_score,
        rfm.f_score,
        rfm.m_score
    from warehouse.dim_customers as customers
    left join (
        select
            entries.customer_id,
            sum(entries.sales_amount) as sales_amount
        from warehouse.customer_days as entries
        group by entries.customer_id
    ) as days on customers.customer_id = days.customer_id
    left join warehouse.customer_rfm as rfm on customers.customer_id = rfm.customer_id
$$;
comment on function clv.customers is 'One row per customer of the marts: history and RFM segment.';
grant execute on function clv.customers to retail_scientist, retail_reader;

create or replace view clv.customer_360 as
select
    customers.customer_id,
    customers.country,
    customers.cohort_month,
    customers.first_purchase_date,
    customers.last_purchase_date,
    customers.purchase_days,
    customers.orders,
    customers.net_amount,
    customers.average_order_value,
    customers.average_days_between_orders,
    customers.rfm_segment,
    customers.r_score,
    customers.f_score,
    customers.m_score,
    predictions.as_of_date,
    predictions.horizon_days,
    predictions.predicted_value,
    predictions.lower_80,
    predictions.upper_80,
    predictions.predicted_margin,
    predictions.expected_orders,
    predictions.probability_active,
    predictions.probability_alive,
    predictions.next_order_median_date,
    predictions.days_overdue,
    predictions.clv_decile,
    predictions.segment,
    predictions.model_name,
    predictions.model_version,
    predictions.predicted_at
from clv.customers() as customers
left join clv.current_predictions as predictions on customers.customer_id = predictions.customer_id;
comment on view clv.customer_360 is 'A customer: history, RFM segment and current prediction; null without a purchase before the date.';

-- What dashboards may know of the schema `quality`: counts, money and times, no record and no name of
-- a source. A view reads with the rights of its owner.
create or replace view clv.rejected_lines with (security_barrier) as
select
    losses.treatment,
    losses.reason,
    losses.lines,
    losses.net_amount,
    losses.unknown_amounts
from quality.file_losses as losses
union all
select
    'rejected' as treatment,
    'invalid records of ' || records.stream as reason,
    count(*) as lines,
    null::double precision as net_amount,
    count(*) as unknown_amounts
from quality.rejected_records as records
where records.stream <> 'transactions_file'
group by records.stream;
comment on view clv.rejected_lines is 'A reason for which lines or records of the source are not used, or not as they are: their number and the money that can be read.';

create or replace view clv.landed_streams with (security_barrier) as
select
    landed.stream,
    landed.as_of,
    landed.landed_at
from quality.landed_streams as landed;
comment on view clv.landed_streams is 'A stream of the source: the as-of date and the time of its latest landing.';
