"""Stripe-shaped errors: HTTP status plus ``{"error": {type, code, param, message, ...}}``.

Shapes and codes: docs.stripe.com/api/errors and docs.stripe.com/error-codes.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

INVALID_REQUEST = "invalid_request_error"
DOC_URL = "https://stripe.com/docs/error-codes/"


class StripeError(Exception):
    """An answer that is not 2xx.

    ``executed`` tells whether the endpoint had begun its work. Only then does the idempotency
    layer keep the answer (docs.stripe.com/api/idempotent_requests). ``keeps_effects`` is for
    declines: an error to the caller whose charge and events stay.
    """

    keeps_effects = False

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID_REQUEST,
        code: str | None = None,
        param: str | None = None,
        executed: bool = True,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        error: Json = {"message": message, "type": type}
        if code is not None:
            error["code"] = code
            error["doc_url"] = DOC_URL + code.replace("_", "-")
        if param is not None:
            error["param"] = param
        error.update(extra)
        self.error = error

    @property
    def body(self) -> Json:
        return {"error": self.error}


class BrokenMoneyRule(Exception):
    """The sandbox itself would have broken a rule of money: always a bug, always a loud 500."""


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> StripeError:
    """Parameters that fail validation: nothing began, so the key is not used up."""
    return StripeError(400, message, code=code, param=param, executed=False)


def refused(message: str, *, code: str | None = None, param: str | None = None) -> StripeError:
    """A business refusal: the endpoint ran, looked and said no."""
    return StripeError(400, message, code=code, param=param)


def missing(kind: str, id: str, *, param: str, in_path: bool) -> StripeError:
    """docs.stripe.com/error-codes#resource-missing; 404 for the path, 400 for a parameter."""
    return StripeError(
        404 if in_path else 400,
        f"No such {kind}: '{id}'",
        code="resource_missing",
        param=param,
    )


def unknown_url(method: str, path: str) -> StripeError:
    return StripeError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or "
        "we can help at https://support.stripe.com/.",
        executed=False,
    )


def unauthorized(message: str) -> StripeError:
    return StripeError(401, message, executed=False)
