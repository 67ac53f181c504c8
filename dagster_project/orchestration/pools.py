"""Who may write at the same time.

DuckDB allows one writing process. Steps that open the build file share a pool (one slot, see dagster.yaml.template),
which covers materializations that a person starts by hand; jobs that write carry a tag of which the run queue lets
one run go at a time, so that no run builds models over rows that another is still loading.
https://docs.dagster.io/guides/operate/managing-concurrency
"""

DUCKDB_WRITE = "duckdb_write"
WRITER_TAG = "ledgerline/writer"
WRITER = {WRITER_TAG: "warehouse"}
