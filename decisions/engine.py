"""The decision itself: facts in, tables in order, a :class:`Decision` out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from decisions.catalogues import COST
from decisions.compiled import CompiledTable, age_dimensions, built, fired_rule
from decisions.durations import age
from decisions.findings import FactError
from decisions.grid import Codes
from decisions.literals import MissingCurrency
from decisions.outputs import NOW, Cell, compile_cell
from decisions.reader import Parts
from decisions.types import NULL, WHOLE, ValueType, checker, from_json, json_of
from domain.decisions import Decision, FiredRule, TraceLine
from domain.errors import InvalidRequest
from domain.money import Money

_DECISION_FIELDS = set(Decision.model_fields)


class Engine:
    """A pack's tables, ready to run in every currency that its facts come in."""

    def __init__(self, parts: Parts, content_hash: str) -> None:
        self.hash = content_hash
        self.name, self.version = parts.name, parts.version
        self.inputs: dict[str, ValueType] = parts.facts
        self.calendar = parts.calendars.get(parts.timers.calendar or "")
        self.zone = self.calendar.zone if self.calendar else "UTC"
        self.currencies = parts.currencies
        self._only = parts.only_currency
        self.tables = parts.tables
        self._checks: dict[str, Callable[[Any], Any]] = {
            name: checker(name, kind) for name, kind in self.inputs.items()
        }
        # one tuple per input, by the way its facts are checked: words are looked up, numbers
        # are compared in place, only the rest (and whatever looks wrong) takes a call
        self._words: list[tuple[str, dict[Any, Any]]] = []
        self._bools: list[tuple[str, Callable[[Any], Any]]] = []
        self._numbers: list[tuple[str, int, int, Callable[[Any], Any]]] = []
        self._others: list[tuple[str, Callable[[Any], Any], str]] = []
        for name, kind in self.inputs.items():
            check = self._checks[name]
            if kind.kind == "enum":
                null = {None: None} if kind.nullable else {}
                self._words.append((name, {**{word: word for word in kind.values}, **null}))
            elif kind.kind == "bool":
                self._bools.append((name, check))
            elif kind.kind in WHOLE:
                self._numbers.append((name, kind.low, kind.high, check))
            else:
                self._others.append((name, check, kind.kind))
        self._money = tuple(n for n, kind in self.inputs.items() if kind.kind == "money")
        self._ages = age_dimensions(parts.tables)
        self._plans: dict[str | None, tuple[CompiledTable, ...]] = {}
        for currency in parts.currencies or ():
            self._plans[currency] = self._compiled(currency)

    def decide(self, facts: Mapping[str, Any], now: datetime, trace: bool) -> Decision:
        """See :meth:`decisions.pack.Pack.decide`."""
        codes, stored, values = self._read(facts)
        values[NOW] = now
        currency = self._currency(values) if self._money else self._only
        plan = self._plans.get(currency)
        if plan is None:
            plan = self._plan(currency)
        if self._ages:
            self._add_ages(values, now, codes)
        outputs: dict[str, Any] = {}
        fired: list[FiredRule] = []
        lines: list[TraceLine] = []
        told = lines if trace else None
        for table in plan:
            if not table.begin(codes, values):
                continue
            rows = table.run(codes, values, told)
            if table.hit == "collect":
                each = [table.results(row, codes, values) for row in rows]
                table.gather(each, codes, values)
                for name in table.outputs:
                    outputs[name] = [result[name] for result in each]
                fired += [fired_rule(table.name, *pair) for pair in zip(rows, each, strict=True)]
            elif rows:
                result = table.results(rows[0], codes, values)
                outputs.update(result)
                fired.append(fired_rule(table.name, rows[0], result))
            else:
                outputs.update(dict.fromkeys(table.outputs))
        first = fired[0] if fired else None
        found: Decision = built(
            Decision,
            {
                "policy": self.name,
                "version": self.version,
                "hash": self.hash,
                "rule": first.rule if first else "",
                "why": first.why if first else "no rule holds",
                "fired": tuple(fired),
                "trace": tuple(lines),
                "facts": stored,
                "outputs": outputs,
            },
            _DECISION_FIELDS,
        )
        return found

    def cost(self, cell: Cell, facts: Mapping[str, Any]) -> Money | None:
        """See :meth:`decisions.pack.Pack.cost`."""
        _, _, values = self._read(facts)
        currency = self._currency(values) if self._money else self._only
        try:
            _, constant, function = compile_cell(cell, "cost", COST, currency)
        except MissingCurrency as error:
            raise self._no_amount(currency, error) from None
        found: Money | None = constant if function is None else function(values)
        return found

    def _read(self, facts: Mapping[str, Any]) -> tuple[Codes, dict[str, Any], dict[str, Any]]:
        """Every fact as its code, in JSON types, and as its Python value."""
        codes: Codes = {}
        stored: dict[str, Any] = {}
        try:
            for name, words in self._words:
                stored[name] = codes[name] = words[facts[name]]
            for name, check in self._bools:
                value = facts[name]
                stored[name] = codes[name] = (
                    value if value is True or value is False else check(value)
                )
            for name, low, high, check in self._numbers:
                stored[name] = value = facts[name]
                codes[name] = value if type(value) is int and low <= value <= high else check(value)
            values = stored.copy()
            for name, check, kind in self._others:
                values[name] = value = facts[name]
                codes[name] = check(value)
                stored[name] = json_of(kind, value)
        except (KeyError, TypeError):
            raise self._wrong(facts) from None
        return codes, stored, values

    def attribute_fact(self, field: str, value: Any) -> Any:
        """A caller's attribute (JSON types) as a fact. Raises :class:`InvalidRequest`."""
        kind = self.inputs[field]
        try:
            fact = from_json(field, kind, value)
            self._checks[field](fact)
        except FactError as error:
            raise InvalidRequest(field, error.message, error.allowed) from error
        return fact

    def _wrong(self, facts: Mapping[str, Any]) -> FactError:
        """The first fact, in the order of the inputs, that is missing or wrong."""
        for name, kind in self.inputs.items():
            if name not in facts:
                return FactError(name, "is missing", kind.words())
            try:
                self._checks[name](facts[name])
            except FactError as error:
                return error
        raise AssertionError("no fact is wrong, yet one could not be read")

    def _currency(self, values: Mapping[str, Any]) -> str | None:
        """The one currency of all money facts, or of the pack; nothing is ever converted."""
        found: str | None = None
        first = ""
        for name in self._money:
            value = values[name]
            if value is None:
                continue
            if found is None:
                found, first = value.currency, name
                if self.currencies is not None and found not in self.currencies:
                    raise FactError(
                        name, f"is in {found.upper()}", "money in " + ", ".join(self.currencies)
                    )
            elif value.currency != found:
                raise FactError(
                    name, f"is in {value.currency.upper()}", f"{found.upper()}, as {first} is"
                )
        return found or self._only

    def _plan(self, currency: str | None) -> tuple[CompiledTable, ...]:
        """Compiled on first use for currencies that the pack does not declare."""
        try:
            plan = self._compiled(currency)
        except MissingCurrency as error:
            raise self._no_amount(currency, error) from None
        self._plans[currency] = plan
        return plan

    def _no_amount(self, currency: str | None, error: MissingCurrency) -> FactError:
        message = (
            "tells no currency, and the rules name amounts by currency"
            if currency is None
            else f"the rules name no amount in {error.currency}"
        )
        name = self._money[0] if self._money else "the pack"
        return FactError(name, message, f"money in {error.known}")

    def _compiled(self, currency: str | None) -> tuple[CompiledTable, ...]:
        last = self.tables[-1].name
        return tuple(CompiledTable(table, currency, table.name != last) for table in self.tables)

    def _add_ages(self, values: Mapping[str, Any], now: datetime, codes: Codes) -> None:
        if now.tzinfo is None:
            raise FactError("now", "has no time zone", "a UTC instant")
        for dimension, name, unit, kind in self._ages:
            value: date | datetime | None = values[name]
            if value is None:
                codes[dimension] = NULL
                continue
            try:
                codes[dimension] = age(value, now.astimezone(UTC), unit, self.zone, self.calendar)
            except ValueError as error:
                raise FactError(name, str(error), kind.words()) from error
