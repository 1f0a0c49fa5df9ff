{{ config(meta={'dagster': {'ref': {'name': 'customer_months'}}}) }}

with

months as (

    select
        customer_id,
        sum(orders) as orders,
        sum(net_amount) as net_amount,
        count(*) filter (where month_status = 'new') as new_months,
        min(month_start) as first_month
    from {{ ref('customer_months') }}
    group by customer_id

),

customers as (

    select * from {{ ref('dim_customers') }}
    where cohort_month is not null

)

select
    customer_id,
    customers.net_amount as net_amount_of_customer,
    months.net_amount as net_amount_of_months
from customers
full outer join months using (customer_id)
where months.net_amount is distinct from customers.net_amount
    or months.orders is distinct from customers.orders
    or months.first_month is distinct from customers.cohort_month
    or months.new_months != 1
