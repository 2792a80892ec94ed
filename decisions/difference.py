"""What differs between two versions of a policy: by rule, by block, by outcome, and on which facts.

Rules are told apart by their id within their table. Facts with another answer are sought in the
examples of both versions and on both sides of every limit of a rule that changed; that finds
what a changed limit does, and is no proof that nothing else differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import SequenceMatcher
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from decisions.findings import Collector, FactError, Undecided
from decisions.in_words import PLAIN, Wording
from decisions.literals import Scope, read_literal
from decisions.pack import Pack
from decisions.sheets import Grid, Sheet
from decisions.show import document_of, entry, tables_of
from decisions.source import node_of
from decisions.table import Table
from decisions.types import WHOLE, WORDS, ValueType
from domain.canonical import parse_instant
from domain.cases import Language
from domain.decisions import Decision
from domain.money import Money

NOT_COMPARED = frozenset({"version", "tables", "rules"})
"""Keys that differ in every version, or that are compared rule by rule."""

COUNTED = frozenset({"examples"})
"""Lists of which only the length is told."""

OUTCOMES = WORDS | {"bool", "list", "choice"}

MOST_WITNESSES = 20


@dataclass(frozen=True, slots=True)
class RuleChange:
    """``change`` is ``added``, ``removed``, ``moved`` or ``changed``; ``cell`` says what of the
    rule (``when amount``, ``then route``, ``why``), ``before`` and ``after`` in words."""

    table: str
    rule: str
    change: str
    cell: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class BlockChange:
    """Anything but a rule: ``where`` is its path in the document; "" where it is not there."""

    where: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class OutcomeChange:
    """Another set of rules leads to ``outcome`` of ``output``; rule ids, in the rules' order."""

    output: str
    outcome: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Witness:
    """Facts on which the two versions answer differently. ``facts`` are all of them, in JSON
    types; ``told`` those that set the case apart. ``before`` and ``after`` hold what differs:
    fired rules by table and outputs by name."""

    facts: dict[str, Any]
    told: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    rules: tuple[RuleChange, ...]
    blocks: tuple[BlockChange, ...]
    outcomes: tuple[OutcomeChange, ...]
    witnesses: tuple[Witness, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the two say the same, whatever their version numbers."""
        return not (self.rules or self.blocks)


def compare(before: Pack, after: Pack, language: Language = Language.EN) -> Difference:
    """What ``after`` says otherwise than ``before``, in the words of ``language``."""
    words = Wording(language)
    rules = tuple(_rule_changes(words, before, after))
    touched = {(change.table, change.rule) for change in rules}
    return Difference(
        rules,
        tuple(_block_changes(words, before, after)),
        tuple(_outcome_changes(words, before, after)),
        tuple(_witnesses(words, before, after, touched)),
    )


# --- by rule ---------------------------------------------------------------------------------


def _rule_changes(words: Wording, before: Pack, after: Pack) -> Iterator[RuleChange]:
    olds, news = (
        {table.name: (table, written) for table, written in tables_of(pack)}
        for pack in (before, after)
    )
    for name in [*olds, *(name for name in news if name not in olds)]:
        old, old_written = olds.get(name, (None, {"rules": []}))
        new, new_written = news.get(name, (None, {"rules": []}))
        table = new or old
        if table is None:
            continue
        was = {rule["id"]: rule for rule in old_written["rules"]}
        now = {rule["id"]: rule for rule in new_written["rules"]}
        moved = _moved([i for i in was if i in now], [i for i in now if i in was])
        places = {
            rule: [words.say("change.place", place=str(list(ids).index(rule) + 1))
                   for ids in (was, now)]
            for rule in moved
        }  # fmt: skip
        for rule in was:
            if rule not in now:
                told = _sentence(words, old or table, was, rule)
                yield RuleChange(name, rule, "removed", "", told, "")
        for rule in now:
            if rule not in was:
                told = _sentence(words, new or table, now, rule)
                yield RuleChange(name, rule, "added", "", "", told)
                continue
            if rule in moved:
                yield RuleChange(name, rule, "moved", "", *places[rule])
            for cell, one, other in _cells(words, old or table, new or table, was[rule], now[rule]):
                yield RuleChange(name, rule, "changed", cell, one, other)


def _sentence(words: Wording, table: Table, rules: Mapping[str, Any], rule: str) -> str:
    is_first = next(iter(rules)) == rule
    return words.sentence(table.inputs, table.outputs, rules[rule], is_first=is_first)


def _moved(before: list[str], after: list[str]) -> set[str]:
    """Ids that have to move so that one order becomes the other: as few as possible."""
    matcher = SequenceMatcher(a=before, b=after, autojunk=False)
    kept = {
        before[block.a + n] for block in matcher.get_matching_blocks() for n in range(block.size)
    }
    return set(before) - kept


def _cells(
    words: Wording, old: Table, new: Table, was: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for part, old_kinds, new_kinds, tell in (
        ("when", old.inputs, new.inputs, words.condition),
        ("then", old.outputs, new.outputs, words.output),
    ):
        for name in [*was[part], *(name for name in now[part] if name not in was[part])]:
            if _same(was[part], now[part], name):
                continue
            one = tell(old_kinds.get(name, PLAIN), was[part][name]) if name in was[part] else ""
            other = tell(new_kinds.get(name, PLAIN), now[part][name]) if name in now[part] else ""
            yield f"{part} {name}", one, other
    if was["why"] != now["why"]:
        yield "why", was["why"], now["why"]


def _same(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return name in one and name in other and one[name] == other[name]


# --- by block --------------------------------------------------------------------------------


def _block_changes(words: Wording, before: Pack, after: Pack) -> Iterator[BlockChange]:
    was, now = _leaves(before), _leaves(after)
    for path in [*was, *(path for path in now if path not in was)]:
        if _same(was, now, path):
            continue
        *_, name = path
        one, other = (entry(words, name, leaves[path]) if path in leaves else ""
                      for leaves in (was, now))  # fmt: skip
        yield BlockChange(" › ".join(path), one, other)


def _leaves(pack: Pack) -> dict[Any, Any]:
    document = document_of(pack)
    found = dict(_flattened(document, ()))
    if "tables" in document:
        for table in document["tables"]:
            found.update(_flattened(table, ("tables", table["table"])))
        found[("tables",)] = [table["table"] for table in document["tables"]]
    return found


def _flattened(block: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    for name, item in block.items():
        where = (*path, name)
        if name in NOT_COMPARED and len(path) in (0, 2):
            continue
        if isinstance(item, Mapping) and item:
            yield from _flattened(item, where)
        elif name in COUNTED and not path:
            yield where, len(item)
        else:
            yield where, item


# --- by outcome ------------------------------------------------------------------------------


def _outcome_changes(words: Wording, before: Pack, after: Pack) -> Iterator[OutcomeChange]:
    was, now = _leading(words, before), _leading(words, after)
    for key in [*was, *(key for key in now if key not in was)]:
        one, other = was.get(key, ()), now.get(key, ())
        if set(one) != set(other):
            yield OutcomeChange(*key, one, other)


def _leading(words: Wording, pack: Pack) -> dict[tuple[str, str], tuple[str, ...]]:
    """The rules that lead to each outcome, by (output, outcome in words)."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for table, written in tables_of(pack):
        for rule in written["rules"]:
            for name, cell in rule["then"].items():
                if table.outputs[name].kind in OUTCOMES:
                    key = (name, words.output(table.outputs[name], cell))
                    found[key] = (*found.get(key, ()), rule["id"])
    return found


# --- by facts --------------------------------------------------------------------------------


def _witnesses(
    words: Wording, before: Pack, after: Pack, touched: set[tuple[str, str]]
) -> Iterator[Witness]:
    edges = [edge for pack in (before, after) for edge in _edges(pack, touched)]
    examples = [example for pack in (after, before) for example in _examples(pack)]
    told: set[str] = set()
    # as they stand first: the plainest facts tell most
    for changes in ([None], edges):
        for (facts, given, at), edge in product(examples, changes):
            changed = {} if edge is None else _put(facts, edge)
            tried = {**facts, **changed}
            pair = _answers(before, after, tried, at)
            if pair is None:
                continue
            named = [*given, *(name for name in changed if name not in given)]
            witness = _witness(words, after, tried, named, *pair)
            key = f"{witness.before} {witness.after}"
            if key in told:
                continue
            told.add(key)
            yield witness
            if len(told) == MOST_WITNESSES:
                return


def _examples(pack: Pack) -> Iterator[tuple[dict[str, Any], list[str], datetime]]:
    """The facts of each example as Python values, the names that it gives, and its instant."""
    document = document_of(pack)
    usual = document.get("example_facts") or {}
    noon = datetime.combine(pack.effective_from, time(12), ZoneInfo(pack.zone)).astimezone(UTC)
    absent = {
        name: None
        for name, kind in pack.inputs.items()
        if name.startswith("attributes.") and kind.nullable
    }
    for example in document.get("examples") or []:
        given = example.get("given") or {}
        facts = {
            name: _fact(pack.inputs[name], value) for name, value in {**usual, **given}.items()
        }
        at = parse_instant(example["at"]) if "at" in example else noon
        yield {**absent, **facts}, list(given), at


def _fact(kind: ValueType, value: Any) -> Any:
    literal = read_literal(kind, node_of(value), Scope(Collector(), {}, None))
    if literal is None or not literal.is_money or literal.value is None:
        return None if literal is None else literal.value
    [(currency, minor)] = literal.value.items()
    return Money(amount_minor=minor, currency=currency)


@dataclass(frozen=True, slots=True)
class _Edge:
    """A value at or beside a limit; amounts by currency stay so until the facts are known."""

    names: tuple[str, ...]
    kind: ValueType
    value: Any


def _edges(pack: Pack, touched: set[tuple[str, str]]) -> Iterator[_Edge]:
    money = tuple(name for name, kind in pack.inputs.items() if kind.kind == "money")
    for table, written in tables_of(pack):
        for rule in written["rules"]:
            if (table.name, rule["id"]) not in touched:
                continue
            for name, cell in rule["when"].items():
                kind = table.inputs[name]
                # a result follows from facts: an amount most often from the amounts asked
                names = (name,) if name in pack.inputs else money if kind.kind == "money" else ()
                for value in _beside(kind, cell) if names else ():
                    yield _Edge(names, kind, value)


def _beside(kind: ValueType, cell: Any) -> Iterator[Any]:
    """Values at a condition's limits and one step beside them."""
    if kind.nullable:
        yield None
    if kind.kind == "bool":
        yield from (True, False)
    elif kind.kind in WORDS:
        yield from kind.values
    elif kind.kind == "set":
        yield frozenset[str]()
        yield from (frozenset({word}) for word in kind.values)
    elif kind.kind in WHOLE or kind.kind == "money":
        for path, number in _numbers(cell, ""):
            for step in (-1, 0, 1):
                yield (path, number + step) if kind.kind == "money" else number + step
    elif kind.kind == "date":
        for text in _texts(cell):
            for step in (-1, 0, 1):
                yield date.fromisoformat(text) + timedelta(days=step)
    elif kind.kind == "instant":
        for text in _texts(cell):
            for step in (-1, 0, 1):
                yield parse_instant(text) + timedelta(microseconds=step)


def _numbers(cell: Any, key: str) -> Iterator[tuple[str, int]]:
    """Every whole number in a cell with the key it stands under: a currency, for amounts."""
    if type(cell) is int:
        yield key, cell
    elif isinstance(cell, Mapping):
        for name, item in cell.items():
            yield from _numbers(item, name)
    elif isinstance(cell, list):
        for item in cell:
            yield from _numbers(item, key)


def _texts(cell: Any) -> Iterator[str]:
    """Fixed bounds; ages are lengths of time, not values."""
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, Mapping):
        for name, item in cell.items():
            if name not in ("older_than", "younger_than", "by"):
                yield from _texts(item)


