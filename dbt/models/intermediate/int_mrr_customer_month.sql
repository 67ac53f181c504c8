-- A customer's MRR month by month, per currency and in the reporting currency, with the movement between month ends.
{{ movements('select * from ' ~ ref('int_mrr_months')) }}
