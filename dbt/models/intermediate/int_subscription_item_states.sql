-- Trust: versions that events and re-reads saw come first; before the first of them, invoice lines, bounded by the
-- subscription's own dates.
with versions as (
    select
        account_id,
        livemode,
        id as subscription_id,
        customer as customer_id,
        currency,
        status,
        start_date,
        ended_at,
        discounts,
        pause_collection ->> '$.behavior' as pause_behavior,
        valid_from,
        valid_to,
        _valid_from_is_exact as is_exact
    from {{ source('stripe', 'subscriptions_history') }}
),

item_versions as (
    select
        account_id,
        livemode,
        id as item_id,
        subscription as subscription_id,
        price ->> '$.id' as price_id,
        quantity,
        discounts,
        valid_from,
        valid_to,
        _valid_from_is_exact as is_exact
    from {{ source('stripe', 'subscription_items_history') }}
),

items as (
    select
        account_id,
        livemode,
        id as item_id,
        created,
        _deleted_at
    from {{ ref('stg_stripe__subscription_items') }}
),

seen as (
    select
        v.account_id,
        v.livemode,
        v.subscription_id,
        i.item_id,
        v.customer_id,
        v.currency,
        v.status,
        v.pause_behavior,
        i.price_id,
        i.quantity,
        -- the customer's own discount counts only where the subscription has none
        case
            when json_array_length(v.discounts) > 0 or c.discount is null then v.discounts
            else json_array(c.discount)
        end as subscription_discounts,
        i.discounts as item_discounts,
        v.ended_at,
        greatest(v.valid_from, i.valid_from) as valid_from,
        least(
            coalesce(v.valid_to, 'infinity'::timestamptz),
            coalesce(i.valid_to, 'infinity'::timestamptz),
            coalesce(items._deleted_at, 'infinity'::timestamptz)
        ) as valid_to,
        case when v.is_exact and i.is_exact then 'event' else 'snapshot' end as source,
        v.is_exact and i.is_exact as is_exact
    from versions as v
    inner join item_versions as i
        on
            v.account_id = i.account_id and v.livemode = i.livemode and v.subscription_id = i.subscription_id
            and i.valid_from < coalesce(v.valid_to, 'infinity'::timestamptz)
            and v.valid_from < coalesce(i.valid_to, 'infinity'::timestamptz)
    left join {{ ref('stg_stripe__customers') }} as c
        on v.account_id = c.account_id and v.livemode = c.livemode and v.customer_id = c.id
    left join items
        on i.account_id = items.account_id and i.livemode = items.livemode and i.item_id = items.item_id
),

first_seen as (
    select
        account_id,
        livemode,
        subscription_id,
        min(valid_from) as seen_from
    from seen
    group by account_id, livemode, subscription_id
),

lines as (
    select
        l.account_id,
        l.livemode,
        l.parent ->> '$.subscription_item_details.subscription' as subscription_id,
        l.parent ->> '$.subscription_item_details.subscription_item' as item_id,
        l.pricing ->> '$.price_details.price' as price_id,
        l.quantity,
        l.amount,
        l.id as line_id,
        -- `discounts` of a line are only its own; what its amounts were reduced by names those of the subscription too
        case
            when json_array_length(l.discount_amounts) > 0 then to_json(json_extract(l.discount_amounts, '$[*].discount'))
            else l.discounts
        end as line_discounts,
        to_timestamp((l.period ->> '$.start')::bigint) as period_start,
        to_timestamp((l.period ->> '$.end')::bigint) as period_end
    from {{ ref('stg_stripe__invoice_line_items') }} as l
    inner join {{ ref('stg_stripe__invoices') }} as i
        on l.account_id = i.account_id and l.livemode = i.livemode and l.invoice = i.id
    where
        (l.parent ->> '$.type') = 'subscription_item_details'
        and i.status in ('paid', 'open', 'uncollectible')
        -- the credit for the rest of a period says what was, not what is from then on
        and not (l.amount < 0 and coalesce((l.parent ->> '$.subscription_item_details.proration')::boolean, false))
        and not l.is_deleted
),

invoiced as (
    select
        l.account_id,
        l.livemode,
        l.subscription_id,
        l.item_id,
        s.customer as customer_id,
        s.currency,
        case when l.period_start < s.trial_end then 'trialing' else 'active' end as status,
        null::varchar as pause_behavior,
        l.price_id,
        l.quantity,
        l.line_discounts as subscription_discounts,
        null::json as item_discounts,
        s.ended_at,
        l.period_start as valid_from,
        least(
            l.period_end,
            coalesce(s.ended_at, 'infinity'::timestamptz),
            coalesce(f.seen_from, 'infinity'::timestamptz),
            coalesce(lead(l.period_start) over (
                partition by l.account_id, l.livemode, l.item_id
                order by l.period_start
            ), 'infinity'::timestamptz)
        ) as valid_to,
        'invoice' as source,
        false as is_exact
    from lines as l
    inner join {{ ref('stg_stripe__subscriptions') }} as s
        on l.account_id = s.account_id and l.livemode = s.livemode and l.subscription_id = s.id
    left join first_seen as f
        on l.account_id = f.account_id and l.livemode = f.livemode and l.subscription_id = f.subscription_id
    qualify
        row_number() over (
            partition by l.account_id, l.livemode, l.item_id, l.period_start
            order by l.period_end desc, l.amount desc, l.line_id asc
        ) = 1
),

every as (
    select * from seen
    union all
    select * from invoiced
)

select
    account_id,
    livemode,
    subscription_id,
    item_id,
    customer_id,
    currency,
    status,
    pause_behavior,
    price_id,
    quantity,
    subscription_discounts,
    item_discounts,
    ended_at,
    valid_from,
    valid_to,
    source,
    is_exact
from every
where valid_from < valid_to
