"""The made-up business in numbers: what it sells, how it grows, how often things go wrong.

Nothing else in the simulator holds a rate, a price or a date. Rates are per event unless a unit is named.
"""

from __future__ import annotations

from typing import Any

DAY = 86_400
HOUR = 3_600

CLOCK = 1_794_744_000  # 2026-11-15T12:00:00Z: where the clock stands after the seeded history
EVENT_RETENTION = 30 * DAY

FIRST_NAMES = ("Ada", "Ben", "Chloe", "Dan", "Eva", "Finn", "Grace", "Hugo", "Ines", "Jan", "Kira", "Leo", "Mia",
               "Noah", "Olga", "Paul", "Quinn", "Rosa", "Sam", "Tara", "Uma", "Vera", "Will", "Yuki")  # fmt: skip
LAST_NAMES = ("Abel", "Braun", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haas", "Ito", "Jansen", "Keller",
              "Lindt", "Moreau", "Novak", "Okada", "Peters", "Quist", "Rossi", "Sato", "Turner", "Ueda", "Vogel",
              "Weber", "Young")  # fmt: skip
COMPANIES = ("Acorn", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Harbor", "Indigo", "Juniper", "Kestrel",
             "Lumen", "Maple", "Nimbus", "Orchid")  # fmt: skip


# What is metered costs, per currency, by tiers or by packages: {"tiers": ((up to, minor units), …)} or
# {"unit": minor units, "package": units}. Decimal text is finer than a minor unit.
Terms = dict[str, Any]
# name -> event, plans whose monthly customers may have it, share of them that do, formula, terms per currency
Metered = dict[str, tuple[str, tuple[str, ...], float, str, dict[str, Terms]]]


