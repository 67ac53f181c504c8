"""A local Stripe: a believable subscription business on a clock, over HTTP, for the unmodified `stripe` SDK."""
