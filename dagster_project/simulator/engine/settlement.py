"""What a payment settles into: the currency of the balance, the day's exchange rate, Stripe's fees and their tax.

An account keeps a balance in the currencies of its bank accounts; money in any other currency is converted into its
default currency. A refund or a dispute is converted at the rate of its own day, not at that of the payment.
Source: https://docs.stripe.com/currencies/conversions, https://docs.stripe.com/currencies/disputes-refunds
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import Any

from dagster_project.simulator.engine import ids
from dagster_project.simulator.engine.business import DAY
from dagster_project.simulator.engine.world import Object, World

ZERO_DECIMAL = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
THREE_DECIMAL = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
WHOLE_UNITS = {"isk": 100, "ugx": 100}  # two decimals in the API, of which none can be used
WHOLE_PAYOUTS = {"huf": 100, "twd": 100, **WHOLE_UNITS}  # what a payout must be divisible by
# https://docs.stripe.com/currencies#special-cases

_TABLE = """
usd=1 aed=3.6725 afn=69.5 all=83.1 amd=383 ang=1.79 aoa=912 ars=1380 aud=1.51 awg=1.79 azn=1.7 bam=1.68 bbd=2
bdt=121.5 bgn=1.68 bhd=0.376 bif=2940 bmd=1 bnd=1.29 bob=6.91 brl=5.42 bsd=1 bwp=13.4 byn=3.27 bzd=2.01 cad=1.37
cdf=2820 chf=0.8 clp=955 cny=7.14 cop=4050 crc=505 cve=95.2 czk=21.1 djf=178 dkk=6.42 dop=62.1 dzd=130 egp=48.4
etb=142 eur=0.86 fjd=2.26 fkp=0.74 gbp=0.74 gel=2.7 ghs=11.4 gip=0.74 gmd=72 gnf=8680 gtq=7.66 gyd=209 hkd=7.8
hnl=26.2 htg=131 huf=340 idr=16400 ils=3.36 inr=88 isk=122 jmd=160 jod=0.709 jpy=149.5 kes=129 kgs=87.4 khr=4010
kmf=423 krw=1390 kwd=0.305 kyd=0.833 kzt=539 lak=21600 lbp=89500 lkr=302 lrd=184 lsl=17.6 mad=9.05 mdl=16.8 mga=4440
mkd=52.8 mmk=2100 mnt=3590 mop=8.03 mur=45.7 mvr=15.4 mwk=1735 mxn=18.6 myr=4.22 mzn=63.9 nad=17.6 ngn=1530 nio=36.8
nok=10 npr=141 nzd=1.7 omr=0.385 pab=1 pen=3.53 pgk=4.2 php=57.1 pkr=283 pln=3.66 pyg=7230 qar=3.64 ron=4.36 rsd=101
rub=81 rwf=1448 sar=3.75 sbd=8.2 scr=14.3 sek=9.45 sgd=1.28 shp=0.74 sle=23.2 sos=571 srd=38.7 std=21100 szl=17.6
thb=32.3 tjs=9.4 tnd=2.9 top=2.38 try=41.2 ttd=6.78 twd=30.4 tzs=2480 uah=41.3 ugx=3510 uyu=40 uzs=12400 vnd=26350
vuv=119 wst=2.74 xaf=564 xcd=2.7 xof=564 xpf=102.6 yer=240 zar=17.6 zmw=23.8 rec=6
"""
PER_DOLLAR = {name: Decimal(units) for name, units in (pair.split("=") for pair in _TABLE.split())}
_SWING = 400  # hundredths of a percent by which a month's rate lies off the table's, at most
_JITTER = 35  # and a day's off the month's
_MONTH = 30
_SIX_DIGITS = Context(prec=6, rounding=ROUND_HALF_UP)


def exponent(currency: str) -> int:
    """Decimal places of the currency's minor unit."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def of(world: World) -> Object:
    """The account whose money it is: its `currencies` with a balance, the `default` one and its `country`."""
    known: Object | None = world.meta.get("settlement")
    if known is None:
        account = world.platform.store.get(world.id_of_account, "account")
        if account is None or account.get("deleted"):
            return {"currencies": [], "default": None, "country": "US"}
        banks = account.get("external_accounts", {}).get("data", [])
        default = account.get("default_currency", "usd")
        known = world.meta["settlement"] = {
            "currencies": sorted({bank["currency"] for bank in banks} | {default}),
            "default": default,
            "country": account.get("country", "US"),
        }
    return known


