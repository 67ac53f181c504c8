-- Which discounts reduce which items under each policy, from when to when: those of the item (level 1), of the
-- subscription (2), of the customer (3), in Stripe's order.
with lists as (
    select distinct
        account_id,
        livemode,
        subscription_id,
        item_id,
        1 as level,
        from_json(item_discounts, '["JSON"]') as discounts,
        valid_from,
        valid_to
    from {{ ref('int_subscription_item_states') }}
    where json_array_length(item_discounts) > 0
    union all
    select distinct
        account_id,
        livemode,
        subscription_id,
        null as item_id,
        2 as level,
        from_json(subscription_discounts, '["JSON"]') as discounts,
        valid_from,
        valid_to
    from {{ ref('int_subscription_item_states') }}
    where json_array_length(subscription_discounts) > 0
),

named as (
    select
        account_id,
        livemode,
        subscription_id,
        item_id,
        level,
        valid_from,
        valid_to,
        unnest(list_transform(discounts, lambda x: coalesce(x ->> '$.id', x ->> '$'))) as discount_id,
        generate_subscripts(discounts, 1) as place
    from lists
),

listed as (
    select
        n.account_id,
        n.livemode,
        n.subscription_id,
        n.item_id,
        n.level,
        n.discount_id,
        min(n.place) as place,
        min(n.valid_from) as listed_from,
        max(n.valid_to) as listed_to
    from named as n
    group by all
    union all
    select
        d.account_id,
        d.livemode,
        s.id,
        null,
        3,
        d.discount_id,
        1,
        d.starts_at,
        d.taken_at
    from {{ ref('int_discounts') }} as d
    inner join {{ ref('stg_stripe__subscriptions') }} as s
        on d.account_id = s.account_id and d.livemode = s.livemode and d.customer_id = s.customer
    where d.is_of_customer
),

-- Billing periods are those of the subscription's items under the policy.
periods as (
    select
        account_id,
        livemode,
        policy_hash,
        subscription_id,
        arg_min(period_start, counts_from) as anchor,
        arg_min(interval, counts_from) as unit,
        arg_min(interval_count, counts_from) as count
    from {{ ref('int_counted_items') }}
    group by account_id, livemode, policy_hash, subscription_id
),

windows as (
    select
        l.*,
        d.* exclude (account_id, livemode, discount_id, customer_id),
        p.policy_hash,
        case d.duration
            when 'forever' then p.discounts_forever when 'repeating' then p.discounts_repeating else p.discounts_once
        end as treatment,
        coalesce(
            {{ period_start('r.anchor', 'r.unit', 'r.count', 'd.starts_at', later=true) }}, d.starts_at
        ) as first_period,
        coalesce({{ period_start('r.anchor', 'r.unit', 'r.count', 'd.ends_at', later=true) }}, d.ends_at)
            as covered_to,
        r.unit,
        r.count
    from listed as l
    inner join {{ ref('int_discounts') }} as d using (account_id, livemode, discount_id)
    inner join {{ ref('int_policies') }} as p on l.account_id = p.account_id and l.livemode = p.livemode
    left join periods as r
        on
            l.account_id = r.account_id and l.livemode = r.livemode and l.subscription_id = r.subscription_id
            and p.policy_hash = r.policy_hash
),

bounded as (
    select
        *,
        case treatment
            when 'subtract_first_period' then first_period
            when 'cover_invoiced_period' then greatest(first_period, listed_from)
            else greatest(starts_at, listed_from)
        end as applies_from,
        case treatment
            when 'subtract_first_period'
                then
                    case
                        when unit in ('month', 'year')
                            then first_period + to_months((count * case unit when 'year' then 12 else 1 end)::integer)
                        else first_period + to_days((count * case unit when 'week' then 7 else 1 end)::integer)
                    end
            when 'cover_invoiced_period' then case when listed_to >= ends_at then covered_to else listed_to end
            else least(ends_at, listed_to)
        end as applies_to
    from windows
    where treatment <> 'ignore'
)

select
    account_id,
    livemode,
    policy_hash,
    subscription_id,
    item_id,
    level,
    place,
    discount_id,
    coupon_id,
    duration,
    percent_hundredths,
    amount_off,
    currency,
    currency_options,
    products,
    applies_from,
    applies_to
from bounded
where applies_from < applies_to
