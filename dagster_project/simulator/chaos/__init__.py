"""Every rare path at high frequency: after it has subscribed, a customer of `chaos` does several things few ever do.

All of it happens by requests, as any caller would send them; what Stripe would refuse does not happen.
"""

from dagster_project.simulator.chaos import billing, payments
from dagster_project.simulator.chaos.deeds import chaotic_arrives

__all__ = ["billing", "chaotic_arrives", "payments"]  # what can be done is known once it is imported
