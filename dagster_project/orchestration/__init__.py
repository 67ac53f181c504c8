"""What Dagster runs: assets, checks, jobs, schedules, sensors, pools.

Belongs here: wiring. Does not: anything that knows Stripe, DuckDB or a destination; those functions never import
Dagster, so the command line and the receiver call the same ones. Import the modules directly; nothing is re-exported.
https://docs.dagster.io/guides/build/assets
"""
