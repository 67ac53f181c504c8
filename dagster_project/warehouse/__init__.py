"""The DuckDB warehouse: schema, load, history, publication. One process writes; readers use published versions."""
