"""A limit on the memory of a server and of what the system caches for it."""

import os
import shutil
import subprocess


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(text))


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


class MemoryLimit:
    """`bytes_max` for the processes that are started through `launcher`, and for the page cache of their files, which
    makes reads from disk cheap where nothing limits it. A cgroup of our own, version 2 or 1, where we may make one
    (root); else systemd-run as a user, whose new scope does not count what the last one has cached; else nothing:
    `kind` says which. Use as a context manager."""

    def __init__(self, bytes_max):
        self.bytes_max = bytes_max
        self.path, self.launcher, self.kind = None, [], None
        for attempt in (self._version_2, self._version_1, self._systemd):
            try:
                attempt()
            except (OSError, subprocess.SubprocessError):
                self.__exit__()
                continue
            return
        self.launcher, self.kind = [], None

    def _own_group(self, parent):
        self.path = os.path.join(parent, f"thermocline-bench-{os.getpid()}")
        os.mkdir(self.path)
        join = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
        self.launcher = ["sh", "-c", join, self.path]

    def _version_2(self):
        parent = "/sys/fs/cgroup"
        if "memory" not in read(f"{parent}/cgroup.subtree_control").split():
            write(f"{parent}/cgroup.subtree_control", "+memory")
        self._own_group(parent)
        write(f"{self.path}/memory.max", self.bytes_max)
        if os.path.exists(f"{self.path}/memory.swap.max"):
            write(f"{self.path}/memory.swap.max", 0)
        self.peak_file, self.kind = "memory.peak", "cgroup v2"

    def _version_1(self):
        self._own_group("/sys/fs/cgroup/memory")
        write(f"{self.path}/memory.limit_in_bytes", self.bytes_max)
        if os.path.exists(f"{self.path}/memory.memsw.limit_in_bytes"):
            write(f"{self.path}/memory.memsw.limit_in_bytes", self.bytes_max)
        self.peak_file, self.kind = "memory.max_usage_in_bytes", "cgroup v1"

    def _systemd(self):
        if not shutil.which("systemd-run"):
            raise OSError("no systemd-run")
        launcher = ["systemd-run", "--user", "--scope", "--quiet", "-p", f"MemoryMax={self.bytes_max}",
                    "-p", "MemorySwapMax=0"]  # fmt: skip
        subprocess.run(launcher + ["true"], check=True, capture_output=True, timeout=20)
        self.launcher, self.kind = launcher, "systemd-run"

    def peak_bytes(self):
        """The most that was used at one time, page cache included, or None if nobody counts it."""
        try:
            return int(read(f"{self.path}/{self.peak_file}")) if self.path else None
        except OSError:  # cgroup v2 counts it since Linux 5.19
            return None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        """Removes the group. Its processes must have ended."""
        if self.path and os.path.isdir(self.path):
            os.rmdir(self.path)
        self.path = None
