"""The promise, tested: after a refresh the warehouse equals Stripe, however it came there."""