def _put(facts: Mapping[str, Any], edge: _Edge) -> dict[str, Any]:
    """The facts that an edge sets; none where it is in another currency than the facts."""
    if edge.kind.kind != "money" or edge.value is None:
        return dict.fromkeys(edge.names, edge.value)
    currency, minor = edge.value
    known = {value.currency for value in facts.values() if isinstance(value, Money)}
    if known != {currency} or not edge.kind.low <= minor <= edge.kind.high:
        return {}
    return dict.fromkeys(edge.names, Money(amount_minor=minor, currency=currency))


def _answers(
    before: Pack, after: Pack, facts: Mapping[str, Any], at: datetime
) -> tuple[Decision, Decision] | None:
    """Both answers where they differ; None where they agree or one has none."""
    try:
        one, other = (pack.decide(facts, at, trace=False) for pack in (before, after))
    except (FactError, Undecided):
        return None
    return None if answer_of(one) == answer_of(other) else (one, other)


def answer_of(decision: Decision) -> dict[str, Any]:
    """What a decision comes to: rules by table (``table eligibility``) and outputs by name."""
    rules: dict[str, Any] = {}
    for fired in decision.fired:
        name = f"table {fired.table}"
        rules[name] = f"{rules[name]}, {fired.rule}" if name in rules else fired.rule
    return {**rules, **decision.outputs}