class Saas:
    """A software business with subscriptions per seat, in three currencies: the demo."""

    country = "US"
    settles = {"usd": "US", "eur": "DE", "jpy": "JP"}  # currency -> country of its bank account; the first by default
    arrives = "arrives"  # the action that brings a customer

    # Where customers come from. Growth is the share of arrivals in the last month over those in the first.
    growth = 1.9
    season = {1: 1.10, 2: 1.0, 3: 1.05, 4: 1.0, 5: 0.95, 6: 0.95, 7: 0.8, 8: 0.75, 9: 1.15, 10: 1.1, 11: 1.1, 12: 0.8}
    currencies = {"usd": 0.62, "eur": 0.28, "jpy": 0.10}
    countries = {"usd": ("US", "CA", "US", "US"), "eur": ("DE", "FR", "NL", "ES"), "jpy": ("JP",)}

    # Products: name -> monthly unit price per currency in minor units (a year costs ten months), share of customers.
    plans = {
        "Starter": ({"usd": 1900, "eur": 1800, "jpy": 2800}, 0.50),
        "Team": ({"usd": 4900, "eur": 4500, "jpy": 7200}, 0.35),
        "Business": ({"usd": 14900, "eur": 13900, "jpy": 21800}, 0.15),
    }
    storage = {"usd": (500, 300), "eur": (450, 280), "jpy": (700, 450)}  # graduated: the first ten units, then the rest
    onboarding_hour = {"usd": 15000, "eur": 14000, "jpy": 22000}  # a one-time price
    yearly = 0.13
    with_storage = 0.12
    metered: Metered = {
        "API calls": ("api_calls", ("Business",), 0.05, "sum",
                      {"usd": {"unit": 1}, "eur": {"unit": 1}, "jpy": {"unit": 2}}),
    }  # fmt: skip
    usage_per_day = (5, 130)  # units per metered item: least and most
    large = 0.008  # share of customers with more lines on an invoice than one page holds

    trial = 0.30
    trial_days = 14
    trial_converts = 0.68
    coupon = 0.16
    set_up_first = 0.3  # of customers register their card before they pay
    second = 0.24  # of customers subscribe a second time, months later
    checkout = 0.08  # of customers buy through a checkout page
    onboarding = 0.06  # of customers also buy a workshop
    onboarding_sent = 0.5  # of workshops are sent as a bill, due in 30 days, instead of charged
    bill_voided = 0.12
    coupons: tuple[tuple[Any, ...], ...] = (
        # id, percent, amount per currency, duration, months
        ("WELCOME20", 20.0, None, "repeating", 3),
        ("ANNUAL10", 10.0, None, "forever", None),
        ("FIRST50", 50.0, None, "once", None),
        ("FIVEOFF", None, 500, "repeating", 6),
    )
    taxes = {"DE": ("USt", 19.0)}  # country of the customer -> name and percent
    tax_inside = False  # the price, instead of on top of it

    # What happens to a subscription, per renewal of a monthly one.
    # Months of tenure below which the rate holds.
    churn_by_tenure: tuple[tuple[int, float], ...] = ((3, 0.040), (12, 0.022), (10_000, 0.013))
    forgotten = 0.03  # of customers who left are deleted two months later
    cancel_now = 0.30  # of those who leave; the others at the end of the period
    change_mind = 0.10  # of those who leave at the end of the period
    change_quantity = 0.035
    change_plan = 0.012
    upward = 0.68

    # Payments.
    card_fails = 0.045
    retry_days = (3, 5, 7)
    retry_works = 0.42
    after_last_retry = "cancel"  # the subscription, and the invoice is uncollectible; or "unpaid", or "past_due"
    first_payment_fails = 0.03  # the subscription starts incomplete and expires unless the second try works
    first_payment_recovers = 0.5
    fees = {"usd": (0.029, 30), "eur": (0.015, 25), "jpy": (0.036, 0)}
    available_after = 2 * DAY
    refund = 0.014
    refund_partial = 0.35
    refund_fails = 0.03
    refund_with_credit_note = 0.4
    credit = 0.02  # of customers get credit on their balance
    dispute = 0.0035
    dispute_inquiry = 0.12
    dispute_won = 0.38
    dispute_prevented = 0.0  # of disputes: the charge is refunded instead
    dispute_partial = 0.0  # of disputes are about a part of the charge
    dispute_again = 0.0  # of those are followed by another about the rest
    dispute_fee_returned = False  # when a dispute is won
    fraud_warning = 0.0  # of disputed frauds are announced by the issuer
    debit_fails_late = 0.0  # of bank debits fail days after they had succeeded
    dispute_fee = {"usd": 1500, "eur": 2000, "jpy": 1500}
    dispute_reasons = ("fraudulent", "subscription_canceled", "product_not_received", "duplicate")
    payout_fails = 0.004
    payout_late = 0.0  # of payouts arrive two days later than announced
    topup_fails = 0.0
    reserve: tuple[float, int] | None = (
        None  # the share of each day's payments that Stripe holds back, for how many days
    )
    instant_payout_fee = (0.015, 50)  # share, and the least in minor units
    # Of each that is rare, at the end of the history.
    few = {"quote": 7, "checkout.session": 4, "billing.credit_grant": 4, "payment_link": 4, "review": 6, "topup": 2,
           "radar.early_fraud_warning": 3, "subscription_schedule": 4}  # fmt: skip
    billing_fee = {"usd": 4500, "eur": 3200, "jpy": 5200}  # Stripe's own monthly fee
    fees_elsewhere = (0.029, 30)  # for a currency without a row in `fees`: the fixed part in US cents
    method_fees: dict[str, dict[str, tuple[float, int, int | None]]] = {  # method -> currency -> share, fixed, at most
        "us_bank_account": {"usd": (0.008, 0, 500)},
        "sepa_debit": {"eur": (0, 35, None)},
    }
    fx_fee = 0.01  # of what is converted
    fx_fee_separate = False  # as a balance transaction of its own
    tax_on_fees: dict[str, tuple[float, str]] = {}  # country of the account -> percent and name of the tax

    suffixes = {"usd": ("Labs", "Inc", "Works"), "eur": ("GmbH", "SARL", "BV"), "jpy": ("KK", "Lab")}


