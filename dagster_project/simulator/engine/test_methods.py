"""Stripe's test payment methods: what a token or a number stands for, and how it behaves when it is charged.

A behaviour is a word, with a detail behind a colon:

    declined:<decline code>           the issuer declines every charge; `attached` in between: only once it is attached
    authenticate[:<decline code>]     every payment needs 3-D Secure; after it the charge works, or is declined
    authenticate_first                3-D Secure is needed unless the card was set up for off-session use
    blocked                           Radar blocks the payment
    disputed:<reason>                 succeeds and is disputed; inquiry:<reason> and disputed_twice:<reason> likewise
    warned                            succeeds and brings an early fraud warning
    refund_pending | refund_fails     how a refund goes
    available                         the money is available at once
    fails:<code> | late:<code>        a bank debit that fails before it succeeded, or after it had
    returned:<reason>                 a bank debit that is disputed, which is final
    processing                        a bank debit that stays under way
    refused:<code>                    a bank debit that is refused at once

Source: https://docs.stripe.com/testing. The `late` account numbers are the simulator's own.
"""

from __future__ import annotations

Test = tuple[str, str | None]  # number, behaviour

# pm_card_<name> and tok_<name>
CARDS: dict[str, Test] = {
    "visa": ("4242424242424242", None),
    "visa_debit": ("4000056655665556", None),
    "mastercard": ("5555555555554444", None),
    "mastercard_debit": ("5200828282828210", None),
    "mastercard_prepaid": ("5105105105105100", None),
    "amex": ("378282246310005", None),
    "discover": ("6011111111111117", None),
    "diners": ("3056930009020004", None),
    "jcb": ("3566002020360505", None),
    "unionpay": ("6200000000000005", None),
    "us": ("4242424242424242", None),
    "br": ("4000000760000002", None),
    "ca": ("4000001240000000", None),
    "mx": ("4000004840008001", None),
    "gb": ("4000008260000000", None),
    "fr": ("4000002500000003", None),
    "de": ("4000002760000016", None),
    "au": ("4000000360000006", None),
    "in": ("4000003560000008", None),
    "jp": ("4000003920000003", None),
    "bypassPending": ("4000000000000077", "available"),
    "chargeDeclined": ("4000000000000002", "declined:generic_decline"),
    "chargeDeclinedInsufficientFunds": ("4000000000009995", "declined:insufficient_funds"),
    "chargeDeclinedLostCard": ("4000000000009987", "declined:lost_card"),
    "chargeDeclinedStolenCard": ("4000000000009979", "declined:stolen_card"),
    "chargeDeclinedExpiredCard": ("4000000000000069", "declined:expired_card"),
    "chargeDeclinedIncorrectCvc": ("4000000000000127", "declined:incorrect_cvc"),
    "chargeDeclinedProcessingError": ("4000000000000119", "declined:processing_error"),
    "chargeDeclinedVelocityLimitExceeded": ("4000000000006975", "declined:card_velocity_exceeded"),
    "chargeCustomerFail": ("4000000000000341", "declined:attached:generic_decline"),
    "chargeDeclinedFraudulent": ("4100000000000019", "blocked"),
    "radarBlock": ("4100000000000019", "blocked"),
    "authenticationRequired": ("4000002760003184", "authenticate"),
    "authenticationRequiredOnSetup": ("4000002500003155", "authenticate_first"),
    "authenticationRequiredSetupForOffSession": ("4000003800000446", None),
    "authenticationRequiredChargeDeclinedInsufficientFunds": ("4000008260003178", "authenticate:insufficient_funds"),
    "threeDSecure2Required": ("4000000000003220", "authenticate"),
    "threeDSecureRequired": ("4000000000003063", "authenticate"),
    "threeDSecureRequiredChargeDeclined": ("4000008400001629", "authenticate:generic_decline"),
    "threeDSecureOptional": ("4000000000003055", None),
    "createDispute": ("4000000000000259", "disputed:fraudulent"),
    "createDisputeProductNotReceived": ("4000000000002685", "disputed:product_not_received"),
    "createDisputeInquiry": ("4000000000001976", "inquiry:fraudulent"),
    "createMultipleDisputes": ("4000004040000079", "disputed_twice:fraudulent"),
    "createIssuerFraudRecord": ("4000000000005423", "warned"),
    "pendingRefund": ("4000000000007726", "refund_pending"),
    "refundFail": ("4000000000005126", "refund_fails"),
}
_CARD_NUMBERS: dict[str, str | None] = dict(CARDS.values())

