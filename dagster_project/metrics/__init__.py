"""How MRR is counted: policies and exchange rates, which the models read from the warehouse."""
