"""Reads Stripe: what exists (backfill), what changed (change feed and re-reads), what no event announces (sweeps)."""
