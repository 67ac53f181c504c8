{#- The movements of customers from a relation of (account_id, livemode, policy_hash, customer_id, currency, changed_at,
    month, delta, after): in each currency (basis `local`), and of all currencies together in the reporting currency,
    where every change has the rate of its month. Under `frozen_at_change` a customer keeps the rates of its changes,
    until it is lost. Whoever returns later than the policy's window counts as new. -#}
{% macro movements(steps) -%}
with local as (
    select
        *,
        'local' as basis,
        delta as amount,
        after as value,
        after > 0 as is_there,
        after - delta > 0 as was_there
    from ({{ steps }})
),

currencies as (
    select distinct
        account_id,
        livemode,
        policy_hash,
        customer_id,
        currency
    from local
),

instants as (
    select distinct
        account_id,
        livemode,
        policy_hash,
        customer_id,
        changed_at,
        month
    from local
),

carried as (
    select
        i.*,
        c.currency,
        coalesce(l.delta, 0) as delta,
        coalesce(
            last_value(l.after ignore nulls) over (
                partition by i.account_id, i.livemode, i.policy_hash, i.customer_id, c.currency
                order by i.changed_at
            ),
            0
        ) as after
    from instants as i
    inner join currencies as c using (account_id, livemode, policy_hash, customer_id)
    left join local as l
        on
            i.account_id = l.account_id and i.livemode = l.livemode and i.policy_hash = l.policy_hash
            and i.customer_id = l.customer_id and i.changed_at = l.changed_at and c.currency = l.currency
),

converted as (
    select
        c.account_id,
        c.livemode,
        c.policy_hash,
        c.customer_id,
        p.reporting_currency as currency,
        c.changed_at,
        c.month,
        sum(c.delta)::bigint as delta,
        sum(c.after)::bigint as after,
        'reporting' as basis,
        sum({{ round_half_up('c.delta * x.numerator', 'x.denominator') }})::bigint as amount,
        sum({{ round_half_up('c.after * x.numerator', 'x.denominator') }})::bigint as value,
        bool_or(c.after > 0) as is_there,
        bool_or(c.after - c.delta > 0) as was_there
    from carried as c
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    inner join {{ ref('int_fx_month') }} as x
        on
            c.account_id = x.account_id and c.livemode = x.livemode and p.timezone = x.timezone
            and p.reporting_currency = x.reporting_currency and c.currency = x.currency and c.month = x.month
    where x.numerator is not null
    group by all
),

both_bases as (
    select * exclude (delta, after) from local
    union all by name
    select * exclude (delta, after) from converted
),

looked_back as (
    select
        b.*,
        p.fx = 'frozen_at_change' and b.basis = 'reporting' as is_frozen,
        p.reactivation_window_days,
        coalesce(bool_or(b.is_there) over past, false) as was_ever_there,
        max(case when b.was_there and not b.is_there then b.changed_at end) over past as lost_at,
        count(*) filter (where not b.is_there) over past as times_away
    from both_bases as b
    inner join {{ ref('int_policies') }} as p using (account_id, livemode, policy_hash)
    window
        past as (
            partition by b.account_id, b.livemode, b.policy_hash, b.basis, b.currency, b.customer_id
            order by b.changed_at
            rows between unbounded preceding and 1 preceding
        )
),

summed as (
    select
        *,
        sum(case when is_there then amount else 0 end) over (
            partition by account_id, livemode, policy_hash, basis, currency, customer_id, times_away
            order by changed_at
        ) as held
    from looked_back
),

-- A large loss at a better rate than that of the gains before would leave less than nothing.
kept as (
    select
        *,
        case when not is_frozen then value when is_there then greatest(held, 0) else 0 end as kept_value
    from summed
),

stepped as (
    select
        *,
        kept_value - coalesce(lag(kept_value) over (
            partition by account_id, livemode, policy_hash, basis, currency, customer_id
            order by changed_at
        ), 0) as step
    from kept
)

select
    account_id,
    livemode,
    policy_hash,
    basis,
    currency,
    customer_id,
    changed_at,
    month,
    case
        when is_there and not was_there and not was_ever_there then 'new'
        when
            is_there and not was_there
            and date_diff('second', lost_at, changed_at) > reactivation_window_days * 86400
            then 'new'
        when is_there and not was_there then 'reactivation'
        when was_there and not is_there then 'churn'
        when amount > 0 then 'expansion'
        when amount < 0 then 'contraction'
    end as movement_type,
    (case when is_frozen then step else amount end)::bigint as amount,
    kept_value::bigint as value
from stepped
{%- endmacro %}