class Usage(Saas):
    """An API that is paid by use: every customer reports to meters, billed by volume, by tiers and by packages."""

    currencies = {"usd": 0.7, "eur": 0.3}
    settles = {"usd": "US", "eur": "DE"}
    plans = {
        "Pay as you go": ({"usd": 0, "eur": 0}, 0.45),
        "Growth": ({"usd": 9900, "eur": 8900}, 0.40),
        "Scale": ({"usd": 49900, "eur": 45900}, 0.15),
    }
    metered = {
        "Requests": ("requests", ("Pay as you go", "Growth", "Scale"), 0.95, "sum", {
            "usd": {"mode": "graduated", "tiers": ((1_000, "0"), (20_000, "0.4"), (None, "0.15"))},
            "eur": {"mode": "graduated", "tiers": ((1_000, "0"), (20_000, "0.35"), (None, "0.14"))},
        }),
        "Active users": ("active_users", ("Growth", "Scale"), 0.6, "last", {
            "usd": {"mode": "volume", "tiers": ((100, "12"), (1_000, "9"), (None, "6"))},
            "eur": {"mode": "volume", "tiers": ((100, "11"), (1_000, "8"), (None, "5.5"))},
        }),
        "Messages": ("messages", ("Pay as you go", "Growth", "Scale"), 0.4, "sum", {
            "usd": {"unit": 250, "package": 500}, "eur": {"unit": 230, "package": 500},
        }),
        "Exports": ("exports", ("Scale",), 0.3, "count", {"usd": {"unit": 15}, "eur": {"unit": 14}}),
    }  # fmt: skip
    usage_per_day = (20, 1_400)
    with_storage = 0.3
    yearly = 0.0
    trial = 0.5


class Global(Saas):
    """A software business that sells in ten currencies with tax inside its prices, and has a balance in three."""

    country = "IE"
    settles = {"eur": "IE", "usd": "US", "gbp": "GB"}
    currencies = {"usd": 0.2, "eur": 0.2, "gbp": 0.12, "jpy": 0.1, "kwd": 0.06, "isk": 0.06, "huf": 0.08, "twd": 0.08,
                  "chf": 0.05, "aud": 0.05}  # fmt: skip
    countries = {"usd": ("US", "US", "PR"), "eur": ("DE", "FR", "NL", "ES"), "gbp": ("GB",), "jpy": ("JP",),
                 "kwd": ("KW",), "isk": ("IS",), "huf": ("HU",), "twd": ("TW",), "chf": ("CH",),
                 "aud": ("AU",)}  # fmt: skip
    plans = {
        "Starter": ({"usd": 1900, "eur": 1800, "gbp": 1600, "jpy": 2800, "kwd": 5800, "isk": 260000, "huf": 690000,
                     "twd": 59000, "chf": 1800, "aud": 2900}, 0.50),
        "Team": ({"usd": 4900, "eur": 4500, "gbp": 3900, "jpy": 7200, "kwd": 14900, "isk": 650000, "huf": 1790000,
                  "twd": 149000, "chf": 4400, "aud": 7500}, 0.35),
        "Business": ({"usd": 14900, "eur": 13900, "gbp": 11900, "jpy": 21800, "kwd": 45500, "isk": 1990000,
                      "huf": 5490000, "twd": 459000, "chf": 13900, "aud": 22900}, 0.15),
    }  # fmt: skip
    storage = {"usd": (500, 300), "eur": (450, 280), "gbp": (400, 240), "jpy": (700, 450), "kwd": (1500, 900),
               "isk": (68000, 41000), "huf": (180000, 110000), "twd": (15500, 9300), "chf": (440, 270),
               "aud": (760, 460)}  # fmt: skip
    onboarding_hour = {"usd": 15000, "eur": 14000, "gbp": 12000, "jpy": 22000, "kwd": 46000, "isk": 2000000,
                       "huf": 5500000, "twd": 460000, "chf": 14000, "aud": 23000}  # fmt: skip
    metered: Metered = {}
    taxes = {"DE": ("USt", 19.0), "FR": ("TVA", 20.0), "NL": ("BTW", 21.0), "ES": ("IVA", 21.0), "GB": ("VAT", 20.0),
             "JP": ("Shouhizei", 10.0), "IS": ("VSK", 24.0), "HU": ("AFA", 27.0), "TW": ("VAT", 5.0),
             "CH": ("MWST", 8.1), "AU": ("GST", 10.0)}  # fmt: skip
    tax_inside = True
    tax_on_fees = {"IE": (23.0, "VAT")}
    billing_fee = {"eur": 3200}
    suffixes = {**Saas.suffixes, "gbp": ("Ltd", "LLP"), "kwd": ("Trading",), "isk": ("ehf",), "huf": ("Kft",),
                "twd": ("Taipei",), "chf": ("AG",), "aud": ("Pty",)}  # fmt: skip


