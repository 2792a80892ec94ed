"""Make ``accounts.jsonl`` from IBM's Telco Customer Churn file: see README.md beside this.

    python examples/make_accounts.py telco_churn.csv > examples/accounts.jsonl

The same file in gives the same file out. Nothing of the rest of the product is needed.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

SEED = 20260101
PER_METHOD = 10
MONTHS = 6
"""Charges that an account is given: one a month, the latest ones."""

OLD_MONTHS = 20
"""One charge more for customers of two years: too old to go back the way it came."""

DAY = 24
MONTH = 30 * DAY
HALF_HUNDRED = 5000

TOKENS = {
    "Credit card (automatic)": ("pm_card_visa", "pm_card_mastercard", "pm_card_amex"),
    "Electronic check": ("pm_card_visa_debit",),
    "Mailed check": ("pm_card_mastercard_debit",),
    "Bank transfer (automatic)": ("pm_sepaDebit",),
}
"""Test payment methods that stand for the file's; a bank debit is SEPA's, so in euros."""

WON = 5
"""So many of the credit-card accounts are charged in won, which has no decimals."""

TWINS = 8
"""So many small accounts are charged twice, two hours apart: duplicates to be found."""

FAILING = 1
"""Of those, so many whose bank sends a refund back later."""


def chosen(rows: list[dict[str, str]], random: Random) -> list[dict[str, str]]:
    """Ten rows of each payment method, one of them with no month of tenure yet."""
    rows = sorted(rows, key=lambda row: row["customerID"])
    newcomer = random.choice([row for row in rows if int(row["tenure"]) == 0])
    picked = [newcomer]
    for method in TOKENS:
        pool = [row for row in rows if row["PaymentMethod"] == method and int(row["tenure"]) > 0]
        taken = newcomer["PaymentMethod"] == method
        picked += random.sample(pool, PER_METHOD - taken)
    return picked


def accounts(rows: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """One account a row. Hours are counted back from the moment at which they are loaded."""
    random = Random(SEED)
    left = {"won": WON, "twins": TWINS, "failing": FAILING}
    for row in chosen(rows, random):
        number = row["customerID"].replace("-", "_")
        method, tenure = row["PaymentMethod"], int(row["tenure"])
        currency, exponent = ("eur", 2) if method.startswith("Bank") else ("usd", 2)
        if method.startswith("Credit") and left["won"]:
            # dollars by the thousand: 70.35 becomes 70,350 won
            currency, exponent = "krw", 3
            left["won"] -= 1
        token = random.choice(TOKENS[method])
        latest = random.randrange(3 * DAY, 25 * DAY)
        # MonthlyCharges has two decimals at most; TotalCharges, which may be blank, is not read
        amount = int(Decimal(row["MonthlyCharges"]).scaleb(exponent))
        months = [*range(min(tenure, MONTHS)), *([OLD_MONTHS] if tenure >= 24 else [])]
        charges = [
            {"id": f"ch_{number}_{month:02d}", "amount": amount, "currency": currency,
             "hours_ago": latest + month * MONTH, "payment_method": token,
             "statement_descriptor": "TELCO"}
            for month in months
        ]  # fmt: skip
        if currency == "usd" and charges and amount <= HALF_HUNDRED and left["twins"]:
            left["twins"] -= 1
            twin = {**charges[0], "id": f"{charges[0]['id']}_again", "hours_ago": latest - 2}
            if left["failing"]:
                left["failing"] -= 1
                twin["refund_behaviour"] = "fails"
            charges.insert(0, twin)
        yield {
            "id": f"cus_{number}",
            "hours_ago": tenure * MONTH + latest + DAY,
            "metadata": {"contract": row["Contract"], "tenure_months": str(tenure)},
            "charges": charges,
        }


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    with Path(arguments[0]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for account in accounts(rows):
        print(json.dumps(account, separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
