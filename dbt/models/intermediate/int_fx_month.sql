-- What one minor unit of a currency is worth in minor units of the reporting currency at the end of a month, as a
-- fraction. The newest rate of the 45 days before counts: of the account's own first, then of a file, then the ECB's.
with needed as (
    select distinct
        s.account_id,
        s.livemode,
        p.policy_hash,
        p.timezone,
        p.reporting_currency,
        s.currency
    from {{ ref('int_mrr_segments') }} as s
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
),

monthly as (
    select distinct
        n.account_id,
        n.livemode,
        n.reporting_currency,
        n.currency,
        n.timezone,
        m.month,
        {{ day_of('m.measured_at', 'n.timezone') }} as day
    from needed as n
    inner join {{ ref('int_months') }} as m using (account_id, livemode, timezone)
),

-- both directions of every rate, as fractions of whole numbers
rates as (
    select
        account_id,
        source,
        day,
        currency,
        to_currency,
        (rate * 1000000000000)::decimal(38, 0)::hugeint as numerator,
        1000000000000::hugeint as denominator
    from {{ source('sync', 'fx_rates') }}
    union all
    select
        account_id,
        source,
        day,
        to_currency,
        currency,
        1000000000000::hugeint,
        (rate * 1000000000000)::decimal(38, 0)::hugeint
    from {{ source('sync', 'fx_rates') }}
    where rate > 0
),

direct as (
    select
        m.*,
        r.numerator,
        r.denominator,
        r.source,
        r.day as rate_day,
        0 as detour
    from monthly as m
    inner join rates as r
        on
            (r.account_id = m.account_id or r.account_id is null)
            and r.currency = m.currency and r.to_currency = m.reporting_currency
            and r.day <= m.day and r.day > m.day - 45
    where m.currency <> m.reporting_currency
),

crossed as (
    select
        m.*,
        a.numerator // gcd(a.numerator, b.denominator) * (b.numerator // gcd(b.numerator, a.denominator)) as numerator,
        a.denominator // gcd(b.numerator, a.denominator) * (b.denominator // gcd(a.numerator, b.denominator))
            as denominator,
        a.source,
        a.day as rate_day,
        1 as detour
    from monthly as m
    inner join rates as a
        on
            (a.account_id = m.account_id or a.account_id is null)
            and a.currency = m.currency and a.to_currency = 'eur' and a.day <= m.day and a.day > m.day - 45
    inner join rates as b
        on
            a.account_id is not distinct from b.account_id and a.source = b.source and a.day = b.day
            and b.currency = 'eur' and b.to_currency = m.reporting_currency
    where m.currency <> m.reporting_currency and m.currency <> 'eur' and m.reporting_currency <> 'eur'
),

found as (
    select * from direct
    union all
    select * from crossed
),

chosen as (
    select * from found
    qualify
        row_number() over (
            partition by account_id, livemode, timezone, reporting_currency, currency, month
            order by account_id is null asc, source = 'ecb' asc, rate_day desc, detour asc
        ) = 1
)

select
    m.account_id,
    m.livemode,
    m.timezone,
    m.reporting_currency,
    m.currency,
    m.month,
    case when m.currency = m.reporting_currency then 1 else c.numerator * pow(10, t.exponent)::hugeint end::hugeint
        as numerator,
    case when m.currency = m.reporting_currency then 1 else c.denominator * pow(10, f.exponent)::hugeint end::hugeint
        as denominator,
    c.source,
    c.rate_day
from monthly as m
left join chosen as c using (account_id, livemode, timezone, reporting_currency, currency, month)
left join {{ ref('stripe_currency') }} as f on m.currency = f.code
left join {{ ref('stripe_currency') }} as t on m.reporting_currency = t.code
