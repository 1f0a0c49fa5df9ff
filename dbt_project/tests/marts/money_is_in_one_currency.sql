select
    currency,
    count(*) as transactions
from {{ ref('stg_retail__transactions') }}
where (
    select count(distinct currency) from {{ ref('stg_retail__transactions') }}
) > 1
group by currency
