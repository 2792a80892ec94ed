"""How well the tests know the money core: branches taken, mutants killed.

    python -m tests.tools.money_core [--jobs N] [MODULE …]

Each mutant runs in a forked process of its own, with its module's tests collected before the
fork; only what takes effect on import is collected anew. Nothing is random: property tests draw
the same examples every time.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, FunctionType

import pytest
from hypothesis import Phase, settings

from tests.tools.mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parent.parent.parent
LEAST_KILLED_PERCENT = 90
PROFILE = "mutants"
PATIENCE_SECONDS = 120
"""Of wall time, for a mutant that waits instead of working; a busy one has a limit of its own."""

THIRD_PARTIES = (
    "pydantic", "sqlalchemy.ext.asyncio", "temporalio.client", "temporalio.testing",
    "temporalio.worker", "stripe", "httpx", "yaml", "babel.numbers",
)  # fmt: skip
"""Imported once, before any fork: they take longer than the tests."""


@dataclass(frozen=True)
class Core:
    """A module of the money core, or its functions ``only``, and the tests that answer for it.

    The tests are fast: no Temporal, the sandbox as provider, a file as database.
    """

    path: str
    tests: tuple[str, ...]
    only: tuple[str, ...] = ()


MONEY_CORE = (
    Core("domain/money.py", ("tests/domain/test_money.py",)),
    Core(
        "domain/approvals.py",
        ("tests/domain/test_approvals.py", "tests/domain/test_people_and_texts.py"),
    ),
    Core("domain/deadlines.py", ("tests/domain/test_deadlines.py",)),
    Core("ledger/postings.py", ("tests/ledger/test_postings.py",)),
    Core("activities/authority.py", ("tests/activities/test_authority.py",)),
    Core("activities/linked.py", ("tests/activities/test_linked.py",)),
    Core("ledger/linked.py", ("tests/activities/test_linked.py",)),
    Core("activities/payments.py", ("tests/activities/test_payments.py",)),
    Core(
        "activities/verdicts.py",
        ("tests/activities/test_verdicts.py",),
    ),
    Core("decisions/pack.py", ("tests/decisions/test_blocks.py",), only=("Pack.why_may_not",)),
)

_EQUIVALENT = {
    "a quantum is read for its exponent alone": (
        "domain/money.py Money.from_decimal: 1 -> 2",
        "domain/money.py Money.from_decimal: 1 -> 0",
    ),
    "zero has no sign": (
        "domain/money.py Money.allocate: self.amount_minor < 0 -> self.amount_minor <= 0",
        "domain/money.py Money.allocate: 0 -> 1 #3",
    ),
    "zero divides exactly, so that nothing is left to round": (
        "domain/money.py divide: numerator < 0 -> numerator <= 0",
        "domain/money.py divide: 0 -> 1 #3",
        "domain/money.py divide: numerator >= 0 -> numerator > 0",
        "domain/money.py divide: 0 -> 1 #4",
    ),
    "where nothing was before a case there is nothing to find, and asking is only spared": (
        "activities/authority.py is_given_elsewhere: 1 -> 0",
        "activities/authority.py is_given_elsewhere: return False -> pass",
    ),
    "a decision is stored of a case in the books only": (
        "activities/authority.py check_authority: case is None or stored is None -> stored is None",
    ),
    "the hours of the day before were over when it was received": (
        "domain/deadlines.py BusinessCalendar.after_office_minutes: 1 -> 2",
    ),
    "what falls into a gap is never shown": (
        "domain/deadlines.py _first_shown: at.astimezone(zone).replace(tzinfo=None) < wanted -> "
        "at.astimezone(zone).replace(tzinfo=None) <= wanted",
    ),
    "no case has no id, and none is in the books under it": (
        "activities/linked.py _not_again: case_id and (opened := (await reading.event(case_id, "
        "'open'))) -> (opened := (await reading.event(case_id, 'open')))",
    ),
    "on SQLite one transaction writes at a time": (
        "activities/verdicts.py Verdicts._why_not: await tx.lock_budget(person.id, "
        "amount.currency, given.now.date()) -> pass",
    ),
    "nothing left is zero in either branch": (
        "domain/money.py refundable_remainder: left.amount_minor > 0 -> left.amount_minor >= 0",
        "domain/money.py refundable_remainder: 0 -> -1",
    ),
}
EXPLAINED = {name: reason for reason, names in _EQUIVALENT.items() for name in names}
"""Mutants that no test can kill, each with the reason. One that is killed, or is no more, fails."""


# -- branches --------------------------------------------------------------------------------


def branches_missed(cores: Sequence[Core] = MONEY_CORE) -> tuple[int, list[str]]:
    """How many branches the cores have, and where one is never taken or a line never run.

    Raises ``RuntimeError`` when the tests fail.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, report = f"--data-file={folder}/data", f"{folder}/report.json"
        tests = sorted({test for core in cores for test in core.tests})
        _coverage(
            "run", data, f"--include={','.join(core.path for core in cores)}",
            "-m", "pytest", "-q", "-x", "-m", "not deep", "-p", "no:cacheprovider",
            "--hypothesis-seed=0", *tests,
        )  # fmt: skip
        _coverage("json", data, "-q", "-o", report)
        files = json.loads(Path(report).read_text())["files"]
    branches, missed = 0, []
    for core in cores:
        functions = files[core.path]["functions"]
        for found in [functions[name] for name in core.only] or [files[core.path]]:
            branches += found["summary"]["num_branches"]
            missed += [f"{core.path}:{line} never runs" for line in found["missing_lines"]]
            missed += [
                f"{core.path}:{start} never goes on to {end if end > 0 else 'its end'}"
                for start, end in found["missing_branches"]
            ]
    return branches, missed


