#!/usr/bin/python3
"""A data directory with damaged files: who asks for what is in them gets an error, all else goes on.

    tests/client/damaged_test.py --server build/release/bin/thermocline-server

Fills a server with keys of all types, stops it, changes bytes in the middle of its tables and blob files, and reads
every key: each reply is either right or an error; the connection and all others go on, keys that are whole can be
written, and INFO and the log name the file.
"""

import argparse
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402

KEYS = 400
# Every read must go to the disk.
OPTIONS = servers.COLD_OPTIONS + ["--rocksdb-write-buffer-size", "1mb", "--warm-start", "no"]


def row(key, number, size=60):
    return b"%s:%d:" % (key, number) + random.Random(b"%s %d" % (key, number)).randbytes(size)


def rows(key, count):
    return [row(key, number) for number in range(count)]


class Kind:
    """Keys of one type: how one is made, how it is read, and what is read. `counts`: rows, by turns; of a string: bytes."""

    def __init__(self, name, write, read, value, counts):
        self.name, self.write, self.read, self.value, self.counts = name, write, read, value, counts

    def keys(self):
        return [(b"%s:%d" % (self.name, i), self.counts[i % len(self.counts)]) for i in range(KEYS)]


def flat(pairs):
    return [word for pair in pairs for word in pair]


KINDS = [
    Kind(b"string", lambda k, n: [b"SET", k, row(k, 0, n)], lambda k: [b"GET", k], lambda k, n: row(k, 0, n),
         (60, 1000, 10000, 100000)),
    Kind(b"hash", lambda k, n: [b"HSET", k, *flat((b"%d" % i, r) for i, r in enumerate(rows(k, n)))],
         lambda k: [b"HVALS", k], lambda k, n: sorted(rows(k, n)), (3, 100)),
    Kind(b"set", lambda k, n: [b"SADD", k, *rows(k, n)], lambda k: [b"SMEMBERS", k],
         lambda k, n: sorted(rows(k, n)), (3, 100)),
    Kind(b"list", lambda k, n: [b"RPUSH", k, *rows(k, n)], lambda k: [b"LRANGE", k, b"0", b"-1"],
         lambda k, n: sorted(rows(k, n)), (3, 100)),
    Kind(b"zset", lambda k, n: [b"ZADD", k, *flat((b"%d" % i, r) for i, r in enumerate(rows(k, n)))],
         lambda k: [b"ZRANGE", k, b"0", b"-1"], lambda k, n: sorted(rows(k, n)), (3, 100)),
]  # fmt: skip


def check(condition, text):
    if not condition:
        raise SystemExit(f"FAILED: {text}")


def damage(directory, chance):
    """Changes a few bytes in every table and blob file that is large enough. Returns how many files."""
    files = 0
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        size = os.path.getsize(path)
        if not name.endswith((".sst", ".blob")) or size < 64 << 10:
            continue
        files += 1
        with open(path, "r+b") as file:
            # In the front half: blocks of data, not the index.
            for _ in range(max(1, size // chance)):
                file.seek(random.randrange(100, size // 2))
                file.write(random.randbytes(3))
    return files


def read_all(connection):
    """Reads every key. Returns those that are whole and those that are damaged, with their kinds, and what files INFO
    named after the errors."""
    whole, damaged, named = [], [], set()
    for kind in KINDS:
        for key, count in kind.keys():
            reply = connection.call(*kind.read(key))
            if reply.is_error():
                check(b"see the server's log" in reply.raw, f"{key}: {reply.raw[:100]}")
                damaged.append((kind, key))
                named.add(persistence(connection)["last_read_failure_file"])
                continue
            value = reply.plain()
            value = sorted(value) if isinstance(value, list) else value
            check(value == kind.value(key, count), f"{key} has a wrong value: {str(value)[:100]}")
            whole.append((kind, key))
    return whole, damaged, named


def persistence(connection):
    info = connection.value(b"INFO", b"persistence").decode()
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)


def damaged_hash(damaged):
    return next(kind.read(key) for kind, key in damaged if kind.name == b"hash")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    args = parser.parse_args()
    random.seed(1)
    with servers.Server(args.server, OPTIONS) as server:
        connection = server.connect()
        for kind in KINDS:
            for key, count in kind.keys():
                check(not connection.call(*kind.write(key, count)).is_error(), f"writing {key}")
        server.flush(connection)
        server.terminate()
        files = damage(os.path.join(server.directory, "rocksdb"), 200 << 10)
        check(files > 2, "there are no files to be damaged")
        server.start()
        connection, other = server.connect(), server.connect()
        whole, damaged, named = read_all(connection)
        print(f"{files} files damaged: {len(whole)} keys whole, {len(damaged)} not")
        check(len(damaged) > 10 and len(whole) > 1000, "as many whole keys as damaged ones to look at")
        check({kind.name for kind, _ in damaged} == {kind.name for kind in KINDS}, "damaged keys of all types")
        check(other.value(b"PING") == b"PONG", "another connection goes on")

        check({os.path.splitext(name)[1] for name in named} == {".sst", ".blob"}, f"INFO names the files: {named}")
        # What a hash is read from is a table.
        check(connection.call(*damaged_hash(damaged)).is_error(), "damaged stays damaged")
        fields = persistence(connection)
        check(int(fields["read_failures"]) >= len(damaged), "INFO counts the failures")
        check(fields["last_read_failure_file"].endswith(".sst"), f"INFO names the file: {fields}")
        check(os.path.exists(fields["last_read_failure_file"]), "and it is there")
        with open(server.log_path, encoding="utf-8", errors="replace") as log:
            failures = [line for line in log if "A read failed" in line]
        check(failures and any(name in line for line in failures for name in named), f"the log names a file: {failures}")

        # In a pipeline the damaged key's command alone fails, in EXEC the transaction; the connection goes on.
        for (kind, bad), (_, good) in zip(damaged[:40], whole):
            replies = connection.pipeline([kind.read(bad), [b"TYPE", good], [b"PING"]])
            check(replies[0].is_error() and not replies[1].is_error() and replies[2].value == b"PONG",
                  f"a pipeline with {bad}")  # fmt: skip
            connection.call(b"MULTI")
            connection.call(*kind.read(bad))
            connection.call(b"SET", b"unharmed", b"1")
            reply = connection.call(b"EXEC")
            check(reply.is_error() or reply.value[0].is_error(), f"EXEC with {bad}: {reply.raw[:100]}")
            check(connection.value(b"PING") == b"PONG", "the connection goes on")
        # Whole keys can be written, unless the search for the other name meets damage.
        moved = 0
        for kind, key in whole[:: len(whole) // 50]:
            reply = connection.call(b"RENAME", key, key + b":moved")
            if reply.is_error():
                check(b"see the server's log" in reply.raw, f"RENAME {key}: {reply.raw[:100]}")
                continue
            moved += 1
            check(connection.value(b"RENAME", key + b":moved", key) == b"OK", f"RENAME {key} back")
        check(moved > 10, f"whole keys can be renamed: {moved}")
        for command in ([b"SCAN", b"0"], [b"KEYS", b"*"], [b"RANDOMKEY"]):  # which may meet damage, or not
            connection.call(*command)
        check(connection.value(b"SET", b"new", b"value") == b"OK" and connection.value(b"GET", b"new") == b"value",
              "new keys can be written")  # fmt: skip
        check(connection.value(b"FLUSHALL") == b"OK", "FLUSHALL")
        check(connection.value(b"DBSIZE") == 0, "nothing is left")
        check(server.alive(), "the server goes on")
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
