"""Starts and stops the servers that tests and benchmarks drive: ours, and Debian's redis-server beside it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import resp

REDIS_SERVER = shutil.which("redis-server") or "/usr/bin/redis-server"

# The oracle keeps nothing on disk: it is the model in RAM that ours is compared with.
ORACLE_OPTIONS = ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]

# With these our server keeps nothing in RAM after the command that used it. What it has written still lies in
# memtables, where it is found without a look at the disk: only after flush() do commands wait for cold reads.
COLD_OPTIONS = ["--maxmemory", "1kb", "--rocksdb-block-cache-size", "1kb"]

POLICIES = ["noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu",
            "volatile-random", "volatile-ttl"]  # fmt: skip


class StartError(Exception):
    """A server did not come up; the text holds the end of its log."""


def is_redis(binary):
    return os.path.basename(os.path.realpath(binary)).startswith("redis") or (
        os.path.basename(os.path.realpath(binary)) == "redis-check-rdb"  # one file under several names
    )


def free_port():
    """A port nobody listens on now. Another process may take it before the server does: start() retries."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server process on a free port of 127.0.0.1.

    `directory`: its data; a temporary one, removed by stop(), if None. `options`: command line options as a list.
    `config`: the text of a configuration file, written into `directory`. `launcher`: words in front of the command
    line, of a program that becomes the server. Use as a context manager, or call start()
    and stop(); after kill() or terminate(), start() starts it again on its data.
    """

    def __init__(self, binary, options=(), directory=None, wait_s=60.0, name=None, config=None,
                 launcher=()):  # fmt: skip
        self.binary = binary
        self.options = list(options)
        self.launcher = list(launcher)
        self.own_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="thermocline-test-")
        self.wait_s = wait_s
        self.name = name or ("redis" if is_redis(binary) else "thermocline")
        self.log_path = os.path.join(self.directory, "server.out")
        self.config_path = None
        if config is not None:
            self.config_path = os.path.join(self.directory, "server.conf")
            with open(self.config_path, "w", encoding="utf-8") as file:
                file.write(config)
        self.process = None
        self.port = None
        self.password = None
        if "--requirepass" in self.options:
            self.password = self.options[self.options.index("--requirepass") + 1]

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def start(self):
        """Starts the process and waits until it answers PING. Raises StartError."""
        for attempt in range(5):
            self.spawn()
            try:
                self.wait_ready()
                return self
            except StartError:
                if attempt == 4 or "ddress already in use" not in self.log_tail():
                    self.stop()
                    raise
        raise AssertionError("unreachable")

    def spawn(self):
        """Starts the process on a free port without waiting for it."""
        self.port = free_port()
        command = [self.binary] + ([self.config_path] if self.config_path else [])
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory]
        if "--enable-debug-command" not in self.options:
            command += ["--enable-debug-command", "yes"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.launcher + command + self.options, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_ready(self, poll_s=0.005):
        """Waits for the first answer that is not -LOADING. Returns the seconds waited."""
        begin = time.monotonic()
        while time.monotonic() - begin < self.wait_s:
            if self.process.poll() is not None:
                raise StartError(f"{self.name} exited with {self.process.returncode}:\n{self.log_tail()}")
            try:
                connection = resp.Connection(self.port)
                reply = connection.call("PING")
                connection.close()
                if not reply.raw.startswith(b"-LOADING"):
                    return time.monotonic() - begin
            except (OSError, resp.Closed):
                pass
            time.sleep(poll_s)
        raise StartError(f"{self.name} did not answer in {self.wait_s} s:\n{self.log_tail()}")

    def connect(self, timeout=20.0):
        return resp.Connection(self.port, timeout)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, and waits for the end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, wait_s=60.0):
        """SIGTERM, and waits for the end; SIGKILL if that takes too long. Returns the exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def stop(self):
        """Ends the process and removes a temporary directory."""
        if self.process is not None and self.alive():
            self.kill() if self.own_directory else self.terminate()
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self, bytes_max=3000):
        try:
            with open(self.log_path, "rb") as log:
                return log.read()[-bytes_max:].decode(errors="replace")
        except OSError:
            return ""

    # What /proc knows about the process.

    def rss_bytes(self, field="VmRSS"):
        """Resident memory; the most there has been with field="VmHWM"."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    def cpu_seconds(self):
        """User and system time of all threads, and of children that have ended (Redis rewrites its log in one)."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def flush(self, connection):
        """Has our server write its memtables into tables, as a checkpoint does."""
        connection.value("SAVE")

    def faults(self):
        """How often commands of our server have waited for the disk since its start."""
        return int(self.info("fault_waits") or 0)

    def info(self, field, section="everything"):
        """One field of INFO as text, or None."""
        connection = self.connect()
        try:
            text = connection.value("INFO", section).decode()
        finally:
            connection.close()
        for line in text.splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        return None


def split_options(texts):
    """['--maxmemory 1mb', '--appendonly yes'] -> ['--maxmemory', '1mb', '--appendonly', 'yes']"""
    import shlex

    return [word for text in texts or [] for word in shlex.split(text)]
