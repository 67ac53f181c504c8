-- every account that a model posts to, or that the map names, is in the chart of accounts
with used as (
    select account_code as account from {{ ref('fct_journal_line') }}
    union
    select other_side from {{ ref('reporting_category_map') }}
    union
    select line.account
    from (select unnest(journal_lines) as line from {{ ref('invoices_paid') }})
)

select account
from used
anti join {{ ref('chart_of_accounts') }} using (account)
