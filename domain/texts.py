"""Every sentence the product itself says, in each language; a pack's own texts lie in the pack.

A key missing in a language fails a test. Amounts and dates are put into the reader's own
form by Babel's CLDR data.
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency

from domain.cases import Language
from domain.money import Money
from domain.policy_texts import POLICY_CATALOGUE

CATALOGUE: dict[str, dict[Language, str]] = {
    "status.open": {
        Language.EN: "Your request is being looked at.",
        Language.ES: "Estamos revisando su solicitud.",
        Language.KO: "요청을 검토하고 있습니다.",
    },
    "status.awaiting_information": {
        Language.EN: "We need something from you before we can decide. {reason} "
        "We wait for it until {until}.",
        Language.ES: "Antes de decidir necesitamos algo de usted. {reason} "
        "Lo esperamos hasta el {until}.",
        Language.KO: "결정하기 전에 고객님께 확인할 것이 있습니다. {reason} "
        "{until}까지 기다리겠습니다.",
    },
    "status.awaiting_approval": {
        Language.EN: "Your refund of {amount} waits for our approval, until {until} at the latest.",
        Language.ES: "Su reembolso de {amount} está pendiente de nuestra aprobación, "
        "a más tardar el {until}.",
        Language.KO: "{amount} 환불이 승인을 기다리고 있으며, 늦어도 {until}까지 결정됩니다.",
    },
    "status.sending": {
        Language.EN: "Your refund of {amount} is on its way to the payment provider.",
        Language.ES: "Su reembolso de {amount} se está enviando al proveedor de pagos.",
        Language.KO: "{amount} 환불을 결제사로 보내는 중입니다.",
    },
    "status.settling": {
        Language.EN: "{amount} was sent to your bank on {sent}; "
        "expect it between {first} and {last}.",
        Language.ES: "Enviamos {amount} a su banco el {sent}; "
        "llegará entre el {first} y el {last}.",
        Language.KO: "{sent}에 {amount}을(를) 은행으로 보냈습니다. "
        "{first}에서 {last} 사이에 입금될 예정입니다.",
    },
    "status.tracing": {
        Language.EN: "{amount} was sent to your bank on {sent} and should have arrived. "
        "We are tracing it and will tell you more by {until}.",
        Language.ES: "Enviamos {amount} a su banco el {sent} y ya debería haber llegado. "
        "Lo estamos rastreando y le informaremos antes del {until}.",
        Language.KO: "{sent}에 {amount}을(를) 은행으로 보냈으나 아직 확인되지 않았습니다. "
        "추적 중이며 {until}까지 알려 드리겠습니다.",
    },
    "closed.refunded": {
        Language.EN: "{amount} was refunded. It is on your statement by {until} at the latest.",
        Language.ES: "Se reembolsaron {amount}. Figurará en su extracto a más tardar el {until}.",
        Language.KO: "{amount}이(가) 환불되었습니다. 늦어도 {until}까지 명세서에 표시됩니다.",
    },
    "closed.credited": {
        Language.EN: "{amount} was added to your account and will be used for your next invoice.",
        Language.ES: "Se abonaron {amount} a su cuenta y se aplicarán a su próxima factura.",
        Language.KO: "{amount}이(가) 계정에 적립되어 다음 청구서에 사용됩니다.",
    },
    "closed.refused": {
        Language.EN: "We cannot make this refund. {reason}",
        Language.ES: "No podemos efectuar este reembolso. {reason}",
        Language.KO: "환불해 드릴 수 없습니다. {reason}",
    },
    "closed.declined": {
        Language.EN: "Your request was reviewed and declined.",
        Language.ES: "Su solicitud fue revisada y no se aprobó.",
        Language.KO: "요청을 검토한 결과 승인되지 않았습니다.",
    },
    "closed.expired": {
        Language.EN: "Your request was not decided in time and has lapsed. You may ask again.",
        Language.ES: "Su solicitud no se resolvió a tiempo y ha caducado. Puede volver a pedirlo.",
        Language.KO: "기한 안에 결정되지 않아 요청이 만료되었습니다. 다시 요청하실 수 있습니다.",
    },
    "closed.withdrawn": {
        Language.EN: "Your request was withdrawn; nothing was refunded.",
        Language.ES: "Su solicitud fue retirada; no se reembolsó nada.",
        Language.KO: "요청이 철회되었으며 환불된 금액은 없습니다.",
    },
    "closed.rejected_by_provider": {
        Language.EN: "The refund could not be made: the charge was refunded or disputed meanwhile.",
        Language.ES: "No se pudo efectuar el reembolso: entretanto el cargo se reembolsó "
        "o se disputó.",
        Language.KO: "그 사이 결제가 이미 환불되었거나 이의 제기되어 환불할 수 없었습니다.",
    },
    "closed.failed_at_bank": {
        Language.EN: "Your bank returned the refund of {amount}. We will contact you about "
        "another way.",
        Language.ES: "Su banco devolvió el reembolso de {amount}. Le contactaremos para "
        "buscar otra vía.",
        Language.KO: "은행에서 {amount} 환불이 반려되었습니다. 다른 방법을 안내해 드리겠습니다.",
    },
    "closed.unconfirmed": {
        Language.EN: "{amount} was sent, but its arrival could not be confirmed. Our finance "
        "team has taken over.",
        Language.ES: "Se enviaron {amount}, pero no se pudo confirmar su llegada. Nuestro equipo "
        "de finanzas se ha hecho cargo.",
        Language.KO: "{amount}을(를) 보냈으나 입금을 확인하지 못했습니다. "
        "재무팀에서 처리하고 있습니다.",
    },
    "closed.recorded": {
        Language.EN: "The payment provider told us of {amount} that no request here explains. "
        "Finance was told.",
        Language.ES: "El proveedor de pagos nos informó de {amount} que ninguna solicitud explica. "
        "Finanzas ha sido informado.",
        Language.KO: "결제사에서 이곳의 어떤 요청으로도 설명되지 않는 {amount} 건을 알려 왔습니다. "
        "재무팀에 알렸습니다.",
    },
    "ending.appeal": {
        Language.EN: "If you have something new to say, you may ask us to look again until "
        "{until}; somebody else will decide.",
        Language.ES: "Si tiene algo nuevo que aportar, puede pedirnos una nueva revisión hasta el "
        "{until}; decidirá otra persona.",
        Language.KO: "새로운 내용이 있으시면 {until}까지 재검토를 요청하실 수 있으며, "
        "다른 담당자가 결정합니다.",
    },
    "ending.original": {
        Language.EN: "We are sending it once more.",
        Language.ES: "Lo estamos enviando de nuevo.",
        Language.KO: "다시 한 번 송금합니다.",
    },
    "ending.account_credit": {
        Language.EN: "Until {until} you may take account credit instead: just tell us that you "
        "agree.",
        Language.ES: "Hasta el {until} puede optar por un saldo en su cuenta: solo tiene que "
        "decirnos que está de acuerdo.",
        Language.KO: "{until}까지 동의해 주시면 대신 계정 크레딧으로 받으실 수 있습니다.",
    },
    "ending.goes_on": {
        Language.EN: "As agreed, {amount} is being added to your account as credit.",
        Language.ES: "Según lo acordado, estamos abonando {amount} como saldo en su cuenta.",
        Language.KO: "동의하신 대로 {amount}을(를) 계정에 적립하고 있습니다.",
    },
    "letter.trace": {
        Language.EN: "To the bank of the cardholder or account holder\n\n"
        "We sent the refund below and have no confirmation that it was credited. "
        "Please trace it.\n\n"
        "Reference: {reference}\nAmount: {amount}\nSent on: {sent}\n"
        "Name on the statement: {descriptor}\nOur file: {case}",
        Language.ES: "Al banco del titular de la tarjeta o de la cuenta\n\n"
        "Enviamos el reembolso indicado abajo y no consta que se haya abonado. "
        "Les rogamos que lo rastreen.\n\n"
        "Referencia: {reference}\nImporte: {amount}\nEnviado el: {sent}\n"
        "Nombre en el extracto: {descriptor}\nNuestro expediente: {case}",
        Language.KO: "카드 또는 계좌 소유자의 은행 귀중\n\n"
        "아래 환불을 보냈으나 입금이 확인되지 않았습니다. 추적하여 주시기 바랍니다.\n\n"
        "참조 번호: {reference}\n금액: {amount}\n보낸 날짜: {sent}\n"
        "명세서 표시 이름: {descriptor}\n당사 문서 번호: {case}",
    },
    "chargeback.none": {
        Language.EN: "The bank's inquiry about this charge is closed.",
        Language.ES: "La consulta del banco sobre este cargo está cerrada.",
        Language.KO: "이 결제에 대한 은행의 문의가 종료되었습니다.",
    },
    "chargeback.inquiry": {
        Language.EN: "Urgent: the bank asks about this charge. A full refund now settles it.",
        Language.ES: "Urgente: el banco pregunta por este cargo. Un reembolso total ahora "
        "lo resuelve.",
        Language.KO: "긴급: 은행에서 이 결제를 문의하고 있습니다. 지금 전액 환불하면 해결됩니다.",
    },
    "chargeback.open": {
        Language.EN: "A chargeback is open on this charge: nothing is refunded meanwhile.",
        Language.ES: "Hay un contracargo abierto sobre este cargo: entretanto no se "
        "reembolsa nada.",
        Language.KO: "이 결제에 지불 거절이 진행 중이므로 그동안 환불하지 않습니다.",
    },
    "chargeback.won": {
        Language.EN: "The bank decided for us: this charge may be refunded again.",
        Language.ES: "El banco resolvió a nuestro favor: este cargo se puede volver a reembolsar.",
        Language.KO: "은행이 저희 측 손을 들어 주어 이 결제를 다시 환불할 수 있습니다.",
    },
    "chargeback.lost": {
        Language.EN: "The bank has given the customer this charge back: nothing more is refunded.",
        Language.ES: "El banco devolvió este cargo al cliente: no se reembolsa nada más.",
        Language.KO: "은행이 이 결제를 고객에게 돌려주었으므로 더 환불하지 않습니다.",
    },
    "chargeback.unknown": {
        Language.EN: "The bank's procedure on this charge is in a state we do not know: "
        "nothing is refunded meanwhile.",
        Language.ES: "El procedimiento del banco sobre este cargo está en un estado que no "
        "conocemos: entretanto no se reembolsa nada.",
        Language.KO: "이 결제에 대한 은행 절차의 상태를 알 수 없어 그동안 환불하지 않습니다.",
    },
    **POLICY_CATALOGUE,
}


def say(key: str, language: Language, **parts: str) -> str:
    """The sentence of ``key``. Raises ``KeyError`` for an unknown key or a missing part."""
    return CATALOGUE[key][language].format(**parts)


def money_in_words(amount: Money, language: Language) -> str:
    """``$26.85``, ``26,85 US$`` …: as the language writes it."""
    return format_currency(amount.to_decimal(), amount.currency.upper(), locale=language.value)


def day_in_words(day: date, language: Language) -> str:
    return format_date(day, format="long", locale=language.value)


def instant_in_words(at: datetime, language: Language, zone: str = "UTC") -> str:
    """Date and time in the reader's zone, with the zone named."""
    return format_datetime(
        at.astimezone(ZoneInfo(zone)), format="d MMM y HH:mm z", locale=language.value
    )