class Marketplace(Saas):
    """A platform whose buyers order from connected sellers; it takes a share of every order."""

    arrives = "buyer_arrives"
    currencies = {"usd": 0.65, "eur": 0.25, "gbp": 0.10}
    countries = {"usd": ("US", "CA"), "eur": ("DE", "FR", "NL", "ES"), "gbp": ("GB",)}
    settles = {"usd": "US", "eur": "DE"}
    plans: dict[str, tuple[dict[str, int], float]] = {}
    storage: dict[str, tuple[int, int]] = {}
    onboarding_hour: dict[str, int] = {}
    metered: Metered = {}
    coupons = ()
    taxes: dict[str, tuple[str, float]] = {}
    buyers_per_seller = 8  # and at least four sellers
    # How a seller is connected: a standard one charges itself and pays a fee, an express one is the destination of
    # the platform's charges, a custom one gets transfers out of orders that several share.
    sellers = {"standard": 0.3, "express": 0.5, "custom": 0.2}
    seller_countries = ("US", "US", "US", "DE", "GB", "FR")
    further_orders = 2.6  # mean number per buyer after the first
    order_gap = (3, 45)  # days
    order_amount = (6_000, 0.8)  # median in minor units, and the spread of its logarithm
    platform_share = 0.12
    refund = 0.0  # orders are given back by the rules below
    order_refund = 0.06
    order_refund_partial = 0.4
    order_refund_after = (1, 25)  # days
    transfer_returns = 0.85  # of refunded destination charges: the seller gives its share back
    fee_returns = 0.6  # of refunds: the platform gives its fee back
    transfer_reversed = 0.03  # of plain transfers are taken back in part
    suffixes = {**Saas.suffixes, "gbp": ("Ltd", "LLP")}


class Chaos(Saas):
    """The demo's business in which what is rare elsewhere happens all the time."""

    arrives = "chaotic_arrives"
    deeds = (1, 6)  # rare things that a customer does, at least and at most
    deeds_after = (1.0, 120.0)  # days after it arrived
    coupon = 0.6
    trial = 0.4
    second = 0.4
    onboarding = 0.3
    bill_voided = 0.3
    churn_by_tenure = ((3, 0.08), (10_000, 0.05))
    forgotten = 0.3
    change_quantity = 0.10
    change_plan = 0.06
    card_fails = 0.18
    retry_works = 0.35
    first_payment_fails = 0.12
    refund = 0.08
    refund_fails = 0.35
    credit = 0.2
    dispute = 0.05
    dispute_inquiry = 0.25
    payout_fails = 0.12
    payout_late = 0.2
    topup_fails = 0.3
    reserve = (0.1, 7)
    debit_fails_late = 0.3
    dispute_partial = 0.3
    dispute_again = 0.4
    dispute_fee_returned = True
    fraud_warning = 0.5
    fx_fee_separate = True


class Flat(Saas):
    """Volume alone: customers, charges and their balance transactions, in bursts that share a second."""

    currencies = {"usd": 0.7, "eur": 0.3}
    customer_share = 0.08  # of all objects
    intent_share = 0.10  # of charges were made through a payment intent that is kept
    refund_share = 0.02  # of charges are given back in full
    amounts = (500, 250_000)  # minor units
    burst = 0.02  # of moments at which anything is charged bring many charges at once
    burst_sizes = (20, 350)


SCENARIOS: dict[str, type[Saas]] = {
    "saas": Saas, "marketplace": Marketplace, "usage": Usage, "global": Global, "chaos": Chaos, "flat": Flat,
}  # fmt: skip
