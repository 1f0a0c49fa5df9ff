{{ config(meta={'dagster': {'ref': {'name': 'customer_features'}}}) }}

with

entries as (

    select * from {{ ref('customer_day_entries') }}

),

dates as (

    select * from {{ ref('int_as_of_dates') }}
    where is_current

),

features as (

    select * from {{ ref('customer_features') }}

),

known_days as (

    select
        dates.as_of_date,
        entries.customer_id,
        entries.date_day,
        sum(entries.net_amount) as net_amount
    from entries
    inner join dates
        on entries.date_day < dates.as_of_date
        and entries.known_date < dates.as_of_date
    group by dates.as_of_date, entries.customer_id, entries.date_day

),

buyers as (

    select
        as_of_date,
        customer_id,
        sum(net_amount) as net_amount
    from known_days
    group by as_of_date, customer_id
    having bool_or(net_amount > 0)

),

current_features as (

    select features.*
    from features
    inner join dates on features.as_of_date = dates.as_of_date

)

select
    customer_id,
    buyers.net_amount as net_amount_of_entries,
    current_features.total_net_amount as net_amount_of_features
from buyers
full outer join current_features using (customer_id)
where buyers.net_amount is distinct from current_features.total_net_amount