def currency_of(world: World, currency: str) -> str:
    """In which currency money of `currency` lands in the balance."""
    known = of(world)
    default: str | None = known["default"]
    return currency if default is None or currency in known["currencies"] else default


@lru_cache(4096)
def per_dollar(seed: int, currency: str, day: int) -> Decimal:
    """Units of a currency per US dollar on a day (since the epoch). Raises KeyError for an unknown currency."""
    base = PER_DOLLAR[currency]
    if currency == "usd":
        return base
    month, within = divmod(day, _MONTH)
    before, after = (
        ids.chance(seed, "rate", currency, month + step).randint(-_SWING, _SWING) * (_MONTH - within, within)[step]
        for step in (0, 1)
    )
    daily = ids.chance(seed, "rate of day", currency, day).randint(-_JITTER, _JITTER)
    return base * (10_000 + Decimal(before + after) / _MONTH + daily) / 10_000


def rate(world: World, source: str, target: str, at: int | None = None) -> Decimal:
    """How many units of `target` one unit of `source` is worth on the day of `at` (default: today), six digits."""
    day = (world.now if at is None else at) // DAY
    return _SIX_DIGITS.divide(per_dollar(world.seed, target, day), per_dollar(world.seed, source, day))


def convert(amount: int, source: str, target: str, by: Decimal) -> int:
    """`amount` minor units of `source` in minor units of `target`, half up, in units that the currency can have.

    The rate is between whole units: ¥1,000 at 0.0067 are $6.70.
    Source: https://docs.stripe.com/api/balance_transactions/object#balance_transaction_object-exchange_rate
    """
    step = WHOLE_UNITS.get(target, 1)
    units = Decimal(amount).scaleb(exponent(target) - exponent(source)) * by / step
    return int(units.to_integral_value(ROUND_HALF_UP)) * step


def share(amount: int, of_it: float | str | Decimal) -> int:
    """A share of an amount, half up."""
    return int((amount * Decimal(str(of_it))).to_integral_value(ROUND_HALF_UP))


def processing_fee(world: World, method: str, amount: int, currency: str) -> int:
    """Stripe's price for taking `amount` by a method of payment, in the currency it settles in."""
    prices = world.business.method_fees.get(method, {}).get(currency)
    part, fixed, most = prices or (*world.business.fees.get(currency, world.business.fees_elsewhere), None)
    if prices is None and currency not in world.business.fees:
        fixed = convert(fixed, "usd", currency, rate(world, "usd", currency))
    fee = share(amount, part) + fixed
    return fee if most is None else min(fee, most)


def dispute_fee(world: World, currency: str) -> int:
    """What a dispute costs, in the currency it is booked in."""
    known = world.business.dispute_fee
    if currency in known:
        return known[currency]
    return convert(known["usd"], "usd", currency, rate(world, "usd", currency))


def instant_fee(world: World, amount: int) -> int:
    """What an instant payout costs, on top of its amount."""
    part, least = world.business.instant_payout_fee
    return max(share(amount, part), least)


def tax_on(world: World, fee: int) -> tuple[int, str]:
    """(tax, its name) that the account's country asks for on Stripe's fees."""
    percent, name = world.business.tax_on_fees.get(of(world)["country"], (0, ""))
    return (share(fee, Decimal(str(percent)) / 100), name) if percent else (0, "")


def detail(kind: str, amount: int, currency: str, description: str, application: Any = None) -> Object:
    return {
        "amount": amount,
        "application": application,
        "currency": currency,
        "description": description,
        "type": kind,
    }
