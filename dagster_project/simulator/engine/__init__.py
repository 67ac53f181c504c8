"""The simulated business: its objects, its clock, its billing rules."""
