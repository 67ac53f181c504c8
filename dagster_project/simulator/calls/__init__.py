"""What callers change: Stripe's parameters, refusals and answers; one module per kind of object."""
