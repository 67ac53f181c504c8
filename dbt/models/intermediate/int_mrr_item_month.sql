-- What each subscription item is worth per month at the month's last instant, under each policy.
with states as (
    select
        m.month,
        m.measured_at,
        s.*
    from {{ ref('int_months') }} as m
    inner join {{ ref('int_subscription_item_states') }} as s
        on
            m.account_id = s.account_id and m.livemode = s.livemode
            and s.valid_from <= m.measured_at and m.measured_at < s.valid_to
),

counted as (
    select
        s.*,
        p.policy_hash,
        p.discounts_forever,
        p.discounts_repeating,
        a.product_id,
        a.interval,
        coalesce(a.interval_count, 1) as interval_count,
        a.amount,
        case a.interval
            when 'day' then p.day_numerator when 'week' then p.week_numerator else 1
        end::hugeint as factor_numerator,
        case a.interval
            when 'day' then p.day_denominator when 'week' then p.week_denominator
            when 'year' then p.year_denominator
            else 1
        end::hugeint * coalesce(a.interval_count, 1) as factor_denominator
    from states as s
    inner join {{ ref('int_policies') }} as p using (account_id, livemode)
    inner join {{ ref('int_price_amount') }} as a
        on
            s.account_id = a.account_id and s.livemode = a.livemode and s.price_id = a.price_id
            and s.currency = a.currency and coalesce(s.quantity, 0) = a.quantity
    where
        s.livemode
        and list_contains(string_split(p.statuses, '|'), s.status)
        and a.type = 'recurring'
        and a.usage_type = 'licensed'
        and case s.pause_behavior
            when 'void' then p.pause_void
            when 'mark_uncollectible' then p.pause_mark_uncollectible
            when 'keep_as_draft' then p.pause_keep_as_draft
            else 'count'
        end = 'count'
),

applied as (
    select
        c.account_id,
        c.livemode,
        c.policy_hash,
        c.month,
        c.item_id,
        -- several percentages multiply; hundredths of a percent keep the product whole
        list(10000 - d.percent_hundredths) filter (where d.percent_hundredths is not null) as remaining_hundredths,
        coalesce(sum(d.amount_off) filter (where d.currency = c.currency), 0)::hugeint as amount_off
    from counted as c,
        unnest(
            list_concat(
                coalesce(from_json(c.item_discounts, '["JSON"]'), []),
                coalesce(from_json(c.subscription_discounts, '["JSON"]'), [])
            )
        ) as used (discount)
    inner join {{ ref('int_discounts') }} as d
        on
            c.account_id = d.account_id and c.livemode = d.livemode
            and coalesce(used.discount ->> '$.id', used.discount ->> '$') = d.discount_id
            and d.starts_at <= c.measured_at and (d.ends_at is null or c.measured_at < d.ends_at)
            and case d.duration
                when 'forever' then c.discounts_forever = 'subtract'
                when 'repeating' then c.discounts_repeating = 'subtract_in_force'
                else false
            end
    group by c.account_id, c.livemode, c.policy_hash, c.month, c.item_id
),

scaled as (
    select
        c.*,
        -- minor units times 10^12, so that up to twelve decimals stay whole
        (c.amount * 1000000)::decimal(38, 6)::hugeint * 1000000 as scaled_amount,
        coalesce(list_product(a.remaining_hundredths)::hugeint, 1) as kept,
        pow(10000, coalesce(len(a.remaining_hundredths), 0))::hugeint as kept_of,
        coalesce(a.amount_off, 0) as amount_off,
        sum(c.amount) over (
            partition by c.account_id, c.livemode, c.policy_hash, c.month, c.subscription_id
        ) as subscription_amount
    from counted as c
    left join applied as a using (account_id, livemode, policy_hash, month, item_id)
)

select
    account_id,
    livemode,
    policy_hash,
    month,
    customer_id,
    subscription_id,
    item_id,
    price_id,
    product_id,
    currency,
    interval,
    quantity,
    status,
    source,
    is_exact,
    {{ round_half_up('(scaled_amount * factor_numerator)', '(factor_denominator * 1000000000000)') }} as mrr_gross,
    greatest(
        0,
        {{ round_half_up('(scaled_amount * factor_numerator * kept)', '(factor_denominator * 1000000000000 * kept_of)') }}
        -- an amount off an invoice is shared by the items in proportion to what they cost
        - case
            when amount_off = 0 or subscription_amount = 0 then 0
            else
                {{ round_half_up(
                    '(amount_off * amount::hugeint * factor_numerator)',
                    '(factor_denominator * subscription_amount::hugeint)'
                ) }}
        end
    )::bigint as mrr_net
from scaled
