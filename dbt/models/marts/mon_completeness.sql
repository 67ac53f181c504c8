-- Counts and checksums of both sides lie in sync.days (the warehouse) and sync.proofs (Stripe, when a day was read once
-- more). Both are kept per list that shows the rows (`via`); checksums are sums, so they add up to those of the day.
with held as (
    select
        account_id,
        livemode,
        object,
        via,
        coalesce(day, date '0001-01-01') as day,
        rows,
        checksum
    from {{ source('sync', 'days') }}
),

shown as (
    select
        account_id,
        livemode,
        object,
        via,
        coalesce(day, date '0001-01-01') as day,
        rows_stripe,
        checksum_stripe,
        rows_warehouse,
        checksum_warehouse,
        agreed,
        method,
        proven_at,
        requests
    from {{ source('sync', 'proofs') }}
),

refused as (
    select
        account_id,
        livemode,
        object
    from {{ source('sync', 'object_state') }}
    where state = 'not_permitted'
),

missed as (
    select
        account_id,
        livemode,
        object,
        min(first_day) as first_day,
        max(last_day) as last_day
    from {{ source('sync', 'gaps') }}
    group by all
),

compared as (
    select
        account_id,
        livemode,
        object,
        via,
        day,
        s.rows_stripe,
        s.checksum_stripe,
        coalesce(h.rows, 0) as rows_warehouse,
        coalesce(h.checksum, 0) as checksum_warehouse,
        s.method,
        s.proven_at,
        s.requests,
        case
            when s.agreed is null then 'open'
            when s.agreed and s.rows_stripe = coalesce(h.rows, 0) and s.checksum_stripe = coalesce(h.checksum, 0)
                then 'proven'
            when s.rows_warehouse = coalesce(h.rows, 0) and s.checksum_warehouse = coalesce(h.checksum, 0)
                then 'different'
            else 'open'
        end as state
    from held as h
    full join shown as s using (account_id, livemode, object, via, day)
    where h.rows is not null or s.rows_stripe > 0
),

stated as (
    select
        c.*,
        r.object is not null as is_refused,
        g.object is not null as is_gapped
    from compared as c
    left join refused as r
        on c.account_id = r.account_id and c.livemode = r.livemode and c.via = r.object
    left join missed as g
        on
            c.account_id = g.account_id and c.livemode = g.livemode and c.via = g.object
            and c.day between g.first_day and g.last_day
)

select
    account_id,
    livemode,
    object,
    nullif(day, date '0001-01-01') as day,
    case when bool_and(rows_stripe is not null) then sum(rows_stripe)::bigint end as rows_stripe,
    sum(rows_warehouse)::bigint as rows_warehouse,
    case
        when bool_and(rows_stripe is not null)
            then printf('%015x', (sum(checksum_stripe) % 1152921504606846976)::bigint)
    end as checksum_stripe,
    printf('%015x', (sum(checksum_warehouse) % 1152921504606846976)::bigint) as checksum_warehouse,
    case when bool_and(rows_stripe is not null) then min(method) else 'list' end as method,
    case when bool_and(proven_at is not null) then min(proven_at) end as proven_at,
    sum(requests)::bigint as requests,
    case
        when bool_or(is_refused) then 'not_permitted'
        when bool_or(is_gapped) and not bool_and(state = 'proven') then 'gapped'
        when bool_or(state = 'different') then 'different'
        when bool_and(state = 'proven') then 'proven'
        else 'open'
    end as state
from stated
group by all
