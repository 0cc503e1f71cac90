#!/usr/bin/python3
"""The process stays within what its options promise, whatever clients do, and so within a memory limit.

    limit_test.py --server build/release/bin/thermocline-server --loadgen build/release/bin/thermocline-loadgen

The server runs in a cgroup (where the machine allows one) on several times more data than that, with the sizes it
chooses itself from the limit. In each phase the peak of its resident memory must be below 1.15 of INFO's
`memory_promised`, and it must not be killed. Without a cgroup it is told the sizes.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
from benchmarks.memory_limit import MemoryLimit, write  # noqa: E402
from lib import servers  # noqa: E402

MIB = 1 << 20
LIMIT_BYTES = 256 * MIB
TOLERANCE = 1.15
STRINGS = 300_000  # of 1 KiB
FIELDS = 500_000  # of one hash; its HGETALL takes 60 MB
FIELDS_OF_INFO = ["allocator_allocated", "allocator_active", "allocator_resident", "used_memory_rss", "memtable_bytes",
                  "block_cache_bytes", "hot_bytes", "memory_cut_from_hot_tier"]  # fmt: skip


class Test:
    def __init__(self, args, directory, limit):
        self.args = args
        self.ledger = os.path.join(directory, "ledger")
        os.mkdir(os.path.join(directory, "data"))
        options = [] if limit.kind else ["--maxmemory", "128mb", "--rocksdb-block-cache-size", "16mb"]
        self.server = servers.Server(args.server, options, directory=os.path.join(directory, "data"),
                                     launcher=limit.launcher)  # fmt: skip
        self.failed = 0

    def loadgen(self, *words):
        command = [self.args.loadgen, *words, "--port", str(self.server.port), "--ledger", self.ledger]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}\n"
                             f"{self.server.log_tail()}")  # fmt: skip

    def traffic(self, *groups):
        self.loadgen("run", *[word for group in groups for word in ("--group", group)], "--seconds", "1.5")

    @contextlib.contextmanager
    def phase(self, name):
        write(f"/proc/{self.server.process.pid}/clear_refs", "5")  # the peak starts anew
        yield
        time.sleep(0.2)
        if not self.server.alive():
            raise SystemExit(f"{name}: the server was killed ({self.server.process.returncode})")
        peak = self.server.rss_bytes("VmHWM")
        share = peak / self.promised
        self.failed += share > TOLERANCE
        if self.args.verbose:
            print({field: int(self.server.info(field)) // MIB for field in FIELDS_OF_INFO})
        print(f"{name:32} {peak / MIB:5.0f} MiB, {share:.2f} of {self.promised / MIB:.0f}"
              f"{'  TOO MUCH' if share > TOLERANCE else ''}", flush=True)  # fmt: skip

    def run(self):
        with self.server:
            connection = self.server.connect(timeout=120)
            self.promised = int(self.server.info("memory_promised"))
            with self.phase("load"):
                self.loadgen("load", "--strings", str(STRINGS), "--hashes", "40000", "--lists", "40000",
                             "--connections", "4", "--pipeline", "16")  # fmt: skip
            with self.phase("one large hash"):
                for first in range(0, FIELDS, 500):
                    connection.value("HSET", "hash", *[b"%s:%d:%s" % (part, i, b"x" * 40)
                                                       for i in range(first, first + 500) for part in (b"f", b"v")])  # fmt: skip
            with self.phase("uniform GET"):
                self.traffic("name=uniform,connections=50")
            with self.phase("zipfian, half of it writes"):
                self.traffic("name=zipfian,pattern=zipfian,connections=50,reads=50")
            with self.phase("hashes and lists"):
                self.traffic("name=hash,type=hash,connections=25", "name=list,type=list,connections=25")
            with self.phase("scan"):
                self.traffic("name=scan,pattern=scan,connections=50,pipeline=8")
            with self.phase("write storm"):
                self.traffic("name=writer,connections=32,pipeline=16,reads=0")
            with self.phase("HGETALL by five slow readers"):
                readers = [self.server.connect(timeout=120) for _ in range(5)]
                for reader in readers:
                    reader.send("HGETALL", "hash")
                time.sleep(1)
                for reader in readers:
                    if len(reader.read_reply().value) != 2 * FIELDS:
                        raise SystemExit("HGETALL told another number of fields")
                    reader.close()
            with self.phase("KEYS, SCAN and BGSAVE"):
                connection.value("BGSAVE")
                if len(connection.value("KEYS", "*")) != STRINGS + 80_001:
                    raise SystemExit("KEYS told another number of keys")
                cursor = b"0"
                while True:
                    cursor, _ = connection.value("SCAN", cursor, "COUNT", 1000)
                    if cursor == b"0":
                        break
            with self.phase("everything goes"):
                connection.value("DEL", "hash")
                connection.value("FLUSHALL")
                time.sleep(2)
            connection.close()
        return 1 if self.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--verbose", action="store_true", help="also print what the memory was taken by")
    parser.add_argument("--dir", help="where the data goes; the system's temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thermocline-limit-", dir=args.dir) as directory:
        with MemoryLimit(LIMIT_BYTES) as limit:
            print(f"limit of {LIMIT_BYTES // MIB} MiB: {limit.kind or 'NONE in force'}")
            return Test(args, directory, limit).run()


if __name__ == "__main__":
    sys.exit(main())
