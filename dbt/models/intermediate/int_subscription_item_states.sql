-- Trust: versions that events and re-reads saw come first; before the first of them invoice lines; before those, and
-- only back to the start of the subscription, what was known first.
with versions as (
    select
        account_id,
        livemode,
        id as subscription_id,
        customer as customer_id,
        currency,
        status,
        canceled_at,
        trial_end,
        discounts,
        pause_collection ->> '$.behavior' as pause_behavior,
        valid_from,
        valid_to,
        _valid_from_is_exact as is_exact,
        lag(status) over (
            partition by account_id, livemode, id
            order by valid_from
        ) as status_before
    from {{ source('stripe', 'subscriptions_history') }}
),

with_status as (
    select
        *,
        max(case when coalesce(status_before, '') <> status then valid_from end) over (
            partition by account_id, livemode, subscription_id
            order by valid_from
        ) as status_since
    from versions
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
        current_period_start as period_start,
        current_period_end as period_end,
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
        _deleted_at
    from {{ ref('stg_stripe__subscription_items') }}
),

subscriptions as (
    select
        account_id,
        livemode,
        id as subscription_id,
        customer as customer_id,
        currency,
        start_date,
        created,
        ended_at,
        trial_end
    from {{ ref('stg_stripe__subscriptions') }}
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
        v.status_since,
        v.pause_behavior,
        v.canceled_at,
        v.trial_end,
        i.price_id,
        i.quantity,
        i.period_start,
        i.period_end,
        v.discounts as subscription_discounts,
        i.discounts as item_discounts,
        greatest(v.valid_from, i.valid_from) as valid_from,
        least(
            coalesce(v.valid_to, 'infinity'::timestamptz),
            coalesce(i.valid_to, 'infinity'::timestamptz),
            coalesce(items._deleted_at, 'infinity'::timestamptz)
        ) as valid_to,
        case when v.is_exact and i.is_exact then 'event' else 'snapshot' end as source,
        v.is_exact and i.is_exact as is_exact
    from with_status as v
    inner join item_versions as i
        on
            v.account_id = i.account_id and v.livemode = i.livemode and v.subscription_id = i.subscription_id
            and i.valid_from < coalesce(v.valid_to, 'infinity'::timestamptz)
            and v.valid_from < coalesce(i.valid_to, 'infinity'::timestamptz)
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
        s.customer_id,
        s.currency,
        case when l.period_start < s.trial_end then 'trialing' else 'active' end as status,
        null::timestamptz as status_since,
        null::varchar as pause_behavior,
        null::timestamptz as canceled_at,
        s.trial_end,
        l.price_id,
        l.quantity,
        l.period_start,
        l.period_end,
        l.line_discounts as subscription_discounts,
        null::json as item_discounts,
        l.period_start as valid_from,
        least(
            l.period_end,
            coalesce(f.seen_from, 'infinity'::timestamptz),
            coalesce(lead(l.period_start) over (
                partition by l.account_id, l.livemode, l.item_id
                order by l.period_start
            ), 'infinity'::timestamptz)
        ) as valid_to,
        'invoice' as source,
        false as is_exact
    from lines as l
    inner join subscriptions as s
        on l.account_id = s.account_id and l.livemode = s.livemode and l.subscription_id = s.subscription_id
    left join first_seen as f
        on l.account_id = f.account_id and l.livemode = f.livemode and l.subscription_id = f.subscription_id
    qualify
        row_number() over (
            partition by l.account_id, l.livemode, l.item_id, l.period_start
            order by l.period_end desc, l.amount desc, l.line_id asc
        ) = 1
),

known as (
    select * from seen
    union all
    select * from invoiced where valid_from < valid_to
),

-- Items that the subscription had when it was first known were there from its start, as far as anybody can tell.
first_known as (
    select * from known
    qualify
        valid_from = min(valid_from) over (partition by account_id, livemode, subscription_id)
        and row_number() over (partition by account_id, livemode, item_id order by valid_from) = 1
),

filled as (
    select k.* replace (s.start_date as valid_from, k.valid_from as valid_to, 'field' as source, false as is_exact)
    from first_known as k
    inner join subscriptions as s using (account_id, livemode, subscription_id)
    where s.start_date < k.valid_from
),

every as (
    select * from known
    union all
    select * from filled
)

select
    e.account_id,
    e.livemode,
    e.subscription_id,
    e.item_id,
    e.customer_id,
    e.currency,
    e.status,
    coalesce(e.status_since, e.valid_from) as status_since,
    e.pause_behavior,
    e.canceled_at,
    e.trial_end,
    s.start_date,
    s.created,
    s.ended_at,
    e.price_id,
    e.quantity,
    e.period_start,
    e.period_end,
    e.subscription_discounts,
    e.item_discounts,
    e.valid_from,
    -- a subscription that was seen to have ended later ended when it says so
    case
        when e.status in ('canceled', 'incomplete_expired') then e.valid_to
        else least(e.valid_to, coalesce(s.ended_at, 'infinity'::timestamptz))
    end as valid_to,
    e.source,
    e.is_exact
from every as e
inner join subscriptions as s using (account_id, livemode, subscription_id)
where
    e.valid_from < case
        when e.status in ('canceled', 'incomplete_expired') then e.valid_to
        else least(e.valid_to, coalesce(s.ended_at, 'infinity'::timestamptz))
    end
