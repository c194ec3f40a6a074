"""What the figures were measured on: processor, disk, versions, date. A figure without these means nothing."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path
from time import perf_counter_ns

from benchmarks.measure import percentile

FLUSHES = 300
FLUSH_BYTES = 1024
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs", "devtmpfs"}


def facts(directory: Path) -> dict[str, str]:
    """Name and value of everything worth printing above a table."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {os.cpu_count()} logical cores, {_memory_bytes() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {file_system(directory)}",
        "load before the run": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        "flush of 1 KB": f"p50 {flush_p50_us(directory):.0f} us (fdatasync into a preallocated file)",
        "python": f"{platform.python_implementation()} {platform.python_version()}, "
        f"switch interval {sys.getswitchinterval() * 1e3:g} ms",
    }


def file_system(directory: Path) -> str:
    """The type of the file system that holds `directory`."""
    where = directory.resolve()
    try:
        lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown file system"
    types = {Path(mounted): kind for _, mounted, kind, *_ in lines}
    return next((types[path] for path in (where, *where.parents) if path in types), "unknown file system")


def resident_bytes() -> int:
    """The memory this process holds now; where the system does not tell, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return pages * os.sysconf("SC_PAGE_SIZE")


def flush_p50_us(directory: Path) -> float:
    """The disk's own share of every durable commit: all durable figures scale with it."""
    path, block = directory / "flush", b"x" * FLUSH_BYTES
    flush = getattr(os, "fdatasync", os.fsync)
    samples = []
    with path.open("wb+", buffering=0) as file:
        file.write(b"\0" * FLUSH_BYTES * FLUSHES)
        os.fsync(file.fileno())
        file.seek(0)
        for _ in range(FLUSHES):
            before = perf_counter_ns()
            file.write(block)
            flush(file.fileno())
            samples.append(perf_counter_ns() - before)
    path.unlink()
    return percentile(samples, 0.5) / 1e3


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
