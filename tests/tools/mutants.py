"""Small changes of a module, one at a time, to see whether a test notices: mutants.

Comparisons, arithmetic, conditions, numbers and returned values change; statements, elements of
lists and tables and named arguments are left out. Texts and annotations stay as they are.
Decorated functions and the module's own lines change too, which is why this is no package: those
at hand leave both out.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType

_ORDER: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}
LONGEST_TOLD = 90
_LEFT_ALONE = frozenset({"decorator_list", "annotation", "returns", "ctx", "bases"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutant:
    """One change: ``before`` became ``after`` at ``where`` in the module at ``path``.

    ``where`` is the outermost function's qualified name and ``first_line`` its code's first line;
    a class or nothing, and 0, where the change takes effect on import. ``number`` counts changes
    that read the same. ``code`` is the whole changed module.
    """

    path: str
    line: int
    where: str
    first_line: int
    before: str
    after: str
    number: int
    code: CodeType

    @property
    def name(self) -> str:
        """The same for as long as the function reads the same, wherever it stands."""
        often = f" #{self.number}" if self.number > 1 else ""
        return f"{self.path} {self.where or 'on import'}: {self.before} -> {self.after}{often}"


@dataclass(frozen=True)
class _Place:
    """A node with what puts another in its stead; ``owner`` is its outermost function, if any."""

    node: ast.AST
    put: Callable[[ast.AST], None]
    owner: Function | None
    where: str


def mutants_of(path: str, source: str, *, only: Collection[str] = ()) -> Iterator[Mutant]:
    """Every mutant of a module's source in its order, or of the functions ``only`` of it."""
    tree = ast.parse(source, path)
    seen: Counter[tuple[str, str, str]] = Counter()
    for place in list(_places(tree, None, "")):
        if only and place.where not in only:
            continue
        for changed in _changes(place):
            ast.copy_location(changed, place.node)
            ast.fix_missing_locations(changed)
            place.put(changed)
            code = compile(tree, path, "exec", dont_inherit=True)
            place.put(place.node)
            read = (place.where, *_told(place.node, changed))
            seen[read] += 1
            yield Mutant(
                path=path,
                line=_line(place.node),
                where=place.where,
                first_line=_first_line(place.owner),
                before=read[1],
                after=read[2],
                number=seen[read],
                code=code,
            )


def _line(node: ast.AST) -> int:
    return int(getattr(node.target if isinstance(node, ast.comprehension) else node, "lineno", 0))


def _first_line(owner: Function | None) -> int:
    if owner is None:
        return 0
    return min([owner.lineno, *(decorator.lineno for decorator in owner.decorator_list)])


def _told(node: ast.AST, changed: ast.AST) -> tuple[str, str]:
    """What is different, in a few words."""
    match node, changed:
        case ((ast.Set() | ast.List() | ast.Tuple()), (ast.Set() | ast.List() | ast.Tuple())):
            return _left_out(node.elts, changed.elts)
        case ast.Dict(), ast.Dict():
            return _left_out(node.values, changed.values)
        case ast.Call(), ast.Call():
            return _left_out(node.keywords, changed.keywords)
        case ast.comprehension(), ast.comprehension():
            return _words(node), _words(changed)
        case ((ast.If() | ast.While() | ast.IfExp()), (ast.If() | ast.While() | ast.IfExp())):
            return _words(node.test), _words(changed.test)
    return _words(node), _words(changed)


def _left_out(before: Sequence[ast.AST], after: Sequence[ast.AST]) -> tuple[str, str]:
    return next(_words(node) for node in before if node not in after), "nothing"


def _words(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]} …"


def _places(node: ast.AST, owner: Function | None, scope: str) -> Iterator[_Place]:
    for name, value in ast.iter_fields(node):
        if name in _LEFT_ALONE or isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
            continue
        inner, inside = scope, owner
        if isinstance(node, ast.ClassDef) and owner is None:
            inner = f"{scope}{node.name}."
        if isinstance(node, Function) and owner is None and name == "body":
            inner, inside = f"{scope}{node.name}", node
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST):
                continue

            def put(
                changed: ast.AST, name: str = name, value: object = value, index: int = index
            ) -> None:
                if isinstance(value, list):
                    value[index] = changed
                else:
                    setattr(node, name, changed)

            yield _Place(child, put, inside, inner if inside else inner.removesuffix("."))
            yield from _places(child, inside, inner)


def _changes(place: _Place) -> Iterator[ast.AST]:
    node, owner = place.node, place.owner
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                for other in _ORDER[type(operator)]:
                    yield _with(node, ops=[*node.ops[:at], other(), *node.ops[at + 1 :]])
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _ARITHMETIC:
            yield _with(node, op=_ARITHMETIC[type(node.op)]())
        case ast.BoolOp():
            yield _with(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
            for at in range(len(node.values)):
                left = [*node.values[:at], *node.values[at + 1 :]]
                yield left[0] if len(left) == 1 else _with(node, values=left)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int(number)):
            yield ast.Constant(number + 1)
            yield ast.Constant(number - 1)
        case ast.Name(id=name) if name in _TWINS:
            yield ast.Name(_TWINS[name], node.ctx)
        case ast.Call():
            for at in range(len(node.keywords)):
                yield _with(node, keywords=[*node.keywords[:at], *node.keywords[at + 1 :]])
        case ast.Set() | ast.List() if len(node.elts) > 1:
            yield from _one_less(node)
        case ast.Tuple() if owner is None and len(node.elts) > 1:
            yield from _one_less(node)
        case ast.Dict():
            for at in range(len(node.keys)):
                yield _with(
                    node,
                    keys=[*node.keys[:at], *node.keys[at + 1 :]],
                    values=[*node.values[:at], *node.values[at + 1 :]],
                )
        case ast.comprehension() if node.ifs:
            for at, condition in enumerate(node.ifs):
                yield from (
                    _with(node, ifs=[*node.ifs[:at], changed, *node.ifs[at + 1 :]])
                    for changed in _negated(condition)
                )
                yield _with(node, ifs=[*node.ifs[:at], *node.ifs[at + 1 :]])
        case ast.IfExp() | ast.If() | ast.While():
            yield from (_with(node, test=changed) for changed in _negated(node.test))
    if owner is not None:
        yield from _changes_of_statement(node, owner)


def _changes_of_statement(node: ast.AST, owner: Function) -> Iterator[ast.AST]:
    match node:
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield ast.Return(ast.Constant(None))
    match node:
        case ast.Return() if node is not owner.body[-1]:
            yield ast.Pass()
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr() | ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Name(id=name)]) if _is_bound_twice(name, owner):
            yield ast.Pass()


def _one_less(node: ast.Set | ast.List | ast.Tuple) -> Iterator[ast.AST]:
    for at in range(len(node.elts)):
        yield _with(node, elts=[*node.elts[:at], *node.elts[at + 1 :]])


def _negated(test: ast.expr) -> Iterator[ast.expr]:
    """Nothing where another change negates it already."""
    is_told = isinstance(test, ast.Compare) and len(test.ops) == 1
    if not is_told and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
        yield ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _is_bound_twice(name: str, owner: Function) -> bool:
    arguments = owner.args
    bound = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    bound += [
        node.id
        for node in ast.walk(owner)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    return bound.count(name) > 1


def _with(node: ast.AST, **changed: object) -> ast.AST:
    fields = {name: getattr(node, name, None) for name in node._fields}
    return type(node)(**{**fields, **changed})
