{{ config(
    pre_hook="{{ sort_to_group() }}",
    indexes=[
        {'columns': ['transaction_id'], 'unique': true},
        {'columns': ['customer_id', 'transacted_at']},
        {'columns': ['transacted_at']},
    ],
) }}

with

transactions as (

    select * from {{ ref('stg_retail__transactions') }}
    where {{ is_before_as_of_date(['transacted_at', 'recorded_at']) }}

),

items as (

    select * from {{ ref('fct_transaction_items') }}

),

items_by_transaction as (

    select
        transaction_id,
        count(*) as line_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount,
        sum(net_amount) filter (where is_excluded) as excluded_net_amount,
        bool_and(is_excluded) as is_excluded,
        min(exclusion_reason) as exclusion_reason
    from items
    group by transaction_id

),

summed as (

    select

        ---------- ids
        transactions.transaction_id,
        transactions.customer_id,

        ---------- text
        transactions.transaction_type,
        transactions.currency,
        transactions.country,
        transactions.channel,

        ---------- numerics
        cast(coalesce(items_by_transaction.line_count, 0) as integer) as line_count,
        coalesce(items_by_transaction.quantity, 0) as quantity,
        coalesce(items_by_transaction.gross_amount, 0) as gross_amount,
        coalesce(items_by_transaction.discount_amount, 0) as discount_amount,
        coalesce(items_by_transaction.net_amount, 0) as net_amount,
        coalesce(items_by_transaction.excluded_net_amount, 0) as excluded_net_amount,

        ---------- booleans
        coalesce(items_by_transaction.is_excluded, true) as is_excluded,
        case
            when items_by_transaction.transaction_id is null
                then coalesce(transactions.exclusion_reason, 'no lines')
            when items_by_transaction.is_excluded then items_by_transaction.exclusion_reason
        end as exclusion_reason,

        ---------- timestamps
        transactions.transacted_at,
        {{ business_date('transactions.transacted_at') }} as transaction_date,
        transactions.recorded_at,
        transactions.updated_at

    from transactions
    left join items_by_transaction
        on transactions.transaction_id = items_by_transaction.transaction_id

),

numbered as (

    select
        *,
        case
            when transaction_type = 'sale' and not is_excluded and customer_id is not null
                then row_number() over (
                        partition by customer_id, transaction_type, is_excluded
                        order by transacted_at, transaction_id
                    )
        end as order_number
    from summed

),

final as (

    select

        ---------- ids
        transaction_id,
        customer_id,

        ---------- text
        transaction_type,
        currency,
        country,
        channel,

        ---------- numerics
        line_count,
        quantity,
        gross_amount,
        discount_amount,
        net_amount,
        excluded_net_amount,
        cast(order_number as integer) as order_number,

        ---------- booleans
        order_number = 1 as is_first_order,
        is_excluded,
        exclusion_reason,

        ---------- timestamps
        transacted_at,
        transaction_date,
        recorded_at,
        updated_at

    from numbered

)

select * from final
