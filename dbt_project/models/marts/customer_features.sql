{{ config(indexes=[
    {'columns': ['customer_id', 'as_of_date'], 'unique': true},
    {'columns': ['as_of_date']},
]) }}

{#- The rule: a line counts for as-of date D if it happened and was recorded before D, 00:00.
    Each entry has the day on which its lines became known (known_date, never before date_day), so
    the rule is known_date < D. A customer-day has one version per known_date, valid from the next
    day until the next version. Joining versions by validity gives each day as it was known at D.

    Money is added as numeric, which is exact, so the order of the rows does not matter. -#}

with

dates as (

    select * from {{ ref('int_as_of_dates') }}

),

entries as (

    select * from {{ ref('customer_day_entries') }}

),

contexts as (

    select * from {{ ref('int_customer_contexts') }}

),

assortments as (

    select * from {{ ref('int_customer_assortments') }}

),

attributes as (

    select * from {{ ref('int_customer_attributes') }}

),

versions as (

    select
        customer_id,
        date_day,
        {{ month_start('date_day') }} as month_start,
        known_date as known_from,
        lead(known_date) over customer_day as known_until,
        sum(net_amount) over customer_day as net_amount,
        sum(sales_amount) over customer_day as sales_amount,
        sum(returns_amount) over customer_day as returns_amount,
        sum(orders) over customer_day as orders,
        sum(return_orders) over customer_day as return_orders,
        sum(lines) over customer_day as lines,
        sum(quantity) over customer_day as quantity,
        sum(priced_lines) over customer_day as priced_lines,
        sum(unit_prices) over customer_day as unit_prices,
        sum(order_hours) over customer_day as order_hours
    from entries
    window customer_day as (partition by customer_id, date_day order by known_date)

),

valued_versions as (

    select
        *,
        -- Trillionths, as a whole number: sums of these are exact in any order.
        case
            when net_amount > 0
                then {{ nearest_integer('1e12 * ln(cast(net_amount as ' ~ double_type() ~ '))') }}
        end as log_value
    from versions

),

known_days as (

    select
        dates.as_of_date,
        {{ days_between('versions.date_day', 'dates.as_of_date') }} as days_ago,
        versions.*,
        versions.net_amount > 0 as is_purchase,
        {{ days_between('lag(versions.date_day) over days_of_a_kind', 'versions.date_day') }}
            as gap_days,
        (versions.month_start is distinct from lag(versions.month_start) over days_of_a_kind)
            as is_first_of_month,
        (row_number() over days_of_a_kind) = 1 as is_first,
        (lead(versions.date_day) over days_of_a_kind) is null as is_last
    from valued_versions as versions
    inner join dates
        on versions.known_from < dates.as_of_date
        and (versions.known_until is null or versions.known_until >= dates.as_of_date)
    window days_of_a_kind as (
        partition by versions.customer_id, dates.as_of_date, versions.net_amount > 0
        order by versions.date_day
    )

),

measured as (

    select
        as_of_date,
        customer_id,

        ---------- purchases
        min(date_day) filter (where is_purchase) as first_purchase_date,
        max(date_day) filter (where is_purchase) as last_purchase_date,
        count(*) filter (where is_purchase) as purchase_days,
        sum(net_amount) as total_net_amount,
        sum(net_amount) filter (where is_purchase) as purchase_amount,
        cast(sum(log_value) * 1e-12 as {{ double_type() }}) as log_purchase_value_sum,
        stddev_samp(net_amount) filter (where is_purchase) as sd_purchase_value,
        max(net_amount) filter (where is_purchase) as max_purchase_value,
        max(net_amount) filter (where is_purchase and is_first) as first_purchase_value,
        max(net_amount) filter (where is_purchase and is_last) as last_purchase_value,

        ---------- windows
        {% for days in [7, 30, 60, 90, 180, 365] -%}
        coalesce(sum(net_amount) filter (where days_ago <= {{ days }}), 0)
            as net_amount_{{ days }}d,
        {% endfor %}
        {%- for days in [30, 90, 180, 365] -%}
        count(*) filter (where is_purchase and days_ago <= {{ days }}) as purchase_days_{{ days }}d,
        {% endfor -%}
        coalesce(sum(net_amount) filter (where days_ago > 90 and days_ago <= 180), 0)
            as net_amount_prev_90d,
        coalesce(sum(net_amount) filter (where days_ago > 275 and days_ago <= 365), 0)
            as net_amount_year_ago_90d,
        coalesce(sum(net_amount) filter (where days_ago > 185 and days_ago <= 365), 0)
            as net_amount_year_ago_180d,
        -- Weights are integers (units of 1e-15): a double would be cast to numeric through text.
        sum(
            net_amount * {{ nearest_integer(
                '1e15 * power(cast(0.5 as ' ~ double_type() ~ '), days_ago / cast(90 as '
                ~ double_type() ~ '))'
            ) }}
        ) * 1e-15 as net_amount_ewm_90d,

        ---------- rhythm
        cast(avg(gap_days) filter (where is_purchase) as {{ double_type() }}) as gap_mean_days,
        cast(stddev_samp(gap_days) filter (where is_purchase) as {{ double_type() }})
            as gap_sd_days,
        percentile_cont(0.5) within group (order by gap_days) filter (where is_purchase)
            as gap_median_days,
        count(*) filter (where is_purchase and is_first_of_month) as active_months,

        ---------- orders and returns
        sum(orders) as orders,
        sum(lines) as lines,
        sum(quantity) as quantity,
        {{ quotient('sum(unit_prices)', 'nullif(sum(priced_lines), 0)') }} as mean_unit_price,
        sum(sales_amount) as sales_amount,
        sum(returns_amount) as returns_amount,
        sum(return_orders) as return_orders,
        min(days_ago) filter (where return_orders > 0) as days_since_return,
        coalesce(sum(orders) filter (where {{ iso_weekday('date_day') }} > 5), 0)
            as weekend_orders,
        sum(order_hours) as order_hours

    from known_days
    group by customer_id, as_of_date
    having count(*) filter (where is_purchase) > 0

),

final as (

    select

        ---------- ids
        measured.customer_id,
        measured.as_of_date,

        ---------- purchases
        {{ month_start('measured.first_purchase_date') }} as cohort_month,
        measured.first_purchase_date,
        measured.last_purchase_date,
        cast(measured.purchase_days as integer) as purchase_days,
        {{ days_between('measured.first_purchase_date', 'measured.as_of_date') }} as age_days,
        {{ days_between('measured.last_purchase_date', 'measured.as_of_date') }} as recency_days,
        measured.total_net_amount,
        measured.purchase_amount,
        {{ quotient('measured.purchase_amount', 'measured.purchase_days') }} as mean_purchase_value,
        measured.log_purchase_value_sum,
        measured.sd_purchase_value,
        measured.max_purchase_value,
        measured.first_purchase_value,
        measured.last_purchase_value,

        ---------- windows
        measured.net_amount_7d,
        measured.net_amount_30d,
        measured.net_amount_60d,
        measured.net_amount_90d,
        measured.net_amount_180d,
        measured.net_amount_365d,
        cast(measured.purchase_days_30d as integer) as purchase_days_30d,
        cast(measured.purchase_days_90d as integer) as purchase_days_90d,
        cast(measured.purchase_days_180d as integer) as purchase_days_180d,
        cast(measured.purchase_days_365d as integer) as purchase_days_365d,
        measured.net_amount_prev_90d,
        measured.net_amount_90d - measured.net_amount_prev_90d as trend_90d,
        measured.net_amount_ewm_90d,
        measured.net_amount_year_ago_90d,
        measured.net_amount_year_ago_180d,

        ---------- rhythm
        measured.gap_mean_days,
        measured.gap_sd_days,
        measured.gap_median_days,
        measured.gap_sd_days / measured.gap_mean_days as gap_cv,
        ({{ days_between('measured.last_purchase_date', 'measured.as_of_date') }})
        / measured.gap_mean_days as recency_over_gap,
        cast(measured.active_months as integer) as active_months,

        ---------- orders and returns
        cast(measured.orders as integer) as orders,
        cast(measured.lines as integer) as lines,
        measured.quantity,
        cast(measured.lines / nullif(measured.orders, 0) as {{ double_type() }}) as lines_per_order,
        measured.mean_unit_price,
        cast(coalesce(assortments.distinct_products, 0) as integer) as distinct_products,
        cast(coalesce(assortments.distinct_categories, 0) as integer) as distinct_categories,
        assortments.mean_list_price,
        measured.returns_amount,
        cast(
            {{ quotient('measured.returns_amount', 'nullif(measured.sales_amount, 0)') }}
            as {{ double_type() }}
        ) as returns_rate,
        cast(measured.return_orders as integer) as return_orders,
        measured.days_since_return,
        cast(measured.weekend_orders / nullif(measured.orders, 0) as {{ double_type() }})
            as weekend_share,
        cast(measured.order_hours / nullif(measured.orders, 0) as {{ double_type() }}) as mean_hour,

        ---------- context
        coalesce(contexts.country, attributes.country) as country,
        contexts.channel,
        {{ days_between('attributes.registered_date', 'measured.as_of_date') }}
            as days_since_registration,
        cast(extract(month from measured.as_of_date) as integer) as month_of_year

    from measured
    left join contexts
        on measured.customer_id = contexts.customer_id
        and measured.as_of_date > contexts.known_from
        and (contexts.known_until is null or measured.as_of_date <= contexts.known_until)
    left join assortments
        on measured.customer_id = assortments.customer_id
        and measured.as_of_date > assortments.known_from
        and (assortments.known_until is null or measured.as_of_date <= assortments.known_until)
    left join attributes
        on measured.customer_id = attributes.customer_id
        and measured.as_of_date > attributes.known_from
        and (attributes.known_until is null or measured.as_of_date <= attributes.known_until)

)

select * from final
