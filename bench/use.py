"""What processes use: CPU time and memory, from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class ProcessUse:
    """CPU milliseconds and resident memory of one process, all its threads together."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._status = Path(f"/proc/{pid}/status")

    def cpu_ms(self) -> float:
        fields = self._stat.read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks * 1000 / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        for line in self._status.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0


class CpuSince:
    """CPU of several processes from now on, by what they are called."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._uses = {name: ProcessUse(pid) for name, pid in pids.items()}
        self._before = {name: use.cpu_ms() for name, use in self._uses.items()}

    def ms(self) -> dict[str, float]:
        return {name: use.cpu_ms() - self._before[name] for name, use in self._uses.items()}
