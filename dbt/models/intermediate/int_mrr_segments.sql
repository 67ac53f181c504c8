-- noqa: disable=PRS,RF01,LT01,LT02,LT04,LT05
-- (the linter does not know DuckDB's lambda functions)
-- What each subscription item is worth per month under each policy, from when to when. Where no discount applies that
-- is the price; elsewhere time is cut wherever an item or a discount of the subscription begins or ends, because an
-- amount off is shared by the items.
with counted as (
    select
        c.*,
        gcd((c.amount * 1000000)::decimal(38, 6)::hugeint * 1000000, 1000000000000::hugeint) as common
    from {{ ref('int_counted_items') }} as c
),

reduced as (
    select
        *,
        (amount * 1000000)::decimal(38, 6)::hugeint * 1000000 // common * factor_numerator * without_tax as numerator,
        1000000000000::hugeint // common * factor_denominator * with_tax as denominator
    from counted
),

priced as (
    select
        * replace (
            numerator // gcd(numerator, denominator) as numerator,
            denominator // gcd(numerator, denominator) as denominator
        )
    from reduced
),

discounted as (
    select distinct
        account_id,
        livemode,
        policy_hash,
        subscription_id
    from {{ ref('int_discount_applications') }}
),

plain as (
    select
        p.*,
        p.counts_from as valid_from,
        p.counts_to as valid_to,
        {{ round_half_up('p.numerator', 'p.denominator') }} as mrr_net
    from priced as p
    anti join discounted using (account_id, livemode, policy_hash, subscription_id)
),

reducible as (
    select * from priced
    semi join discounted using (account_id, livemode, policy_hash, subscription_id)
),

edges as (
    select
        account_id,
        livemode,
        policy_hash,
        subscription_id,
        unnest([counts_from, counts_to]) as edge
    from reducible
    union
    select
        account_id,
        livemode,
        policy_hash,
        subscription_id,
        unnest([applies_from, applies_to])
    from {{ ref('int_discount_applications') }}
),

pieces as (
    select
        *,
        lead(edge) over (partition by account_id, livemode, policy_hash, subscription_id order by edge) as until
    from edges
    qualify until is not null
),

items as (
    select
        r.*,
        p.edge,
        p.until
    from pieces as p
    inner join reducible as r
        on
            p.account_id = r.account_id and p.livemode = r.livemode and p.policy_hash = r.policy_hash
            and p.subscription_id = r.subscription_id and r.counts_from <= p.edge and p.until <= r.counts_to
),

grouped as (
    select
        account_id,
        livemode,
        policy_hash,
        subscription_id,
        edge,
        until,
        any_value(currency) as currency,
        list(
            {
                'item_id': item_id,
                'product_id': product_id,
                'numerator': numerator,
                'denominator': denominator,
                'days': interval_days,
                'factor_numerator': factor_numerator,
                'factor_denominator': factor_denominator
            }
            order by item_id
        ) as items
    from items
    group by all
),

over_one as (
    select
        *,
        list_reduce(list_transform(items, lambda i: i.denominator), lambda a, b: lcm(a, b)) as over
    from grouped
),

applied as (
    select
        g.account_id,
        g.livemode,
        g.policy_hash,
        g.subscription_id,
        g.edge,
        a.level,
        a.place,
        a.discount_id,
        a.percent_hundredths,
        case
            when a.percent_hundredths is not null then null
            when a.currency = g.currency then a.amount_off
            else coalesce((a.currency_options ->> ('$.' || g.currency || '.amount_off'))::bigint, 0)
        end as amount_off,
        list_transform(
            g.items,
            lambda i: (a.level <> 1 or i.item_id = a.item_id)
            and (a.products is null or list_contains(a.products, i.product_id))
        ) as of,
        g.items
    from over_one as g
    inner join {{ ref('int_discount_applications') }} as a
        on
            g.account_id = a.account_id and g.livemode = a.livemode and g.policy_hash = a.policy_hash
            and g.subscription_id = a.subscription_id and a.applies_from <= g.edge and g.until <= a.applies_to
    -- the customer's own discount counts only where the subscription has none
    qualify
        a.level < 3
        or not bool_or(a.level = 2) over (partition by g.account_id, g.livemode, g.policy_hash, g.subscription_id, g.edge)
),

-- An amount off is taken from each invoice, so it is brought to a month like the items that are invoiced most often.
shared as (
    select
        *,
        list_sort(list_filter(
            list_transform(
                items,
                lambda i, n: case
                    when of[n]
                        then {
                            'days': i.days,
                            'factor_numerator': i.factor_numerator,
                            'factor_denominator': i.factor_denominator
                        }
                end
            ),
            lambda x: x is not null
        ))[1] as shortest
    from applied
),

steps as (
    select
        account_id,
        livemode,
        policy_hash,
        subscription_id,
        edge,
        list(
            {
                'of': of,
                'kept': coalesce(10000 - percent_hundredths, 1)::hugeint,
                'whole': case when percent_hundredths is null then 1 else 10000 end::hugeint,
                'off': (amount_off * coalesce(shortest.factor_numerator, 1))::hugeint,
                'per': coalesce(shortest.factor_denominator, 1)::hugeint
            }
            order by level, place, discount_id
        ) as steps
    from shared
    group by all
),

left_over as (
    select
        g.account_id,
        g.livemode,
        g.policy_hash,
        g.subscription_id,
        g.edge,
        list_transform(g.items, lambda i: i.item_id) as item_ids,
        case
            when s.steps is null
                then {
                    'n': list_transform(g.items, lambda i: i.numerator * (g.over // i.denominator)),
                    'd': g.over
                }
            else {{ discounted(
                'list_transform(g.items, lambda i: i.numerator * (g.over // i.denominator))', 'g.over', 's.steps'
            ) }}
        end as remains
    from over_one as g
    left join steps as s using (account_id, livemode, policy_hash, subscription_id, edge)
),

per_item as (
    select
        account_id,
        livemode,
        policy_hash,
        subscription_id,
        edge,
        unnest(item_ids) as item_id,
        unnest(remains.n) as numerator_net,
        remains.d as denominator_net
    from left_over
),

reduced_items as (
    select
        i.* exclude (edge, until),
        i.edge as valid_from,
        i.until as valid_to,
        {{ round_half_up('n.numerator_net', 'n.denominator_net') }} as mrr_net
    from items as i
    left join per_item as n using (account_id, livemode, policy_hash, subscription_id, edge, item_id)
),

every as (
    select * from plain
    union all
    select * from reduced_items
)

select
    account_id,
    livemode,
    policy_hash,
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
    valid_from,
    valid_to,
    {{ round_half_up('numerator', 'denominator') }} as mrr_gross,
    mrr_net
from every
