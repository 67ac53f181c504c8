"""Worked cases: facts and the numbers they must give, run through the real pipeline."""
