with started as (
    select
        account_id,
        livemode,
        min(start_date) as started_at
    from {{ ref('stg_stripe__subscriptions') }}
    group by account_id, livemode
),

zones as (
    select distinct
        account_id,
        livemode,
        timezone,
        as_of
    from {{ ref('int_policies') }}
),

months as (
    select
        z.*,
        unnest(generate_series(
            {{ month_of('s.started_at', 'z.timezone') }}, {{ month_of('z.as_of', 'z.timezone') }}, interval 1 month
        ))::date as month
    from zones as z
    inner join started as s using (account_id, livemode)
)

select
    account_id,
    livemode,
    timezone,
    month,
    {{ starts_at('month', 'timezone') }} as month_start,
    -- the last instant of the month; of the running month, the present
    least({{ starts_at('month + interval 1 month', 'timezone') }} - interval 1 microsecond, as_of) as measured_at
from months
