"""What leaves Ledgerline: outcomes (dbt models) → routes (YAML) → effects (ops database) → delivery.

Every message and every push is an effect with a deterministic id, and one function sends them.
"""
