with moved as (
    select
        account_id,
        livemode,
        currency,
        {{ day_of('created') }} as day,
        coalesce(sum(net) filter (where reporting_category not in ('payout', 'payout_reversal')), 0)::bigint as activity,
        coalesce(sum(amount) filter (where reporting_category = 'charge'), 0)::bigint as charges,
        coalesce(sum(amount) filter (where reporting_category in ('refund', 'refund_failure')), 0)::bigint as refunds,
        coalesce(sum(amount) filter (where reporting_category in ('dispute', 'dispute_reversal')), 0)::bigint
            as disputes,
        -(
            coalesce(sum(fee), 0)
            - coalesce(sum(amount) filter (where reporting_category = 'fee'), 0)
        )::bigint as fees,
        coalesce(sum(net) filter (where reporting_category in ('payout', 'payout_reversal')), 0)::bigint as payouts
    from {{ ref('stg_stripe__balance_transactions') }}
    group by account_id, livemode, currency, {{ day_of('created') }}
),

reported as (
    select
        account_id,
        livemode,
        part ->> '$.currency' as currency,
        {{ total("case when side = 'available' then (part ->> '$.amount')::bigint end") }} as available,
        {{ total("case when side = 'pending' then (part ->> '$.amount')::bigint end") }} as pending
    from (
        select
            account_id,
            livemode,
            'available' as side,
            unnest(from_json(available, '["JSON"]')) as part
        from {{ ref('stg_stripe__balance') }}
        union all
        select
            account_id,
            livemode,
            'pending' as side,
            unnest(from_json(pending, '["JSON"]')) as part
        from {{ ref('stg_stripe__balance') }}
    )
    group by account_id, livemode, part ->> '$.currency'
),

-- A currency belongs here when it has transactions, and also when only Stripe reports money in it.
currencies as (
    select
        account_id,
        livemode,
        currency,
        min(day) as first_day
    from (
        select
            account_id,
            livemode,
            currency,
            day
        from moved
        union all
        select
            p.account_id,
            p.livemode,
            p.currency,
            {{ day_of('a.as_of') }} as day
        from reported as p
        inner join {{ ref('int_accounts') }} as a using (account_id, livemode)
        where p.available <> 0 or p.pending <> 0
    )
    group by account_id, livemode, currency
),

days as (
    select
        c.account_id,
        c.livemode,
        c.currency,
        a.as_of,
        unnest(generate_series(c.first_day, {{ day_of('a.as_of') }}, interval 1 day))::date as day
    from currencies as c
    inner join {{ ref('int_accounts') }} as a using (account_id, livemode)
),

filled as (
    select
        d.account_id,
        d.livemode,
        d.currency,
        d.day,
        d.day = {{ day_of('d.as_of') }} as is_last,
        coalesce(m.activity, 0) as activity,
        coalesce(m.charges, 0) as charges,
        coalesce(m.refunds, 0) as refunds,
        coalesce(m.disputes, 0) as disputes,
        coalesce(m.fees, 0) as fees,
        coalesce(m.payouts, 0) as payouts
    from days as d
    left join moved as m using (account_id, livemode, currency, day)
),

running as (
    select
        *,
        sum(activity + payouts) over (
            partition by account_id, livemode, currency
            order by day
        )::bigint as closing
    from filled
),

in_transit as (
    select
        d.account_id,
        d.livemode,
        d.currency,
        d.day,
        {{ total('p.amount') }} as in_transit
    from days as d
    inner join {{ ref('stg_stripe__payouts') }} as p
        on
            d.account_id = p.account_id and d.livemode = p.livemode and d.currency = p.currency
            and {{ day_of('p.created') }} <= d.day and d.day < {{ day_of('p.arrival_date') }}
            and p.status not in ('failed', 'canceled')
    group by d.account_id, d.livemode, d.currency, d.day
)

select
    r.account_id,
    r.livemode,
    r.currency,
    r.day,
    (r.closing - r.activity - r.payouts)::bigint as opening,
    r.activity,
    r.charges,
    r.refunds,
    r.disputes,
    r.fees,
    (r.activity - r.charges - r.refunds - r.disputes - r.fees)::bigint as other,
    r.payouts,
    r.closing,
    coalesce(t.in_transit, 0)::bigint as in_transit,
    -- a currency that Stripe's balance leaves out has no money there; null means that the balance was not read
    case when r.is_last and b.id is not null then coalesce(p.available, 0) end::bigint as available,
    case when r.is_last and b.id is not null then coalesce(p.pending, 0) end::bigint as pending,
    case when r.is_last and b.id is not null then coalesce(p.available + p.pending, 0) end::bigint as stripe_reported,
    case
        when r.is_last and b.id is not null then r.closing - coalesce(p.available + p.pending, 0)
    end::bigint as difference
from running as r
left join {{ ref('stg_stripe__balance') }} as b using (account_id, livemode)
left join reported as p using (account_id, livemode, currency)
left join in_transit as t using (account_id, livemode, currency, day)
