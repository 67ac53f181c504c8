with local as (
    select
        i.*,
        p.timezone,
        p.reporting_currency,
        p.fx
    from {{ ref('int_mrr_item_month') }} as i
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    where i.mrr_gross > 0
),

rated as (
    select
        l.*,
        {{ round_half_up('l.mrr_gross * x.numerator', 'x.denominator') }} as gross,
        {{ round_half_up('l.mrr_net * x.numerator', 'x.denominator') }} as net
    from local as l
    inner join {{ ref('int_fx_month') }} as x using (account_id, livemode, timezone, reporting_currency, currency, month)
    where x.numerator is not null
),

-- Where a customer keeps the rates of its changes, its items share what it is worth in proportion, to the last unit.
shared as (
    select
        r.*,
        c.value,
        sum(r.net) over (
            partition by r.account_id, r.livemode, r.policy_hash, r.customer_id, r.month
            order by r.item_id
        ) as up_to,
        sum(r.net) over (partition by r.account_id, r.livemode, r.policy_hash, r.customer_id, r.month) as of_all
    from rated as r
    left join {{ ref('int_mrr_customer_month') }} as c
        on
            r.account_id = c.account_id and r.livemode = c.livemode and r.policy_hash = c.policy_hash
            and c.basis = 'reporting' and r.customer_id = c.customer_id and r.month = c.month
),

reporting as (
    select
        * replace (
            reporting_currency as currency,
            case
                when fx = 'frozen_at_change' and of_all > 0
                    then
                        {{ round_half_up('value::hugeint * up_to', 'of_all') }}
                        - {{ round_half_up('value::hugeint * (up_to - net)', 'of_all') }}
                else net
            end as mrr_net,
            gross as mrr_gross
        )
    from shared
),

every as (
    select
        'local' as basis,
        *
    from local
    union all by name
    select
        'reporting' as basis,
        * exclude (gross, net, value, up_to, of_all)
    from reporting
)

select
    account_id,
    livemode,
    policy_hash,
    basis,
    month,
    currency,
    customer_id,
    subscription_id,
    item_id,
    product_id,
    price_id,
    interval,
    quantity,
    status,
    greatest(mrr_gross, mrr_net)::bigint as mrr_gross,
    (greatest(mrr_gross, mrr_net) - mrr_net)::bigint as discount,
    mrr_net::bigint as mrr_net,
    case source when 'event' then 'exact' when 'snapshot' then 'day' else 'reconstructed' end as history_quality,
    case source
        when 'invoice' then 'before the first event or reading; taken from invoice lines'
        when 'field' then 'before anything was seen; taken from the start of the subscription'
    end as reconstruction_reason
from every
