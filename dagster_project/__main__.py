"""`python -m dagster_project` is `ledgerline`."""

from dagster_project.cli import main

main()
