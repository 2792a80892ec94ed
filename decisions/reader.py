"""From a joined document to typed data: every part of a pack read, every finding told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from decisions.blocks import (
    LANGUAGES,
    Limit,
    SlotRule,
    Timers,
    read_authority,
    read_routes,
    read_texts,
    read_timers,
)
from decisions.calendars import read_calendars, read_date
from decisions.catalogues import Catalogues, catalogue_words, read_catalogues
from decisions.conditions import Condition, read_conditions
from decisions.counters import Counter
from decisions.declarations import (
    NAME,
    Attribute,
    Vocabulary,
    read_attributes,
    read_inputs,
    read_outputs,
)
from decisions.findings import Collector
from decisions.jurisdictions import (
    RuleBook,
    entries_by_name,
    read_clock_books,
    read_jurisdictions,
)
from decisions.literals import Scope, is_currency
from decisions.merge import LISTS, MAPS
from decisions.shapes import entries, known_keys, read_name, rows
from decisions.source import BAD, Node
from decisions.table import HITS, Table, read_rules
from decisions.types import SEVERAL, WORDS, ValueType
from domain.deadlines import BusinessCalendar
from domain.evidence import Information

ASK = "ask"
INFORMATION = "information"

FORMAT = 1
MOST_VERSIONS = 999_999
TABLE_KEYS = ("hit", "when", "inputs", "outputs", "rules", "accept_gaps")
HEAD_KEYS = (
    "format", "policy", "version", "effective_from", "owner", "currencies", "languages",
    "includes", "repin", "tables", "examples", "example_facts", "timers", *MAPS, *LISTS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a pack's document says, typed. ``examples`` are still nodes."""

    name: str
    version: int
    effective_from: date
    owner: str
    currencies: tuple[str, ...] | None
    languages: tuple[str, ...] | None
    inputs: dict[str, ValueType]
    attributes: dict[str, Attribute]
    tables: tuple[Table, ...]
    calendars: dict[str, BusinessCalendar]
    timers: Timers
    routes: dict[str, tuple[SlotRule, ...]]
    authority: tuple[Limit, ...]
    texts: dict[str, dict[str, str]]
    catalogues: Catalogues
    jurisdictions: dict[str, RuleBook]
    clocks: dict[str, RuleBook]
    counters: dict[str, Counter]
    repins: tuple[int, ...]

    @property
    def only_currency(self) -> str | None:
        """The one that amounts are in even where no money fact tells any."""
        return self.currencies[0] if self.currencies and len(self.currencies) == 1 else None

    @property
    def facts(self) -> dict[str, ValueType]:
        """Every fact that the tables may read, attributes included (``attributes.tier``)."""
        named = {f"attributes.{name}": item.kind for name, item in self.attributes.items()}
        return {**self.inputs, **named}


def read_pack(node: Node, into: Collector) -> Parts | None:
    """The parts of a joined document; None when findings make them meaningless."""
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"a policy is a map, not {node.shape()}")
        return None
    format_node = node.get("format")
    if format_node is None or format_node.value != FORMAT or format_node.value is True:
        into.add(format_node or node, "format", "format: 1 is missing", allowed="1")
        return None
    single = "tables" not in node.value
    known_keys(node, (*HEAD_KEYS, *TABLE_KEYS) if single else HEAD_KEYS_STAGED, into)
    currencies = _words(node, "currencies", into)
    for item in _items(node, "currencies"):
        if isinstance(item.value, str) and not is_currency(item.value):
            into.add(item, "unknown-currency", f"{item.value!r} is no currency code")
            # amounts are not to name a currency that there is not
            currencies = tuple(c for c in currencies or () if c != item.value) or None
    languages = _words(node, "languages", into, LANGUAGES)
    calendars = read_calendars(node.get("calendars"), into)
    timers = read_timers(node.get("timers"), calendars, into)
    routes = read_routes(node.get("routes"), into)
    texts = read_texts(node.get("texts"), languages, into)
    vocabulary = Vocabulary(tuple(texts), tuple(routes), catalogue_words(node.get("catalogues")))
    jurisdictions = read_jurisdictions(node.get("jurisdictions"), into)
    clocks = read_clock_books(node.get("clocks"), into)
    attributes = read_attributes(node.get("attributes"), vocabulary, into)
    inputs, counters = read_inputs(node.get("inputs"), vocabulary, into)
    if not inputs and not attributes and node.get("inputs") is None:
        into.add(node, "missing-key", "inputs is missing: the facts that the rules read")
    known = calendars.get(timers.calendar or "")
    scope = Scope(
        into,
        {**inputs, **{f"attributes.{name}": a.kind for name, a in attributes.items()}},
        currencies,
        known.zone if known else "UTC",
        known,
        law=entries_by_name({**jurisdictions, **clocks}),
    )
    catalogues = read_catalogues(node.get("catalogues"), tuple(texts), scope)
    tables = _read_tables(node, single, scope, vocabulary)
    _check_questions(node, single, inputs, into)
    authority = read_authority(node.get("authority"), scope)
    name = read_name(node, "policy", into)
    number = node.get("version")
    if number is None:
        into.add(node, "missing-key", "version is missing: a whole number")
    elif not isinstance(number.value, int) or isinstance(number.value, bool) or number.value < 1:
        into.add(number, "wrong-type", "version is a whole number from 1")
    start = read_date(node, "effective_from", into)
    owner = read_name(node, "owner", into)
    # whatever is missing has its finding: the rest is read all the same
    version = (
        number.value if number is not None and isinstance(number.value, int) else MOST_VERSIONS
    )
    return Parts(
        name or "", version, start or date.min, owner or "", currencies, languages, inputs,
        attributes, tables, calendars, timers, routes, authority, texts, catalogues,
        jurisdictions, clocks, counters, _read_repin(node.get("repin"), version, into),
    )  # fmt: skip


