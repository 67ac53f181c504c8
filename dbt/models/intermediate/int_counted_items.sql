-- When each item carries MRR under each policy, and its price by the period: the switches of a policy that say whether
-- something counts. What discounts leave of it is worked out in int_mrr_segments.
with first_paid as (
    select
        account_id,
        livemode,
        parent ->> '$.subscription_details.subscription' as subscription_id,
        min(to_timestamp((status_transitions ->> '$.paid_at')::bigint)) as first_paid_at
    from {{ ref('stg_stripe__invoices') }}
    where status = 'paid' and amount_paid > 0
    group by all
),

states as (
    select
        s.*,
        f.first_paid_at,
        s.ended_at is not null and s.valid_to = s.ended_at as is_last
    from {{ ref('int_subscription_item_states') }} as s
    left join first_paid as f using (account_id, livemode, subscription_id)
    where s.livemode
),

timed as (
    select
        s.*,
        p.policy_hash,
        p.metered,
        p.inclusive_tax,
        p.day_numerator,
        p.day_denominator,
        p.week_numerator,
        p.week_denominator,
        p.month_numerator,
        p.month_denominator,
        p.year_numerator,
        p.year_denominator,
        p.exclude_products,
        greatest(
            s.valid_from,
            case when p.effective_from = 'created' then s.created end,
            case when p.activation = 'first_payment' then coalesce(s.first_paid_at, 'infinity'::timestamptz) end
        ) as counts_from,
        least(
            -- what was paid for runs to the end of its period, also when it was ended at once
            case
                when p.churn_timing = 'paid_through' and s.is_last and s.status = 'active'
                    then greatest(s.valid_to, s.period_end)
                else s.valid_to
            end,
            case when p.churn_timing = 'canceled_at' then s.canceled_at end,
            case when s.status = 'past_due' then s.status_since + to_days(p.past_due_grace_days) end
        ) as counts_to
    from states as s
    inner join {{ ref('int_policies') }} as p using (account_id, livemode)
    where
        (
            list_contains(p.statuses, s.status)
            or (p.trial_after_paid = 'hold' and s.status = 'trialing' and s.first_paid_at < s.valid_from)
        )
        and case s.pause_behavior
            when 'void' then p.pause_void
            when 'mark_uncollectible' then p.pause_mark_uncollectible
            when 'keep_as_draft' then p.pause_keep_as_draft
            else 'count'
        end = 'count'
),

licensed as (
    select
        t.*,
        a.product_id,
        a.interval,
        coalesce(a.interval_count, 1) as interval_count,
        a.amount
    from timed as t
    inner join {{ ref('int_price_amount') }} as a
        on
            t.account_id = a.account_id and t.livemode = a.livemode and t.price_id = a.price_id
            and t.currency = a.currency and coalesce(t.quantity, 0) = a.quantity
    where a.type = 'recurring' and a.usage_type = 'licensed'
),

used as (
    select
        t.* replace (
            greatest(t.counts_from, u.valid_from) as counts_from,
            least(t.counts_to, u.valid_to) as counts_to
        ),
        p.product as product_id,
        p.recurring ->> '$.interval' as interval,
        coalesce((p.recurring ->> '$.interval_count')::bigint, 1) as interval_count,
        u.amount::decimal(38, 12) as amount
    from timed as t
    inner join {{ ref('int_item_usage') }} as u
        on
            t.account_id = u.account_id and t.livemode = u.livemode and t.item_id = u.item_id
            and t.price_id = u.price_id and u.valid_from < t.counts_to and t.counts_from < u.valid_to
    inner join {{ ref('stg_stripe__prices') }} as p
        on t.account_id = p.account_id and t.livemode = p.livemode and t.price_id = p.id
    where t.metered = 'trailing_invoice'
),

priced as (
    select * from licensed
    union all
    select * from used
)

select
    c.account_id,
    c.livemode,
    c.policy_hash,
    c.customer_id,
    c.subscription_id,
    c.item_id,
    c.price_id,
    c.product_id,
    c.currency,
    c.interval,
    c.interval_count,
    c.quantity,
    c.status,
    c.source,
    c.is_exact,
    c.period_start,
    c.counts_from,
    c.counts_to,
    c.amount,
    case c.interval
        when 'day' then c.day_numerator
        when 'week' then c.week_numerator
        when 'year' then c.year_numerator
        else c.month_numerator
    end::hugeint as factor_numerator,
    case c.interval
        when 'day' then c.day_denominator
        when 'week' then c.week_denominator
        when 'year' then c.year_denominator
        else c.month_denominator
    end::hugeint * c.interval_count as factor_denominator,
    case when c.inclusive_tax = 'strip' then coalesce(x.without_tax, 1) else 1 end::hugeint as without_tax,
    case when c.inclusive_tax = 'strip' then coalesce(x.with_tax, 1) else 1 end::hugeint as with_tax,
    (c.interval_count * case c.interval when 'day' then 1 when 'week' then 7 when 'year' then 365 else 30 end)::bigint
        as interval_days
from priced as c
left join {{ ref('int_item_tax') }} as x using (account_id, livemode, item_id)
where c.counts_from < c.counts_to and not list_contains(coalesce(c.exclude_products, []), c.product_id)
