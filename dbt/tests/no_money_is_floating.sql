-- sum(BIGINT) is HUGEINT, which other engines store as floating point; money is BIGINT or DECIMAL.
-- depends_on: {{ ref('mon_recon_exceptions') }}, {{ ref('invoices_paid') }}, {{ ref('rpt_retention') }}
select
    schema_name,
    table_name,
    column_name,
    data_type
from duckdb_columns()
where
    schema_name in ('stripe', 'marts', 'outcomes')
    and (data_type like '%HUGEINT%' or data_type like '%DOUBLE%' or data_type like '%FLOAT%')