def _read_repin(node: Node | None, version: int, into: Collector) -> tuple[int, ...]:
    """``repin: [1, 2]``: earlier versions whose running cases go on under this one."""
    if node is None or node.value is BAD:
        return ()
    if not isinstance(node.value, tuple) or not node.value:
        into.add(node, "wrong-type", f"repin is a list of versions, not {node.shape()}")
        return ()
    found: list[int] = []
    for item in node.value:
        number = item.value
        if number is BAD:
            continue
        if not isinstance(number, int) or isinstance(number, bool):
            into.add(item, "wrong-type", f"{item.shape()} where a version belongs", allowed="1, 2")
        elif not 1 <= number < version:
            into.add(item, "out-of-range", f"version {number} is not an earlier one")
        elif number in found:
            into.add(item, "duplicate-value", f"version {number} stands twice")
        else:
            found.append(number)
    return tuple(sorted(found))


HEAD_KEYS_STAGED = (*HEAD_KEYS, "inputs")


def _check_questions(
    node: Node, single: bool, inputs: dict[str, ValueType], into: Collector
) -> None:
    """A policy whose verdict may be ``ask`` says what is wanted and for how long it waits, and
    reads what became of it: or a case would wait, or be asked, for ever."""
    clocks = node.get("timers")
    for table in (node,) if single else _items(node, "tables"):
        outputs = table.get("outputs")
        verdict = outputs.get("verdict") if outputs is not None else None
        words = _items(verdict, "values") if verdict is not None else ()
        for place in (word for word in words if word.value == ASK):
            if clocks is None or clocks.get(INFORMATION) is None:
                into.add(
                    place, "missing-key",
                    "timers has no information: how long a customer who is asked may take",
                    allowed="information: 10bd",
                )  # fmt: skip
            read = inputs.get(INFORMATION)
            if read is None or set(read.values) != set(Information):
                into.add(
                    place, "undefined-input",
                    f"a policy that asks reads the fact {INFORMATION}, or it asks the same again",
                    allowed=f"{INFORMATION}: {{type: enum, values: "
                    f"[{', '.join(Information)}]}}",
                )  # fmt: skip
        for rule in _items(table, "rules"):
            then = rule.get("then")
            said = then.get("verdict") if then is not None else None
            if then is None or said is None or said.value != ASK:
                continue
            reason = then.get("reason")
            if reason is None or reason.value is None:
                into.add(
                    reason or then, "missing-output",
                    "a rule that asks says in reason what is wanted", allowed="a key of texts",
                )  # fmt: skip


def _items(node: Node, key: str) -> tuple[Node, ...]:
    item = node.get(key)
    return item.value if item is not None and isinstance(item.value, tuple) else ()


def _words(
    node: Node, key: str, into: Collector, allowed: tuple[str, ...] = ()
) -> tuple[str, ...] | None:
    item = node.get(key)
    if item is None or item.value is BAD:
        return None
    if not isinstance(item.value, tuple) or not item.value:
        into.add(item, "wrong-type", f"{key} is a list of words, not {item.shape()}")
        return None
    words: list[str] = []
    for word in item.value:
        if not isinstance(word.value, str):
            into.add(word, "wrong-type", f"{word.shape()} where a word belongs")
        elif allowed and word.value not in allowed:
            into.add(
                word, "unknown-value", f"{word.value!r} is not known",
                allowed=allowed, wrong=word.value,
            )  # fmt: skip
        elif word.value in words:
            into.add(word, "duplicate-value", f"{word.value!r} stands twice")
        else:
            words.append(word.value)
    return tuple(words)


def _read_tables(
    node: Node, single: bool, scope: Scope, vocabulary: Vocabulary
) -> tuple[Table, ...]:
    into = scope.into
    if single:
        policy = node.get("policy")
        label = policy.value if policy is not None and isinstance(policy.value, str) else "table"
        return (_read_table(node, label, scope, vocabulary, {}, is_single=True),)
    found: dict[str, Table] = {}
    outputs: dict[str, str] = {}
    for row in rows(node.get("tables"), "tables", into):
        known_keys(row, ("table", *TABLE_KEYS), into)
        label = read_name(row, "table", into) or "?"
        place = row.get("table") or row
        if label != "?" and not NAME.fullmatch(label):
            into.add(place, "name", f"{label!r} is no name", allowed="small letters, digits, _")
        if label in found:
            into.add(place, "duplicate-id", f"the table {label!r} stands already")
            continue
        table = _read_table(row, label, scope, vocabulary, found)
        for name in table.outputs:
            if name in outputs:
                owner = row.get("outputs") or row
                key = owner.keys.get(name, owner)
                into.add(
                    key, "duplicate-id",
                    f"output {name!r} belongs to table {outputs[name]} already; "
                    "a decision joins the outputs of all tables",
                )  # fmt: skip
            outputs.setdefault(name, label)
        found[label] = table
    if not found:
        into.add(node.get("tables") or node, "missing-key", "tables needs at least one table")
    return tuple(found.values())


