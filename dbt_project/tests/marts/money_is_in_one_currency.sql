with

currencies as (

    select
        currency,
        count(*) as transactions,
        count(*) over () as currencies
    from {{ ref('stg_retail__transactions') }}
    where currency is not null
    group by currency

)

select
    currency,
    transactions
from currencies
where currencies > 1
