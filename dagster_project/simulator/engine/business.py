"""The made-up business in numbers: what it sells, how it grows, how often things go wrong.

Nothing else in the simulator holds a rate, a price or a date. Rates are per event unless a unit is named.
"""

from __future__ import annotations

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


class Saas:
    """A software business with subscriptions per seat, in three currencies: the demo."""

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
    metered = 0.05  # share of Business customers that also pay for API calls
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
    coupons = (
        # id, percent, amount per currency, duration, months
        ("WELCOME20", 20.0, None, "repeating", 3),
        ("ANNUAL10", 10.0, None, "forever", None),
        ("FIRST50", 50.0, None, "once", None),
        ("FIVEOFF", None, 500, "repeating", 6),
    )
    tax_percent = 19.0  # on invoices of German customers, added on top

    # What happens to a subscription, per renewal of a monthly one.
    churn_by_tenure = ((3, 0.040), (12, 0.022), (10_000, 0.013))  # months of tenure below which the rate holds
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
    dispute_fee = {"usd": 1500, "eur": 2000, "jpy": 1500}
    dispute_reasons = ("fraudulent", "subscription_canceled", "product_not_received", "duplicate")
    payout_fails = 0.004
    payout_late = 0.0  # of payouts arrive two days later than announced
    topup_fails = 0.0
    instant_payout_fee = (0.015, 50)  # share, and the least in minor units
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


class Flat(Saas):
    """Volume alone: customers, charges and their balance transactions, in bursts that share a second."""

    currencies = {"usd": 0.7, "eur": 0.3}
    customer_share = 0.08  # of all objects
    intent_share = 0.10  # of charges were made through a payment intent that is kept
    refund_share = 0.02  # of charges are given back in full
    amounts = (500, 250_000)  # minor units
    burst = 0.02  # of moments at which anything is charged bring many charges at once
    burst_sizes = (20, 350)


SCENARIOS: dict[str, type[Saas]] = {"saas": Saas, "flat": Flat}