# pm_usBankAccount_<name>
BANKS: dict[str, Test] = {
    "success": ("000123456789", None),
    "accountClosed": ("000111111113", "fails:account_closed"),
    "noAccount": ("000111111116", "fails:no_account"),
    "insufficientFunds": ("000222222227", "fails:insufficient_funds"),
    "debitNotAuthorized": ("000333333335", "fails:debit_not_authorized"),
    "invalidCurrency": ("000444444440", "fails:payment_method_currency_mismatch"),
    "dispute": ("000555555559", "returned:debit_not_authorized"),
    "processing": ("000000000009", "processing"),
    "weeklyLimitExceeded": ("000777777771", "refused:charge_exceeds_source_limit"),
    "riskLevelHighest": ("000000004954", "refused:request_blocked"),
    "lateFailure": ("000999999991", "late:insufficient_funds"),
    "lateAccountClosed": ("000999999993", "late:account_closed"),
}
_BANK_NUMBERS: dict[str, str | None] = dict(BANKS.values())

# pm_sepaDebit_<name>
IBANS: dict[str, Test] = {
    "success_at": ("AT611904300234573201", None),
    "failed_at": ("AT861904300235473202", "fails:insufficient_funds"),
    "success_de": ("DE89370400440532013000", None),
    "failed_de": ("DE62370400440532013001", "fails:insufficient_funds"),
    "dispute_de": ("DE35370400440532013002", "returned:debit_not_authorized"),
}
_IBANS: dict[str, str | None] = dict(IBANS.values())
_COUNTRIES = {"076": "BR", "124": "CA", "484": "MX", "826": "GB", "250": "FR", "276": "DE", "036": "AU", "356": "IN",
              "392": "JP", "380": "IT"}  # fmt: skip
_BRANDS = (("4", "visa"), ("34", "amex"), ("37", "amex"), ("2", "mastercard"), ("5", "mastercard"), ("35", "jcb"),
           ("30", "diners"), ("36", "diners"), ("62", "unionpay"), ("60", "discover"))  # fmt: skip
_DEBIT = ("4000056655665556", "5200828282828210")


def named(id: str) -> tuple[str, str, str | None] | None:
    """(type, number, behaviour) of a token such as pm_card_visa; None for any other id."""
    for prefix, kind, known in (
        ("pm_card_", "card", CARDS),
        ("tok_", "card", CARDS),
        ("pm_usBankAccount_", "us_bank_account", BANKS),
        ("pm_sepaDebit_", "sepa_debit", IBANS),
    ):
        if id.startswith(prefix):
            name = id.removeprefix(prefix)
            test = known.get(name) or known.get(name.removeprefix("visa_"))
            return (kind, *test) if test else None
    return None


def of_card(number: str) -> str | None:
    """How a card with this number behaves."""
    return _CARD_NUMBERS.get(number)


def of_account(number: str) -> str | None:
    """How a bank account with this number, or this IBAN, behaves."""
    return _BANK_NUMBERS.get(number) or _IBANS.get(number)


def brand(number: str) -> str | None:
    return next((name for start, name in _BRANDS if number.startswith(start)), None)


def country(number: str) -> str:
    return _COUNTRIES.get(number[6:9], "US") if number.startswith("400000") else "US"


def funding(number: str) -> str:
    return "debit" if number in _DEBIT else "prepaid" if number == "5105105105105100" else "credit"


def valid_number(number: str) -> bool:
    """The checksum that every card number carries (Luhn)."""
    digits = [int(each) for each in reversed(number)]
    return sum(digits[::2] + [sum(divmod(2 * each, 10)) for each in digits[1::2]]) % 10 == 0
