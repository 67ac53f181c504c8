"""The API in front of it: paths, lists, errors, faults, webhooks, and the process that serves them."""
