"""HTTP in: Stripe's webhooks are verified, stored and answered. Nothing here opens the warehouse."""
