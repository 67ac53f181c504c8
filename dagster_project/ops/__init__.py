"""The ops database: what must be transactional, concurrent, or cannot be rebuilt from landing.

SQLite in the data directory by default, PostgreSQL by `LEDGERLINE_OPS_URL`; the same SQLAlchemy Core code for both.
"""
