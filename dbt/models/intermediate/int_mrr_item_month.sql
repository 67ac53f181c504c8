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

-- Each discount maps an amount x to (x * kept - off) / whole; amounts off are whole minor units per invoice.
named as (
    select
        c.account_id,
        c.livemode,
        c.policy_hash,
        c.month,
        c.measured_at,
        c.item_id,
        c.currency,
        c.discounts_forever,
        c.discounts_repeating,
        coalesce(from_json(c.item_discounts, '["JSON"]'), []) as of_item,
        coalesce(from_json(c.subscription_discounts, '["JSON"]'), []) as of_subscription
    from counted as c
    where json_array_length(c.item_discounts) > 0 or json_array_length(c.subscription_discounts) > 0
),

listed as (
    select
        *,
        unnest(list_concat(of_item, of_subscription)) as discount,
        generate_subscripts(list_concat(of_item, of_subscription), 1) as place
    from named
),

maps as (
    select
        n.account_id,
        n.livemode,
        n.policy_hash,
        n.month,
        n.item_id,
        n.place,
        n.place <= len(n.of_item) as is_of_item,
        -- percentages as reduced fractions keep the products small
        case
            when d.percent_hundredths is not null
                then (10000 - d.percent_hundredths) // gcd(10000 - d.percent_hundredths, 10000)
            else 1
        end::hugeint as kept,
        case
            when d.percent_hundredths is not null then 10000 // gcd(10000 - d.percent_hundredths, 10000)
            else 1
        end::hugeint as whole,
        case when d.currency = n.currency then coalesce(d.amount_off, 0) else 0 end::hugeint as amount_off
    from listed as n
    inner join {{ ref('int_discounts') }} as d
        on
            n.account_id = d.account_id and n.livemode = d.livemode
            and coalesce(n.discount ->> '$.id', n.discount ->> '$') = d.discount_id
            and d.starts_at <= n.measured_at and (d.ends_at is null or n.measured_at < d.ends_at)
            and case d.duration
                when 'forever' then n.discounts_forever = 'subtract'
                when 'repeating' then n.discounts_repeating = 'subtract_in_force'
                else false
            end
),

-- In Stripe's order: those of the item, then those of the subscription, each on what the one before left.
applied as (
    select
        account_id,
        livemode,
        policy_hash,
        month,
        item_id,
        list_reduce(
            list(
                {
                    'kept': kept,
                    'whole': whole,
                    'off_item': case when is_of_item then amount_off else 0 end::hugeint,
                    'off_subscription': case when is_of_item then 0 else amount_off end::hugeint
                }
                order by place
            ),
            (a, b) -> {
                'kept': a.kept * b.kept,
                'whole': a.whole * b.whole,
                'off_item': a.off_item * b.kept + b.off_item * a.whole,
                'off_subscription': a.off_subscription * b.kept + b.off_subscription * a.whole
            }
        ) as mapped
    from maps
    group by account_id, livemode, policy_hash, month, item_id
),

scaled as (
    select
        c.*,
        coalesce(struct_extract(a.mapped, 'kept'), 1) as kept,
        coalesce(struct_extract(a.mapped, 'whole'), 1) as whole,
        coalesce(struct_extract(a.mapped, 'off_item'), 0) as off_item,
        coalesce(struct_extract(a.mapped, 'off_subscription'), 0) as off_subscription,
        -- minor units times 10^12, so that up to twelve decimals stay whole
        (c.amount * 1000000)::decimal(38, 6)::hugeint * 1000000 as scaled_amount,
        sum((c.amount * 1000000)::decimal(38, 6)::hugeint * 1000000) over (
            partition by c.account_id, c.livemode, c.policy_hash, c.month, c.subscription_id
        ) as scaled_subscription
    from counted as c
    left join applied as a using (account_id, livemode, policy_hash, month, item_id)
),

divided as (
    select
        *,
        gcd(
            gcd(scaled_amount, case when off_subscription > 0 then scaled_subscription else 0 end::hugeint),
            1000000000000::hugeint
        ) as common
    from scaled
),

-- amount = units / per_unit; an amount off the subscription's invoice is shared by its items: units / of_units each
fractions as (
    select
        *,
        scaled_amount // common as units,
        1000000000000::hugeint // common as per_unit,
        case
            when off_subscription > 0 then greatest(scaled_subscription // common, 1)
            else 1
        end::hugeint as of_units
    from divided
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
    {{ round_half_up('(units * factor_numerator)', '(per_unit * factor_denominator)') }} as mrr_gross,
    {{ round_half_up(
        '(greatest(0, units * kept * of_units - off_item * per_unit * of_units - off_subscription * units * per_unit)'
        ~ ' * factor_numerator)',
        '(per_unit * of_units * whole * factor_denominator)'
    ) }} as mrr_net
from fractions
