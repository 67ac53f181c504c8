select *
from {{ ref('invoices_paid') }}
where list_sum(list_transform(journal_lines, x -> x.debit - x.credit)) <> 0
