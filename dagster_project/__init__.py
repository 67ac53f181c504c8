"""Ledgerline: a Stripe account as a warehouse that finance trusts, and as actions that other teams receive."""

__version__ = "0.1.0"
