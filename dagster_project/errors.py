"""What can go wrong, in one place. A message names the object and the cause; `next_step` says what to do.

LedgerlineError
├── UsageError               the command line, .env, a YAML file or a name is wrong        exit 2
│   └── SettingError
├── StripeError              Stripe (or what stands for it) did not give what was asked     exit 1
│   ├── StripeUnreachable    no connection, or an answer that is not Stripe's
│   ├── StripeAuthError      401: the key is wrong; stops this account
│   ├── StripePermissionError  403: the key may not read this object; the others go on
│   └── StripeAnswerError    any other refusal, or a body that is cut short or not JSON
├── LandingError             a landed file is truncated or does not fit its manifest
├── WarehouseError           the warehouse cannot be opened, written or published
│   └── WarehouseLocked      another process writes
├── StorageError             disk full, read-only or not permitted
├── PortInUse
└── DeliveryError            an effect could not be delivered
"""

from __future__ import annotations


class LedgerlineError(Exception):
    """A failure that a person can act on. `exit_code` is what `ledgerline` exits with."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} Next: {self.next_step}" if self.next_step else self.message


class UsageError(LedgerlineError):
    exit_code = 2


class SettingError(UsageError):
    pass


class StripeError(LedgerlineError):
    """`status` is the HTTP status or None; `request_id` Stripe's id of the request, for its support."""

    def __init__(
        self, message: str, next_step: str = "", *, status: int | None = None, request_id: str | None = None
    ) -> None:
        if request_id:
            message = f"{message} (request {request_id})"
        super().__init__(message, next_step)
        self.status = status
        self.request_id = request_id


class StripeUnreachable(StripeError):
    pass


class StripeAuthError(StripeError):
    pass


class StripePermissionError(StripeError):
    pass


class StripeAnswerError(StripeError):
    pass


class LandingError(LedgerlineError):
    pass


class WarehouseError(LedgerlineError):
    pass


class WarehouseLocked(WarehouseError):
    pass


class StorageError(LedgerlineError):
    pass


class PortInUse(LedgerlineError):
    pass


class DeliveryError(LedgerlineError):
    pass
