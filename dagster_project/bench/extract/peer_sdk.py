"""The loop that Stripe's documentation shows, for some seconds. Runs by itself: base URL, path, seconds, folder."""

from __future__ import annotations

import json
import sys
import time

import stripe


def main(base_url: str, path: str, seconds: float) -> dict[str, object]:
    client = stripe.StripeClient("sk_live_benchmark", base_addresses={"api": base_url}, max_network_retries=5)
    began, rows = time.monotonic(), 0
    for _ in getattr(client.v1, path.rsplit("/", 1)[1]).list({"limit": 100}).auto_paging_iter():
        rows += 1
        if rows % 100 == 0 and time.monotonic() - began >= seconds:
            break
    return {
        "rows": rows,
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time(),
        "version": f"stripe {stripe.VERSION}",
    }


if __name__ == "__main__":
    stripe.enable_telemetry = False
    print(json.dumps(main(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
