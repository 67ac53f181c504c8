-- every item of a subscription that carries MRR now has a state row now
{{ config(severity='warn') }}
select
    s.account_id,
    s.livemode,
    s.id
from {{ ref('stg_stripe__subscriptions') }} as s
inner join {{ ref('int_accounts') }} as a using (account_id, livemode)
where
    s.status in ('active', 'past_due')
    and not exists (
        select 1 from {{ ref('int_subscription_item_states') }} as t
        where
            t.account_id = s.account_id and t.livemode = s.livemode and t.subscription_id = s.id
            and t.valid_from <= a.as_of and a.as_of < t.valid_to
    )
