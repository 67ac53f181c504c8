with started as (
    select
        s.account_id,
        s.livemode,
        {{ month_of('min(s.start_date)') }} as first_month
    from {{ ref('stg_stripe__subscriptions') }} as s
    group by s.account_id, s.livemode
),

months as (
    select
        started.account_id,
        started.livemode,
        accounts.as_of,
        unnest(
            generate_series(started.first_month, {{ month_of('accounts.as_of') }}, interval 1 month)
        )::date as month
    from started
    inner join {{ ref('int_accounts') }} as accounts using (account_id, livemode)
)

select
    account_id,
    livemode,
    month,
    {{ starts_at('month') }} as month_start,
    -- the last instant of the month; of the running month, the present
    least({{ starts_at('month + interval 1 month') }} - interval 1 microsecond, as_of) as measured_at
from months
