select
    b.account_id,
    b.livemode,
    b.balance_transaction_id
from {{ ref('fct_balance_transaction') }} as b
left join {{ ref('fct_fee') }} as f
    on
        b.account_id = f.account_id and b.livemode = f.livemode
        and b.balance_transaction_id = f.balance_transaction_id and f.line_no > 0
group by b.account_id, b.livemode, b.balance_transaction_id, b.amount, b.fee, b.net
having b.net <> b.amount - b.fee or b.fee <> coalesce(sum(f.amount), 0)
