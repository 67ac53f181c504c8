"""The made-up business in numbers: what it sells, how it grows, how often things go wrong.

Nothing else in the simulator holds a rate, a price or a date. Rates are per event unless a unit is named.
"""

from __future__ import annotations

DAY = 86_400
HOUR = 3_600

CLOCK = 1_794_744_000  # 2026-11-15T12:00:00Z: where the clock stands after the seeded history
EVENT_RETENTION = 30 * DAY

# Where customers come from. Growth is the share of arrivals in the last month over those in the first.
GROWTH = 1.9
SEASON = {1: 1.10, 2: 1.0, 3: 1.05, 4: 1.0, 5: 0.95, 6: 0.95, 7: 0.8, 8: 0.75, 9: 1.15, 10: 1.1, 11: 1.1, 12: 0.8}
CURRENCIES = {"usd": 0.62, "eur": 0.28, "jpy": 0.10}
COUNTRIES = {"usd": ("US", "CA", "US", "US"), "eur": ("DE", "FR", "NL", "ES"), "jpy": ("JP",)}

# Products: name -> monthly unit price per currency in minor units (a year costs ten months), share of customers.
PLANS = {
    "Starter": ({"usd": 1900, "eur": 1800, "jpy": 2800}, 0.50),
    "Team": ({"usd": 4900, "eur": 4500, "jpy": 7200}, 0.35),
    "Business": ({"usd": 14900, "eur": 13900, "jpy": 21800}, 0.15),
}
STORAGE = {"usd": (500, 300), "eur": (450, 280), "jpy": (700, 450)}  # graduated: the first ten units, then the rest
ONBOARDING_HOUR = {"usd": 15000, "eur": 14000, "jpy": 22000}  # a one-time price
YEARLY = 0.13
WITH_STORAGE = 0.12
METERED = 0.05  # share of Business customers that also pay for API calls
LARGE = 0.008  # share of customers with more lines on an invoice than one page holds

TRIAL = 0.30
TRIAL_DAYS = 14
TRIAL_CONVERTS = 0.68
COUPON = 0.16
SET_UP_FIRST = 0.3  # of customers register their card before they pay
SECOND = 0.24  # of customers subscribe a second time, months later
CHECKOUT = 0.08  # of customers buy through a checkout page
ONBOARDING = 0.06  # of customers also buy a workshop
ONBOARDING_SENT = 0.5  # of workshops are sent as a bill, due in 30 days, instead of charged
BILL_VOIDED = 0.12
COUPONS = (
    # id, percent, amount per currency, duration, months
    ("WELCOME20", 20.0, None, "repeating", 3),
    ("ANNUAL10", 10.0, None, "forever", None),
    ("FIRST50", 50.0, None, "once", None),
    ("FIVEOFF", None, 500, "repeating", 6),
)
TAX_PERCENT = 19.0  # on invoices of German customers, added on top

# What happens to a subscription, per renewal of a monthly one.
CHURN_BY_TENURE = ((3, 0.040), (12, 0.022), (10_000, 0.013))  # months of tenure below which the rate holds
FORGOTTEN = 0.03  # of customers who left are deleted two months later
CANCEL_NOW = 0.30  # of those who leave; the others at the end of the period
CHANGE_MIND = 0.10  # of those who leave at the end of the period
CHANGE_QUANTITY = 0.035
CHANGE_PLAN = 0.012
UPWARD = 0.68

# Payments.
CARD_FAILS = 0.045
RETRY_DAYS = (3, 5, 7)
RETRY_WORKS = 0.42
FIRST_PAYMENT_FAILS = 0.03  # the subscription starts incomplete and expires unless the second try works
FIRST_PAYMENT_RECOVERS = 0.5
FEES = {"usd": (0.029, 30), "eur": (0.015, 25), "jpy": (0.036, 0)}
AVAILABLE_AFTER = 2 * DAY
REFUND = 0.014
REFUND_PARTIAL = 0.35
REFUND_FAILS = 0.03
REFUND_WITH_CREDIT_NOTE = 0.4
CREDIT = 0.02  # of customers get credit on their balance
DISPUTE = 0.0035
DISPUTE_INQUIRY = 0.12
DISPUTE_WON = 0.38
DISPUTE_FEE = {"usd": 1500, "eur": 2000, "jpy": 1500}
DISPUTE_REASONS = ("fraudulent", "subscription_canceled", "product_not_received", "duplicate")
PAYOUT_FAILS = 0.004
BILLING_FEE = {"usd": 4500, "eur": 3200, "jpy": 5200}  # Stripe's own monthly fee

FIRST_NAMES = ("Ada", "Ben", "Chloe", "Dan", "Eva", "Finn", "Grace", "Hugo", "Ines", "Jan", "Kira", "Leo", "Mia",
               "Noah", "Olga", "Paul", "Quinn", "Rosa", "Sam", "Tara", "Uma", "Vera", "Will", "Yuki")  # fmt: skip
LAST_NAMES = ("Abel", "Braun", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haas", "Ito", "Jansen", "Keller",
              "Lindt", "Moreau", "Novak", "Okada", "Peters", "Quist", "Rossi", "Sato", "Turner", "Ueda", "Vogel",
              "Weber", "Young")  # fmt: skip
COMPANIES = ("Acorn", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Harbor", "Indigo", "Juniper", "Kestrel",
             "Lumen", "Maple", "Nimbus", "Orchid")  # fmt: skip
SUFFIXES = {"usd": ("Labs", "Inc", "Works"), "eur": ("GmbH", "SARL", "BV"), "jpy": ("KK", "Lab")}
