"""Words for policies: how a rule, a limit or a change between versions is told.

One entry per key and language, as in :mod:`domain.texts`, which says them.
"""

from __future__ import annotations

from domain.cases import Language

POLICY_CATALOGUE: dict[str, dict[Language, str]] = {
    "value.empty": {
        Language.EN: "empty",
        Language.ES: "vacío",
        Language.KO: "비어 있음",
    },
    "value.not_empty": {
        Language.EN: "not empty",
        Language.ES: "no vacío",
        Language.KO: "비어 있지 않음",
    },
    "value.true": {
        Language.EN: "true",
        Language.ES: "verdadero",
        Language.KO: "참",
    },
    "value.false": {
        Language.EN: "false",
        Language.ES: "falso",
        Language.KO: "거짓",
    },
    "value.none": {
        Language.EN: "none",
        Language.ES: "ninguno",
        Language.KO: "없음",
    },
    "value.not_decided": {
        Language.EN: "no answer",
        Language.ES: "sin respuesta",
        Language.KO: "결정 없음",
    },
    "list.or": {
        Language.EN: "{first} or {last}",
        Language.ES: "{first} o {last}",
        Language.KO: "{first} 또는 {last}",
    },
    "list.and": {
        Language.EN: "{first} and {last}",
        Language.ES: "{first} y {last}",
        Language.KO: "{first} 및 {last}",
    },
    "list.clauses": {
        Language.EN: "{first}, and {last}",
        Language.ES: "{first} y además {last}",
        Language.KO: "{first}이고 {last}",
    },
    "bound.lt": {
        Language.EN: "under {value}",
        Language.ES: "menos de {value}",
        Language.KO: "{value} 미만",
    },
    "bound.lte": {
        Language.EN: "at most {value}",
        Language.ES: "como máximo {value}",
        Language.KO: "{value} 이하",
    },
    "bound.gt": {
        Language.EN: "over {value}",
        Language.ES: "más de {value}",
        Language.KO: "{value} 초과",
    },
    "bound.gte": {
        Language.EN: "at least {value}",
        Language.ES: "como mínimo {value}",
        Language.KO: "{value} 이상",
    },
    "bound.eq": {
        Language.EN: "exactly {value}",
        Language.ES: "exactamente {value}",
        Language.KO: "정확히 {value}",
    },
    "day.lt": {
        Language.EN: "before {value}",
        Language.ES: "antes de {value}",
        Language.KO: "{value} 전",
    },
    "day.lte": {
        Language.EN: "{value} or before",
        Language.ES: "{value} o antes",
        Language.KO: "{value} 또는 그 전",
    },
    "day.gt": {
        Language.EN: "after {value}",
        Language.ES: "después de {value}",
        Language.KO: "{value} 후",
    },
    "day.gte": {
        Language.EN: "{value} or after",
        Language.ES: "{value} o después",
        Language.KO: "{value} 또는 그 후",
    },
    "day.eq": {
        Language.EN: "on {value}",
        Language.ES: "en {value}",
        Language.KO: "{value} 당일",
    },
    "age.older_than": {
        Language.EN: "{length} ago or more",
        Language.ES: "de hace {length} o más",
        Language.KO: "{length} 이상 경과",
    },
    "age.younger_than": {
        Language.EN: "less than {length} ago",
        Language.ES: "de hace menos de {length}",
        Language.KO: "{length} 미만 경과",
    },
    "set.any_of": {
        Language.EN: "any of {words}",
        Language.ES: "alguno de {words}",
        Language.KO: "{words} 중 하나 이상",
    },
    "set.subset": {
        Language.EN: "nothing but {words}",
        Language.ES: "nada más que {words}",
        Language.KO: "오직 {words}만",
    },
    "lookup": {
        Language.EN: "by {by}: {cases}",
        Language.ES: "según {by}: {cases}",
        Language.KO: "{by}별: {cases}",
    },
    "length.min": {
        Language.EN: "{count} minutes",
        Language.ES: "{count} minutos",
        Language.KO: "{count}분",
    },
    "length.min.one": {
        Language.EN: "{count} minute",
        Language.ES: "{count} minuto",
        Language.KO: "{count}분",
    },
    "length.d": {
        Language.EN: "{count} days",
        Language.ES: "{count} días",
        Language.KO: "{count}일",
    },
    "length.d.one": {
        Language.EN: "{count} day",
        Language.ES: "{count} día",
        Language.KO: "{count}일",
    },
    "length.bd": {
        Language.EN: "{count} business days",
        Language.ES: "{count} días hábiles",
        Language.KO: "{count}영업일",
    },
    "length.bd.one": {
        Language.EN: "{count} business day",
        Language.ES: "{count} día hábil",
        Language.KO: "{count}영업일",
    },
    "length.M": {
        Language.EN: "{count} months",
        Language.ES: "{count} meses",
        Language.KO: "{count}개월",
    },
    "length.M.one": {
        Language.EN: "{count} month",
        Language.ES: "{count} mes",
        Language.KO: "{count}개월",
    },
    "length.Y": {
        Language.EN: "{count} years",
        Language.ES: "{count} años",
        Language.KO: "{count}년",
    },
    "length.Y.one": {
        Language.EN: "{count} year",
        Language.ES: "{count} año",
        Language.KO: "{count}년",
    },
    "offset": {
        Language.EN: "{length} after the decision",
        Language.ES: "{length} después de la decisión",
        Language.KO: "결정일로부터 {length}",
    },
    "offset.from": {
        Language.EN: "{length} after {start}",
        Language.ES: "{length} después de {start}",
        Language.KO: "{start}부터 {length}",
    },
    "round.half_even": {
        Language.EN: "rounded, a half to the even digit",
        Language.ES: "redondeado, la mitad al dígito par",
        Language.KO: "반올림(절반은 짝수로)",
    },
    "round.half_up": {
        Language.EN: "rounded, a half up",
        Language.ES: "redondeado, la mitad hacia arriba",
        Language.KO: "반올림",
    },
    "round.down": {
        Language.EN: "rounded down",
        Language.ES: "redondeado hacia abajo",
        Language.KO: "내림",
    },
    "round.up": {
        Language.EN: "rounded up",
        Language.ES: "redondeado hacia arriba",
        Language.KO: "올림",
    },
    "value.same_as": {
        Language.EN: "the same as {name}",
        Language.ES: "igual a {name}",
        Language.KO: "{name} 값과 같음",
    },
    "clause.is": {
        Language.EN: "{name} is {words}",
        Language.ES: "{name} es {words}",
        Language.KO: "{name} {words}",
    },
    "clause.holds": {
        Language.EN: "{name} holds {words}",
        Language.ES: "{name} contiene {words}",
        Language.KO: "{name} 내용이 {words}",
    },
    "rule.if": {
        Language.EN: "If {conditions}, then {outputs}.",
        Language.ES: "Si {conditions}, entonces {outputs}.",
        Language.KO: "{conditions}인 경우 결과는 {outputs}입니다.",
    },
    "rule.otherwise": {
        Language.EN: "In every other case, {outputs}.",
        Language.ES: "En todos los demás casos, {outputs}.",
        Language.KO: "그 밖의 모든 경우 결과는 {outputs}입니다.",
    },
    "rule.always": {
        Language.EN: "Always, {outputs}.",
        Language.ES: "Siempre, {outputs}.",
        Language.KO: "언제나 결과는 {outputs}입니다.",
    },
    "rule.gap": {
        Language.EN: "If {conditions}, nothing is decided.",
        Language.ES: "Si {conditions}, no se decide nada.",
        Language.KO: "{conditions}인 경우 아무것도 결정하지 않습니다.",
    },
    "hit.first": {
        Language.EN: "The first rule that holds decides.",
        Language.ES: "Decide la primera regla que se cumple.",
        Language.KO: "먼저 충족된 규칙이 결정합니다.",
    },
    "hit.unique": {
        Language.EN: "Exactly one rule holds and decides.",
        Language.ES: "Se cumple y decide exactamente una regla.",
        Language.KO: "정확히 하나의 규칙만 충족되어 결정합니다.",
    },
    "hit.collect": {
        Language.EN: "Every rule that holds adds its answer.",
        Language.ES: "Cada regla que se cumple añade su respuesta.",
        Language.KO: "충족된 모든 규칙의 결과를 모읍니다.",
    },
    "table.guard": {
        Language.EN: "It runs only if {conditions}.",
        Language.ES: "Solo se aplica si {conditions}.",
        Language.KO: "{conditions}인 경우에만 적용됩니다.",
    },
    "sheet.title": {
        Language.EN: "Policy {policy}, version {version}",
        Language.ES: "Política {policy}, versión {version}",
        Language.KO: "정책 {policy}, 버전 {version}",
    },
    "sheet.lead": {
        Language.EN: "In force from {day}; owner {owner}; content {hash}.",
        Language.ES: "En vigor desde el {day}; responsable: {owner}; contenido {hash}.",
        Language.KO: "{day}부터 시행; 담당 {owner}; 내용 {hash}.",
    },
    "section.table": {
        Language.EN: "Table {name}",
        Language.ES: "Tabla {name}",
        Language.KO: "표 {name}",
    },
    "section.gaps": {
        Language.EN: "Left undecided on purpose in {name}",
        Language.ES: "Sin decidir a propósito en {name}",
        Language.KO: "{name}에서 의도적으로 결정하지 않음",
    },
    "section.timers": {
        Language.EN: "Timers",
        Language.ES: "Plazos",
        Language.KO: "기한",
    },
    "section.routes": {
        Language.EN: "Approval routes",
        Language.ES: "Vías de aprobación",
        Language.KO: "승인 경로",
    },
    "section.authority": {
        Language.EN: "Who may approve how much",
        Language.ES: "Quién puede aprobar y cuánto",
        Language.KO: "승인 한도",
    },
    "section.texts": {
        Language.EN: "What customers read",
        Language.ES: "Lo que leen los clientes",
        Language.KO: "고객에게 보이는 문구",
    },
    "section.catalogues": {
        Language.EN: "Catalogues",
        Language.ES: "Catálogos",
        Language.KO: "목록",
    },
    "section.calendars": {
        Language.EN: "Calendars",
        Language.ES: "Calendarios",
        Language.KO: "달력",
    },
    "section.counters": {
        Language.EN: "Counters",
        Language.ES: "Contadores",
        Language.KO: "집계",
    },
    "section.jurisdictions": {
        Language.EN: "Jurisdictions",
        Language.ES: "Jurisdicciones",
        Language.KO: "관할",
    },
    "section.clocks": {
        Language.EN: "Legal clocks",
        Language.ES: "Plazos legales",
        Language.KO: "법정 기한",
    },
    "heading.rule": {
        Language.EN: "rule",
        Language.ES: "regla",
        Language.KO: "규칙",
    },
    "heading.when": {
        Language.EN: "when",
        Language.ES: "cuándo",
        Language.KO: "조건",
    },
    "heading.then": {
        Language.EN: "then",
        Language.ES: "entonces",
        Language.KO: "결과",
    },
    "heading.why": {
        Language.EN: "why",
        Language.ES: "por qué",
        Language.KO: "이유",
    },
    "heading.sentence": {
        Language.EN: "in words",
        Language.ES: "en palabras",
        Language.KO: "설명",
    },
    "heading.route": {
        Language.EN: "route",
        Language.ES: "vía",
        Language.KO: "경로",
    },
    "heading.slot": {
        Language.EN: "approval",
        Language.ES: "aprobación",
        Language.KO: "승인",
    },
    "heading.roles": {
        Language.EN: "by",
        Language.ES: "por",
        Language.KO: "승인자",
    },
    "heading.expires": {
        Language.EN: "within",
        Language.ES: "en el plazo de",
        Language.KO: "기한",
    },
    "heading.remind": {
        Language.EN: "reminded after",
        Language.ES: "recordatorio tras",
        Language.KO: "알림",
    },
    "heading.escalate": {
        Language.EN: "also by",
        Language.ES: "también por",
        Language.KO: "추가 승인자",
    },
    "heading.role": {
        Language.EN: "role",
        Language.ES: "rol",
        Language.KO: "역할",
    },
    "heading.kind": {
        Language.EN: "kind of case",
        Language.ES: "tipo de caso",
        Language.KO: "건 종류",
    },
    "heading.each": {
        Language.EN: "each time",
        Language.ES: "cada vez",
        Language.KO: "건별",
    },
    "heading.per_day": {
        Language.EN: "in one day",
        Language.ES: "en un día",
        Language.KO: "하루",
    },
    "heading.key": {
        Language.EN: "key",
        Language.ES: "clave",
        Language.KO: "키",
    },
    "heading.text": {
        Language.EN: "text",
        Language.ES: "texto",
        Language.KO: "문구",
    },
    "heading.name": {
        Language.EN: "name",
        Language.ES: "nombre",
        Language.KO: "이름",
    },
    "heading.value": {
        Language.EN: "value",
        Language.ES: "valor",
        Language.KO: "값",
    },
    "heading.table": {
        Language.EN: "table",
        Language.ES: "tabla",
        Language.KO: "표",
    },
    "heading.what": {
        Language.EN: "what",
        Language.ES: "qué",
        Language.KO: "변경",
    },
    "heading.where": {
        Language.EN: "where",
        Language.ES: "dónde",
        Language.KO: "위치",
    },
    "heading.before": {
        Language.EN: "before",
        Language.ES: "antes",
        Language.KO: "이전",
    },
    "heading.after": {
        Language.EN: "after",
        Language.ES: "después",
        Language.KO: "이후",
    },
    "heading.output": {
        Language.EN: "output",
        Language.ES: "resultado",
        Language.KO: "출력",
    },
    "heading.outcome": {
        Language.EN: "outcome",
        Language.ES: "desenlace",
        Language.KO: "결과값",
    },
    "heading.cases": {
        Language.EN: "cases",
        Language.ES: "casos",
        Language.KO: "건수",
    },
    "heading.samples": {
        Language.EN: "for instance",
        Language.ES: "por ejemplo",
        Language.KO: "예시",
    },
    "heading.money": {
        Language.EN: "difference in money",
        Language.ES: "diferencia en dinero",
        Language.KO: "금액 차이",
    },
    "heading.approvals": {
        Language.EN: "difference in approvals",
        Language.ES: "diferencia en aprobaciones",
        Language.KO: "승인 수 차이",
    },
    "heading.facts": {
        Language.EN: "facts",
        Language.ES: "hechos",
        Language.KO: "사실",
    },
    "route.nobody": {
        Language.EN: "nobody is asked",
        Language.ES: "no se pregunta a nadie",
        Language.KO: "승인 없음",
    },
    "route.escalation": {
        Language.EN: "{roles} after {after}",
        Language.ES: "{roles} tras {after}",
        Language.KO: "{after} 후 {roles}",
    },
    "mark.unverified": {
        Language.EN: "{value} (not verified)",
        Language.ES: "{value} (sin verificar)",
        Language.KO: "{value} (미확인)",
    },
    "calendar.line": {
        Language.EN: "{zone}; holidays from {first} to {last}: {days}",
        Language.ES: "{zone}; festivos del {first} al {last}: {days}",
        Language.KO: "{zone}; {first}부터 {last}까지 휴일 {days}일",
    },
    "change.added": {
        Language.EN: "added",
        Language.ES: "añadida",
        Language.KO: "추가",
    },
    "change.removed": {
        Language.EN: "removed",
        Language.ES: "eliminada",
        Language.KO: "삭제",
    },
    "change.moved": {
        Language.EN: "moved",
        Language.ES: "movida",
        Language.KO: "이동",
    },
    "change.changed": {
        Language.EN: "changed",
        Language.ES: "modificada",
        Language.KO: "변경됨",
    },
    "change.place": {
        Language.EN: "place {place}",
        Language.ES: "puesto {place}",
        Language.KO: "{place}번째",
    },
    "difference.title": {
        Language.EN: "{before} compared with {after}",
        Language.ES: "{before} comparada con {after}",
        Language.KO: "{before}, {after} 비교",
    },
    "difference.equal": {
        Language.EN: "The two say the same.",
        Language.ES: "Las dos dicen lo mismo.",
        Language.KO: "두 버전의 내용이 같습니다.",
    },
    "difference.lead": {
        Language.EN: "Rules that differ: {rules}; other places: {blocks}.",
        Language.ES: "Reglas que difieren: {rules}; otros lugares: {blocks}.",
        Language.KO: "다른 규칙: {rules}; 그 밖의 위치: {blocks}.",
    },
    "difference.rules": {
        Language.EN: "Rules",
        Language.ES: "Reglas",
        Language.KO: "규칙",
    },
    "difference.blocks": {
        Language.EN: "Everything else",
        Language.ES: "Todo lo demás",
        Language.KO: "그 밖의 내용",
    },
    "difference.outcomes": {
        Language.EN: "Which rules lead to which outcome",
        Language.ES: "Qué reglas llevan a qué desenlace",
        Language.KO: "결과값별 규칙",
    },
    "difference.witnesses": {
        Language.EN: "Facts on which the answer differs",
        Language.ES: "Hechos con respuesta distinta",
        Language.KO: "답이 달라지는 사실",
    },
    "difference.sought": {
        Language.EN: "Sought in the examples of both versions and beside each limit that changed.",
        Language.ES: "Buscados en los ejemplos de ambas versiones y junto a cada límite cambiado.",
        Language.KO: "두 버전의 예시와 변경된 한도의 양쪽에서 찾았습니다.",
    },
    "transition.title": {
        Language.EN: "{before} to {after}, past decisions: {count}",
        Language.ES: "De {before} a {after}, decisiones pasadas: {count}",
        Language.KO: "과거 결정 {count}건: {before}에서 {after}로",
    },
    "transition.lead": {
        Language.EN: "Come out otherwise: {changed}.",
        Language.ES: "Resultan distintas: {changed}.",
        Language.KO: "그중 {changed}건의 결과가 다릅니다.",
    },
    "transition.rules": {
        Language.EN: "Rules of table {name}",
        Language.ES: "Reglas de la tabla {name}",
        Language.KO: "표 {name}의 규칙",
    },
    "transition.output": {
        Language.EN: "Outcome {name}",
        Language.ES: "Desenlace {name}",
        Language.KO: "결과값 {name}",
    },
    "transition.totals": {
        Language.EN: "In total",
        Language.ES: "En total",
        Language.KO: "합계",
    },
    "transition.before": {
        Language.EN: "version before",
        Language.ES: "versión anterior",
        Language.KO: "이전 버전",
    },
    "transition.after": {
        Language.EN: "version after",
        Language.ES: "versión posterior",
        Language.KO: "이후 버전",
    },
    "transition.skipped": {
        Language.EN: "No rule fired.",
        Language.ES: "Ninguna regla se aplicó.",
        Language.KO: "적용된 규칙이 없습니다.",
    },
}
