-- Views for people and tools: one row per customer at the latest served date. Applied again after any
-- other script, so that `select *` has the columns that the script may have added.
set local client_min_messages = warning;

create table if not exists clv.default_horizon (
    is_only_row boolean primary key default true check (is_only_row),
    horizon_days integer not null
);
comment on table clv.default_horizon is 'The horizon of the setting RETAIL_HORIZON_DAYS when customers were last predicted.';

create or replace view clv.current_predictions as
select *
from clv.predictions
where (as_of_date, horizon_days) = (
    select
        served.as_of_date,
        served.horizon_days
    from (
        select
            latest.as_of_date,
            latest.horizon_days,
            max(latest.predicted_at) as predicted_at
        from clv.predictions as latest
        where latest.as_of_date = (select max(dated.as_of_date) from clv.predictions as dated)
        group by latest.as_of_date, latest.horizon_days
    ) as served
    left join clv.default_horizon as wanted on served.horizon_days = wanted.horizon_days
    order by
        wanted.horizon_days asc nulls last,
        served.predicted_at desc
    limit 1
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
