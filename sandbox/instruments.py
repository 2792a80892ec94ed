"""Stripe's test payment methods: docs.stripe.com/testing.

``refund`` and ``dispute`` say what the instrument does later; ``decline`` what it does at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from .store import Json


@dataclass(frozen=True)
class Instrument:
    token: str
    type: str = "card"
    brand: str = "visa"
    last4: str = "4242"
    funding: str = "credit"
    country: str = "US"
    refund: str = "arrives"  # a refund behaviour of settings.py
    dispute: str | None = None  # reason of the chargeback that follows the payment
    inquiry: bool = False
    decline: tuple[str, str] | None = None  # code, decline_code


# docs.stripe.com/testing#cards, #refunds, #disputes, #declined-payments
INSTRUMENTS: dict[str, Instrument] = {
    each.token: each
    for each in (
        Instrument("pm_card_visa"),
        Instrument("pm_card_us"),
        Instrument("pm_card_visa_debit", last4="5556", funding="debit"),
        Instrument("pm_card_mastercard", brand="mastercard", last4="4444"),
        Instrument("pm_card_mastercard_debit", brand="mastercard", last4="8210", funding="debit"),
        Instrument("pm_card_mastercard_prepaid", brand="mastercard", last4="5100"),
        Instrument("pm_card_amex", brand="amex", last4="8431"),
        Instrument("pm_card_discover", brand="discover", last4="1117"),
        Instrument("pm_card_diners", brand="diners", last4="0004"),
        Instrument("pm_card_jcb", brand="jcb", last4="0505", country="JP"),
        Instrument("pm_card_unionpay", brand="unionpay", last4="0005", country="CN"),
        Instrument("pm_card_pendingRefund", last4="7726", refund="pending"),
        Instrument("pm_card_refundFail", last4="5126", refund="fails"),
        Instrument("pm_card_createDispute", last4="0259", dispute="fraudulent"),
        Instrument(
            "pm_card_createDisputeProductNotReceived", last4="2685", dispute="product_not_received"
        ),
        Instrument(
            "pm_card_createDisputeInquiry", last4="1976", dispute="fraudulent", inquiry=True
        ),
        Instrument(
            "pm_card_chargeDeclined", last4="0002", decline=("card_declined", "generic_decline")
        ),
        Instrument(
            "pm_card_visa_chargeDeclined",
            last4="0002",
            decline=("card_declined", "generic_decline"),
        ),
        Instrument(
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            last4="9995",
            decline=("card_declined", "insufficient_funds"),
        ),
        # Bank debits settle and are refunded later: docs.stripe.com/payments/sepa-debit
        Instrument("pm_sepaDebit", type="sepa_debit", last4="3000", country="DE", refund="pending"),
        # Refunds that wait for the customer's bank details: docs.stripe.com/payments/multibanco
        Instrument("pm_multibanco", type="multibanco", last4="", refund="requires_action"),
    )
}
BY_LAST4: dict[tuple[str, str, str], Instrument] = {}
for _each in INSTRUMENTS.values():
    BY_LAST4.setdefault((_each.type, _each.brand, _each.last4), _each)


def of_method(method: Json) -> Instrument:
    """The instrument behind a stored payment method."""
    details = method[method["type"]]
    key = (method["type"], details.get("brand", "visa"), details.get("last4") or "")
    return BY_LAST4[key]


def _checks(passed: str | None) -> Json:
    return {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": passed}


def method_details(instrument: Instrument) -> Json:
    """``payment_method.card`` or its sister: docs.stripe.com/api/payment_methods/object."""
    if instrument.type == "card":
        return {
            "brand": instrument.brand,
            "checks": _checks("pass"),
            "country": instrument.country,
            "display_brand": instrument.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": f"fp{instrument.brand}{instrument.last4}",
            "funding": instrument.funding,
            "generated_from": None,
            "last4": instrument.last4,
            "networks": {"available": [instrument.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    if instrument.type == "sepa_debit":
        return {
            "bank_code": "37040044",
            "branch_code": "",
            "country": instrument.country,
            "fingerprint": f"fpsepa{instrument.last4}",
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": instrument.last4,
        }
    return {}


def charge_details(instrument: Instrument, amount: int) -> Json:
    """``charge.payment_method_details``: docs.stripe.com/api/charges/object."""
    if instrument.type == "card":
        card: Json = {
            "amount_authorized": amount,
            "authorization_code": "123456",
            "brand": instrument.brand,
            "checks": _checks("pass"),
            "country": instrument.country,
            "exp_month": 12,
            "exp_year": 2034,
            "extended_authorization": {"status": "disabled"},
            "fingerprint": f"fp{instrument.brand}{instrument.last4}",
            "funding": instrument.funding,
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "last4": instrument.last4,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": instrument.brand,
            "network_token": {"used": False},
            "network_transaction_id": "104102978678771",
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
            "regulated_status": "unregulated",
            "three_d_secure": None,
            "wallet": None,
        }
        return {"card": card, "type": "card"}
    if instrument.type == "sepa_debit":
        sepa = {
            "bank_code": "37040044",
            "branch_code": "",
            "country": instrument.country,
            "fingerprint": f"fpsepa{instrument.last4}",
            "last4": instrument.last4,
            "mandate": None,
        }
        return {"sepa_debit": sepa, "type": "sepa_debit"}
    return {"multibanco": {"entity": "12345", "reference": "999999999"}, "type": "multibanco"}


def destination_details(instrument: Instrument, *, arrives: bool) -> Json:
    """``refund.destination_details``: docs.stripe.com/refunds#tracing-a-refund."""
    if instrument.type == "card":
        return {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund" if arrives else "pending",
            },
            "type": "card",
        }
    if instrument.type == "sepa_debit":
        return {"type": "sepa_debit"}
    return {"multibanco": {"reference": None, "reference_status": "pending"}, "type": "multibanco"}
