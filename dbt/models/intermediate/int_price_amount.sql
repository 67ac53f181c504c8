-- List amount of one period of a price for a quantity, in minor units with up to twelve decimals.
with used as (
    select distinct
        account_id,
        livemode,
        price_id,
        currency,
        coalesce(quantity, 0) as quantity
    from {{ ref('int_subscription_item_states') }}
    where price_id is not null
),

prices as (
    select
        u.account_id,
        u.livemode,
        u.price_id,
        u.currency,
        u.quantity,
        p.type,
        p.product as product_id,
        p.billing_scheme,
        p.tiers_mode,
        p.recurring ->> '$.interval' as interval,
        (p.recurring ->> '$.interval_count')::bigint as interval_count,
        p.recurring ->> '$.usage_type' as usage_type,
        -- a price of another currency than the subscription's says its amounts per currency
        case
            when p.currency = u.currency then coalesce(p.unit_amount_decimal, p.unit_amount)
            else (p.currency_options ->> ('$.' || u.currency || '.unit_amount_decimal'))::decimal(38, 12)
        end as unit_amount,
        case
            when p.currency = u.currency then p.tiers
            else json_extract(p.currency_options, '$.' || u.currency || '.tiers')
        end as tiers,
        (p.transform_quantity ->> '$.divide_by')::bigint as divide_by,
        p.transform_quantity ->> '$.round' as round_to,
        case
            when p.transform_quantity is null then u.quantity
            when (p.transform_quantity ->> '$.round') = 'up'
                then
                    (u.quantity + (p.transform_quantity ->> '$.divide_by')::bigint - 1)
                    // (p.transform_quantity ->> '$.divide_by')::bigint
            else u.quantity // (p.transform_quantity ->> '$.divide_by')::bigint
        end as units
    from used as u
    inner join {{ ref('stg_stripe__prices') }} as p
        on u.account_id = p.account_id and u.livemode = p.livemode and u.price_id = p.id
),

tier as (
    select
        account_id,
        livemode,
        price_id,
        currency,
        quantity,
        tiers_mode,
        units,
        unnest(from_json(tiers, '["JSON"]')) as tier,
        generate_subscripts(from_json(tiers, '["JSON"]'), 1) as place
    from prices
    where billing_scheme = 'tiered' and tiers is not null
),

bounded as (
    select
        *,
        (tier ->> '$.up_to')::bigint as up_to,
        coalesce(
            lag((tier ->> '$.up_to')::bigint)
                over (partition by account_id, livemode, price_id, currency, quantity order by place),
            0
        ) as above,
        coalesce((tier ->> '$.unit_amount_decimal')::decimal(38, 12), (tier ->> '$.unit_amount')::decimal(38, 12), 0)
            as unit_amount,
        coalesce((tier ->> '$.flat_amount_decimal')::decimal(38, 12), (tier ->> '$.flat_amount')::decimal(38, 12), 0)
            as flat_amount
    from tier
),

tiered as (
    select
        account_id,
        livemode,
        price_id,
        currency,
        quantity,
        sum(
            case
                -- volume: all units at the price of the tier that the total reaches
                when tiers_mode = 'volume' and units > above and (up_to is null or units <= up_to)
                    then (units * unit_amount + flat_amount)::decimal(38, 12)
                -- graduated: each tier prices the units that fall into it
                when tiers_mode = 'graduated' and units > above
                    then
                        ((least(units, coalesce(up_to, units)) - above) * unit_amount + flat_amount)::decimal(38, 12)
                else 0::decimal(38, 12)
            end
        )::decimal(38, 12) as amount
    from bounded
    group by account_id, livemode, price_id, currency, quantity
)

select
    p.account_id,
    p.livemode,
    p.price_id,
    p.currency,
    p.quantity,
    p.type,
    p.product_id,
    p.interval,
    p.interval_count,
    p.usage_type,
    case
        when p.billing_scheme = 'tiered' then t.amount
        else (p.units * p.unit_amount)::decimal(38, 12)
    end as amount
from prices as p
left join tiered as t using (account_id, livemode, price_id, currency, quantity)
