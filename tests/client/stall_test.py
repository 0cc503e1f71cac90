#!/usr/bin/python3
"""Writes come faster than the store can take them: writers wait, nobody gets an error, and reads go on.

    tests/client/stall_test.py --server build/release/bin/thermocline-server

The store may write so little per second that RocksDB stops writes again and again. While INFO says that a commit is
held up, before and after them, reads of a hot key and of cold ones must be answered. At the end everything that was acknowledged is there, and no reply was an error.
"""

import argparse
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402

OPTIONS = ["--rocksdb-write-buffer-size", "1mb", "--rocksdb-rate-limit-bytes-per-sec", "3mb",
           "--rocksdb-blob-min-bytes", "0", "--rocksdb-block-cache-size", "64kb", "--maxmemory", "1mb",
           "--warm-start", "no"]  # fmt: skip
COLD_KEYS = 2000
WRITERS = 4
STALLS_WANTED = 20
ROUNDS_MAX = 200  # of the writers; a stall comes within a few


def value(key, number):
    return random.Random(b"%s %d" % (key, number)).randbytes(1000)


def check(condition, text):
    if not condition:
        raise SystemExit(f"FAILED: {text}")


class Writer(threading.Thread):
    """Writes its own keys again and again, many at a time, and remembers what was acknowledged."""

    def __init__(self, server, number):
        super().__init__()
        self.connection = server.connect(timeout=120)
        self.keys = [b"writer:%d:%d" % (number, i) for i in range(500)]
        self.round, self.bad, self.stop = 0, None, False

    def run(self):
        while not self.stop and self.bad is None and self.round < ROUNDS_MAX:
            replies = self.connection.pipeline([(b"SET", key, value(key, self.round)) for key in self.keys])
            self.bad = next((reply for reply in replies if reply.value != b"OK"), None)
            self.round += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    args = parser.parse_args()
    with servers.Server(args.server, OPTIONS) as server:
        reader = server.connect(timeout=120)
        cold = [b"cold:%d" % i for i in range(COLD_KEYS)]
        for key in cold:
            check(reader.value("SET", key, value(key, 0)) == b"OK", "SET")
        server.flush(reader)
        check(reader.value("SET", "hot", "1") == b"OK", "SET")
        writers = [Writer(server, number) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        reads = stalls = within = 0
        faults = server.faults()
        while within < STALLS_WANTED and any(writer.is_alive() for writer in writers):
            stalled = server.info("stalled") == "1"
            turn = server.info("commit_stalls")
            for _ in range(5):
                key = random.choice(cold)
                check(reader.value("GET", "hot") == b"1", "a hot read")
                check(reader.value("GET", key) == value(key, 0), f"a cold read of {key}")
                reads += 2
            stalls += stalled
            # One and the same stall was there before and after these reads.
            within += stalled and server.info("stalled") == "1" and server.info("commit_stalls") == turn
        for writer in writers:
            writer.stop = True
        for writer in writers:
            writer.join()
            check(writer.bad is None, f"a writer got {writer.bad and writer.bad.raw[:200]}")
        print(f"{reads} reads, {server.faults() - faults} from disk; seen stalled {stalls} times, {within} times before "
              f"and after ten reads; {server.info('commit_stalls')} stalls")  # fmt: skip
        check(within >= STALLS_WANTED, "there were too few stalls to see anything")
        server.terminate()
        server.start()
        reader = server.connect(timeout=120)
        for writer in writers:
            for key in writer.keys:
                check(reader.value("GET", key) == value(key, writer.round - 1), f"{key} after a restart")
    print("passed")


if __name__ == "__main__":
    main()