def _read_table(
    node: Node,
    name: str,
    pack: Scope,
    vocabulary: Vocabulary,
    earlier: dict[str, Table],
    *,
    is_single: bool = False,
) -> Table:
    into = pack.into
    results = {
        f"{table.name}.{output}": kind
        for table in earlier.values()
        for output, kind in _results(table).items()
    }
    guard_scope = _scope(pack, {**pack.inputs, **_all_nullable(results)}, results)
    guard: tuple[Condition, ...] = ()
    if node.get("when") is not None:
        guard = read_conditions(node.get("when"), node, guard_scope) or ()
        for condition in guard:
            if condition.lookups:
                into.add(node.get("when") or node, "wrong-type", "a table's when takes no lookups")
    seen = _seen_by(earlier, guard)
    aliases = {} if is_single else _read_aliases(node.get("inputs"), pack.inputs, seen, into)
    inputs = {**pack.inputs, **seen, **{name: seen[source] for name, source in aliases.items()}}
    scope = _scope(pack, inputs, {*seen, *aliases})
    scope.units.update(guard_scope.units)
    hit = "first"
    hit_node = node.get("hit")
    if hit_node is not None:
        if hit_node.value in HITS:
            hit = str(hit_node.value)
        elif hit_node.value is not BAD:
            into.add(
                hit_node, "unknown-value", f"{hit_node.shape()} is no hit policy",
                allowed=HITS, wrong=str(hit_node.value),
            )  # fmt: skip
    outputs = read_outputs(node.get("outputs"), vocabulary, into)
    if node.get("outputs") is None:
        into.add(node, "missing-key", "outputs is missing: what the rules answer")
    rules = read_rules(node.get("rules"), node, outputs, scope)
    gaps = []
    for gap in rows(node.get("accept_gaps"), "accept_gaps", into):
        known_keys(gap, ("when", "why"), into)
        read_name(gap, "why", into)
        conditions = read_conditions(gap.get("when"), gap, scope)
        if conditions is not None:
            gaps.append(conditions)
    return Table(name, hit, guard, inputs, aliases, outputs, rules, tuple(gaps))


def _scope(pack: Scope, inputs: dict[str, ValueType], results: Iterable[str]) -> Scope:
    return replace(pack, inputs=inputs, results=frozenset(results), units={})


def _all_nullable(results: dict[str, ValueType]) -> dict[str, ValueType]:
    return {name: kind.or_null() for name, kind in results.items()}


def _seen_by(earlier: dict[str, Table], guard: tuple[Condition, ...]) -> dict[str, ValueType]:
    """Results of earlier tables as this table sees them.

    A result may be null unless its table always answers whenever this one runs: it is closed,
    and each condition of its guard stands in this table's guard too.
    """
    found: dict[str, ValueType] = {}
    for table in earlier.values():
        always = (table.is_closed or table.hit == "collect") and all(
            any(c.input == own.input and c.test == own.test for own in guard) for c in table.guard
        )
        for output, kind in _results(table).items():
            found[f"{table.name}.{output}"] = kind if always else kind.or_null()
    return found


def _results(table: Table) -> dict[str, ValueType]:
    """A table's outputs as inputs of later ones: lists, and the words that a ``collect``
    gathers, are sets; its other answers are no input."""
    many = table.hit == "collect"
    return {
        name: ValueType("set", kind.nullable and not many, values=kind.values, of=kind.of)
        if kind.kind in SEVERAL or (many and kind.kind in WORDS)
        else kind
        for name, kind in table.outputs.items()
        if not many or kind.kind in SEVERAL or kind.kind in WORDS
    }


def _read_aliases(
    node: Node | None,
    inputs: dict[str, ValueType],
    seen: dict[str, ValueType],
    into: Collector,
) -> dict[str, str]:
    """``inputs: {verdict: {from: eligibility.verdict}}`` of a table: names for results."""
    found: dict[str, str] = {}
    for key_node, name, item in entries(node, "a table's inputs", into):
        known_keys(item, ("from",), into)
        source = read_name(item, "from", into)
        if source is None:
            continue
        if source not in seen:
            into.add(
                item.get("from") or item, "undefined-input",
                f"{source!r} is no result of an earlier table",
                allowed=sorted(seen), wrong=source,
            )  # fmt: skip
        elif name in inputs or not NAME.fullmatch(name):
            into.add(key_node, "duplicate-id", f"{name!r} is an input of the pack already")
        else:
            found[name] = source
    return found