def _witness(
    words: Wording,
    pack: Pack,
    facts: Mapping[str, Any],
    named: list[str],
    one: Decision,
    other: Decision,
) -> Witness:
    was, now = answer_of(one), answer_of(other)
    differ = [name for name in [*was, *(n for n in now if n not in was)]
              if was.get(name) != now.get(name)]  # fmt: skip
    stored = {**one.facts, **other.facts}
    told = ", ".join(
        f"{name} {words.value(pack.inputs.get(name, PLAIN), stored[name])}"
        for name in named
        if name in stored
    )
    return Witness(stored, told, {n: was.get(n) for n in differ}, {n: now.get(n) for n in differ})


# --- as a page -------------------------------------------------------------------------------


def difference_sheet(before: Pack, after: Pack, found: Difference, language: Language) -> Sheet:
    """A difference as a page; ``found`` is :func:`compare` in the same language."""
    words = Wording(language)

    def grid(
        section: str, columns: tuple[str, ...], rows: list[tuple[str, ...]], note: str = ""
    ) -> list[Grid]:
        headings = tuple(words.say(f"heading.{name}") for name in columns)
        return [Grid(words.say(section), headings, tuple(rows), note)] if rows else []

    return Sheet(
        words.say("difference.title", before=_name(before), after=_name(after)),
        words.say("difference.equal")
        if found.is_equal
        else words.say(
            "difference.lead",
            rules=str(len({(c.table, c.rule) for c in found.rules})),
            blocks=str(len(found.blocks)),
        ),
        (
            *grid(
                "difference.rules",
                ("rule", "table", "what", "where", "before", "after"),
                [
                    (c.rule, c.table, words.say(f"change.{c.change}"), c.cell, c.before, c.after)
                    for c in found.rules
                ],
            ),
            *grid(
                "difference.blocks",
                ("where", "before", "after"),
                [(c.where, c.before, c.after) for c in found.blocks],
            ),
            *grid(
                "difference.outcomes",
                ("output", "outcome", "before", "after"),
                [(c.output, c.outcome, ", ".join(c.before), ", ".join(c.after))
                 for c in found.outcomes],
            ),
            *grid(
                "difference.witnesses",
                ("facts", "before", "after"),
                [(w.told, answer_in_words(words, w.before), answer_in_words(words, w.after))
                 for w in found.witnesses],
                words.say("difference.sought"),
            ),
        ),
        language.value,
    )  # fmt: skip


def answer_in_words(words: Wording, answer: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {words.value(PLAIN, value)}" for name, value in answer.items())


def _name(pack: Pack) -> str:
    return f"{pack.name}@{pack.version}"
