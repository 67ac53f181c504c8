-- each entry balances, and its clearing line is the net of its transaction
select
    account_id,
    livemode,
    ref
from {{ ref('fct_journal_line') }}
group by account_id, livemode, ref
having sum(debit) <> sum(credit)
union all
select
    b.account_id,
    b.livemode,
    b.balance_transaction_id
from {{ ref('fct_balance_transaction') }} as b
left join {{ ref('fct_journal_line') }} as l
    on
        b.account_id = l.account_id and b.livemode = l.livemode and b.balance_transaction_id = l.ref
        and l.account_code = 'stripe_clearing'
where b.net <> coalesce(l.debit - l.credit, 0)
