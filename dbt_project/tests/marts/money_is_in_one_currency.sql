with

currencies as (

    select
        currency,
        count(*) as lines_that_count,
        count(*) over () as currencies
    from {{ ref('fct_transaction_items') }}
    where not is_excluded and currency is not null
    group by currency

)

select
    currency,
    lines_that_count
from currencies
where currencies > 1