def _coverage(*arguments: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "coverage", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    if run.returncode:
        raise RuntimeError(f"coverage {arguments[0]} failed:\n{run.stdout}\n{run.stderr}")


# -- mutants ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tally:
    """What became of a core's mutants; ``known`` are all their names."""

    path: str
    known: frozenset[str]
    survived: tuple[Mutant, ...]

    @property
    def killed(self) -> int:
        return len(self.known) - len(self.survived)

    def __str__(self) -> str:
        return (
            f"{self.path}: {len(self.known)} mutants, {self.killed} killed "
            f"({self.killed * 100 / len(self.known):.1f} %), {len(self.survived)} survived"
        )

    def complaints(self, explained: Mapping[str, str]) -> list[str]:
        """Why this is not good enough; empty when it is."""
        mine = {name for name in explained if name.startswith(f"{self.path} ")}
        alive = {mutant.name: mutant for mutant in self.survived}
        said = [
            f"{mutant.path}:{mutant.line} survived, unexplained: {name}"
            for name, mutant in alive.items()
            if name not in mine
        ]
        for name in sorted(mine - set(alive)):
            fate = "is killed" if name in self.known else "is no mutant any more"
            said.append(f"explained, but {fate}: {name}")
        if self.killed * 100 < LEAST_KILLED_PERCENT * len(self.known):
            said.append(f"{self}; at least {LEAST_KILLED_PERCENT} % are to be killed")
        return said


def tally(core: Core, jobs: int) -> Tally:
    """Run every mutant of a core. Raises ``RuntimeError`` when its tests fail unchanged.

    Forks: call it where no thread of ours runs and nothing of the core is imported yet.
    """
    source = (ROOT / core.path).read_text(encoding="utf-8")
    mutants = list(mutants_of(core.path, source, only=core.only))
    names = [mutant.name for mutant in mutants]
    _load_third_parties()
    in_functions = [mutant for mutant in mutants if mutant.first_line]
    on_import = [mutant for mutant in mutants if not mutant.first_line]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "survivors.json"
        if not _ended_well(lambda: _judge_in_functions(core, in_functions, jobs, file)):
            raise RuntimeError(f"the tests of {core.path} fail without any change")
        alive = set(json.loads(file.read_text()))
    survived = _survivors(on_import, lambda mutant: _judge_on_import(core, mutant), jobs)
    alive |= {mutant.name for mutant in survived}
    return Tally(
        path=core.path,
        known=frozenset(names),
        survived=tuple(mutant for mutant in mutants if mutant.name in alive),
    )


def _load_third_parties() -> None:
    for name in THIRD_PARTIES:
        importlib.import_module(name)


def _pytest(core: Core, *plugins: object) -> int:
    arguments = [
        "-q", "-x", "-m", "not deep", "--capture=no", "-p", "no:cacheprovider",
        f"--hypothesis-profile={PROFILE}", "-W", "ignore::pytest.PytestAssertRewriteWarning",
    ]  # fmt: skip
    return int(pytest.main([*arguments, *(str(ROOT / t) for t in core.tests)], plugins=plugins))


def _judge_in_functions(core: Core, mutants: list[Mutant], jobs: int, file: Path) -> None:
    sys.exit(_pytest(core, _Judge(core, mutants, jobs, file)))


class _Judge:
    """A plugin of pytest: the collected tests once as they are, then, for each mutant, those that
    enter its function, the quickest first."""

    def __init__(self, core: Core, mutants: list[Mutant], jobs: int, file: Path) -> None:
        self._core, self._mutants, self._jobs, self._file = core, mutants, jobs, file
        self._failed = False
        self._stop_at_once = False
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = self._seconds.get(report.nodeid, 0)
        self._seconds[report.nodeid] = seconds + report.duration
        self._failed = self._failed or report.failed
        if self._failed and self._stop_at_once:
            os._exit(1)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        before = time.process_time()
        entered = {item.nodeid: entered_by(item, self._core.path) for item in session.items}
        if self._failed:
            raise pytest.UsageError("the tests fail without any change")
        limit = _limit(time.process_time() - before)
        items = sorted(session.items, key=lambda item: self._seconds[item.nodeid])
        self._stop_at_once = True

        def judge(mutant: Mutant) -> None:
            _limit_to(limit)
            put_in_place(mutant)
            function = mutant.where, mutant.first_line
            run_items([item for item in items if function in entered[item.nodeid]])

        survived = _survivors(self._mutants, judge, self._jobs)
        self._file.write_text(json.dumps([mutant.name for mutant in survived]))
        return True


def run_items(items: Sequence[pytest.Item]) -> None:
    """Run tests one after the other; what they share is made anew for every call."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def entered_by(item: pytest.Item, path: str) -> frozenset[tuple[str, int]]:
    """The functions of a module (qualified name, first line) that a test enters when it runs."""
    file = str(ROOT / path)
    entered: set[tuple[str, int]] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if code.co_filename == file and event == "call":
            entered.add((code.co_qualname, code.co_firstlineno))

    sys.setprofile(note)
    try:
        run_items([item])
    finally:
        sys.setprofile(None)
    return frozenset(entered)


def put_in_place(mutant: Mutant) -> None:
    """Give the function the mutant's code; it stays the same function for all who hold it."""
    code = next(
        code
        for code in _codes(mutant.code)
        if (code.co_qualname, code.co_firstlineno) == (mutant.where, mutant.first_line)
    )
    file = str(ROOT / mutant.path)
    functions = [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType)
        and each.__code__.co_filename == file
        and each.__code__.co_qualname == mutant.where
        and each.__code__.co_firstlineno == mutant.first_line
    ]
    if not functions:
        raise LookupError(f"{mutant.path} has no function {mutant.where} in memory")
    for function in functions:
        function.__code__ = code


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def _judge_on_import(core: Core, mutant: Mutant) -> None:
    _limit_to(_limit(PATIENCE_SECONDS / 20))
    sys.meta_path.insert(0, _Changed(mutant))
    sys.exit(_pytest(core))


