-- The limit for customer_features: one hand-tuned pass over customer_days for all as-of dates. A mark
-- per customer and as-of date joins the days, and window frames over both give the measures. It knows
-- a day only as it is today (no late returns), leaves out the median and what is joined (country,
-- assortment), and adds in floating point; so it is a lower bound, not a replacement.
create temporary table features_pass as
with

dates as (

    select as_of_date from intermediate.int_as_of_dates

),

first_purchases as (

    select
        customer_id,
        min(date_day) as date_day
    from warehouse.customer_days
    where is_purchase
    group by customer_id

),

marked as (

    select
        customer_id,
        date_day - date '2000-01-01' as day,
        cast(null as date) as as_of_date,
        cast(net_amount as double precision) as net_amount,
        case when is_purchase then cast(net_amount as double precision) end as purchase,
        case when is_purchase then date_day - date '2000-01-01' end as purchase_day,
        orders,
        lines,
        return_orders,
        cast(quantity as double precision) as quantity,
        cast(sales_amount as double precision) as sales_amount,
        cast(returns_amount as double precision) as returns_amount
    from warehouse.customer_days
    union all
    select
        first_purchases.customer_id,
        dates.as_of_date - 1 - date '2000-01-01',
        dates.as_of_date,
        null, null, null, null, null, null, null, null, null
    from first_purchases
    inner join dates on first_purchases.date_day < dates.as_of_date

),

measured as (

    select
        customer_id,
        as_of_date,
        min(purchase_day) over so_far as first_purchase_day,
        max(purchase_day) over so_far as last_purchase_day,
        count(purchase) over so_far as purchase_days,
        sum(net_amount) over so_far as total_net_amount,
        sum(purchase) over so_far as purchase_amount,
        stddev_samp(purchase) over so_far as sd_purchase_value,
        max(purchase) over so_far as max_purchase_value,
        sum(orders) over so_far as orders,
        sum(lines) over so_far as lines,
        sum(quantity) over so_far as quantity,
        sum(sales_amount) over so_far as sales_amount,
        sum(returns_amount) over so_far as returns_amount,
        sum(return_orders) over so_far as return_orders,
        sum(net_amount) over (customer range between 6 preceding and current row) as net_7d,
        sum(net_amount) over (customer range between 29 preceding and current row) as net_30d,
        count(purchase) over (customer range between 29 preceding and current row) as days_30d,
        sum(net_amount) over (customer range between 59 preceding and current row) as net_60d,
        sum(net_amount) over (customer range between 89 preceding and current row) as net_90d,
        count(purchase) over (customer range between 89 preceding and current row) as days_90d,
        sum(net_amount) over (customer range between 179 preceding and current row) as net_180d,
        count(purchase) over (customer range between 179 preceding and current row) as days_180d,
        sum(net_amount) over (customer range between 364 preceding and current row) as net_365d,
        count(purchase) over (customer range between 364 preceding and current row) as days_365d,
        sum(net_amount) over (customer range between 179 preceding and 90 preceding) as net_prev,
        sum(net_amount) over (customer range between 364 preceding and 275 preceding) as net_year
    from marked
    window
        customer as (partition by customer_id order by day),
        so_far as (partition by customer_id order by day range unbounded preceding)

)

select * from measured
where as_of_date is not null