class _Changed(SourceFileLoader):
    """Loads one module from a mutant's code, and leaves all others to those who load them."""

    def __init__(self, mutant: Mutant) -> None:
        name = mutant.path.removesuffix(".py").replace("/", ".")
        super().__init__(name, str(ROOT / mutant.path))
        self._code = mutant.code

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return self._code


# -- processes -------------------------------------------------------------------------------


def _survivors(
    mutants: Iterable[Mutant], judge: Callable[[Mutant], None], jobs: int
) -> list[Mutant]:
    """Those whose judge comes to its end, each in a process of its own, ``jobs`` at a time."""
    running: dict[int, Mutant] = {}
    survived: list[Mutant] = []

    def wait_for_one() -> None:
        pid, status = os.wait()
        mutant = running.pop(pid)
        _end_group(pid)
        if status == 0:
            survived.append(mutant)
            print(f"alive: {mutant.path}:{mutant.line} {mutant.name}", file=sys.stderr, flush=True)

    try:
        for mutant in mutants:
            if len(running) == jobs:
                wait_for_one()
            running[_fork(lambda mutant=mutant: judge(mutant))] = mutant  # type: ignore[misc]
        while running:
            wait_for_one()
    finally:
        for pid in running:
            _end_group(pid)
    return survived


def _end_group(pid: int) -> None:
    """What the tests of a mutant had started outlives them when they are ended by a limit."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _ended_well(work: Callable[[], None]) -> bool:
    pid = _fork(work, silent=False)
    _, status = os.waitpid(pid, 0)
    _end_group(pid)
    return status == 0


def _fork(work: Callable[[], None], *, silent: bool = True) -> int:
    """Do ``work`` in a child, which ends with 0 when that comes back; its words are no figures."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        with suppress(ProcessLookupError, PermissionError):  # whichever of the two comes first
            os.setpgid(pid, pid)
        return pid
    os.setpgid(0, 0)
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere if silent else 2, 1)
        if silent:
            os.dup2(nowhere, 2)
        work()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _limit(seconds: float) -> int:
    """Of processor time, for work that takes ``seconds`` when nothing is wrong with it."""
    return 5 + math.ceil(4 * seconds)


def _limit_to(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    signal.alarm(PATIENCE_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Mutants of the money core.")
    parser.add_argument("modules", nargs="*", help="paths; by default all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    code = 0
    for core in MONEY_CORE:
        if not given.modules or core.path in given.modules:
            found = tally(core, given.jobs)
            complaints = found.complaints(EXPLAINED)
            print("\n".join([str(found), *complaints]), flush=True)
            code = 1 if complaints else code
    return code


settings.register_profile(
    PROFILE,
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=50,
    phases=[Phase.explicit, Phase.generate],
)

if __name__ == "__main__":
    sys.exit(main())
