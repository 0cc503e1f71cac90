#!/usr/bin/python3
"""A disk that cannot be read: each command of a cold key gets an error and changes nothing, all else goes on.

    tests/client/io_error_test.py --server build/release/bin/thermocline-server --broken-disk libbroken_disk.so

The library (broken_disk.cc), loaded into the server, makes reads of tables fail while a file exists. Every command has
keys of its own, once with nothing of them in RAM, and once with their heads there, so that only rows are missing.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402

OPTIONS = servers.COLD_OPTIONS + ["--warm-start", "no"]
# K: the key, O: another one of its type, D: a key that is not there, M: a member, N: one that is not there.
COMMANDS = {
    "string": """GET K|STRLEN K|GETRANGE K 0 -1|SUBSTR K 0 5|APPEND K x|INCR K|DECRBY K 2|INCRBYFLOAT K 1|SETRANGE K 0 x
        GETSET K x|GETDEL K|GETEX K EX 100|SETNX K x|SET K x GET|SET K x XX|SET K x KEEPTTL|BITCOUNT K|BITPOS K 1
        GETBIT K 3|SETBIT K 3 1|BITFIELD K GET u8 0|BITOP NOT D K|MGET K O|MSETNX D 1 K 1|LCS K O|RENAME K D
        RENAMENX K D|COPY K D|TYPE K|EXISTS K|TTL K|EXPIRE K 100|PERSIST K|OBJECT ENCODING K|DEL K|UNLINK K|TOUCH K
        MEMORY USAGE K|MOVE K 1""",
    "hash": """HGET K M|HMGET K M N|HGETALL K|HKEYS K|HVALS K|HLEN K|HSTRLEN K M|HEXISTS K M|HSET K M x|HSETNX K M x
        HDEL K M|HINCRBY K M 1|HINCRBYFLOAT K M 1|HRANDFIELD K 2|HSCAN K 0|COPY K D|OBJECT ENCODING K""",
    "set": """SISMEMBER K M|SMISMEMBER K M N|SMEMBERS K|SCARD K|SADD K N|SREM K M|SPOP K|SPOP K 2|SRANDMEMBER K 2
        SMOVE K O M|SINTER K O|SINTERSTORE D K O|SUNION K O|SUNIONSTORE D K O|SDIFF K O|SDIFFSTORE D K O|SINTERCARD 2 K O
        SSCAN K 0|SORT K ALPHA|SORT K ALPHA STORE D|COPY K D""",
    "list": """LRANGE K 0 -1|LINDEX K 1|LLEN K|LPUSH K x|RPUSH K x|LPUSHX K x|LPOP K|RPOP K 2|LSET K 0 x
        LINSERT K BEFORE M x|LREM K 0 M|LTRIM K 1 2|LPOS K M|LMOVE K O LEFT RIGHT|RPOPLPUSH K O|LMPOP 1 K LEFT
        BLPOP K 1|BRPOP K 1|BLMOVE K O LEFT RIGHT 1|BRPOPLPUSH K O 1|BLMPOP 1 1 K LEFT|SORT K ALPHA|COPY K D""",
    "zset": """ZSCORE K M|ZMSCORE K M N|ZADD K 5 M|ZADD K 5 N|ZINCRBY K 1 M|ZREM K M|ZCARD K|ZCOUNT K 0 5|ZLEXCOUNT K - +
        ZRANK K M|ZREVRANK K M|ZRANGE K 0 -1|ZRANGE K 1 3 REV WITHSCORES|ZRANGEBYSCORE K 0 5|ZREVRANGEBYSCORE K 5 0
        ZREVRANGE K 0 -1|ZRANGEBYLEX K - +|ZRANGESTORE D K 0 -1|ZREMRANGEBYRANK K 0 1|ZREMRANGEBYSCORE K 0 1
        ZREMRANGEBYLEX K - [b|ZPOPMIN K|ZPOPMAX K 2|ZMPOP 1 K MIN|BZPOPMIN K 1|BZPOPMAX K 1|BZMPOP 1 1 K MIN
        ZRANDMEMBER K 2|ZUNION 2 K O|ZINTER 2 K O|ZDIFF 2 K O|ZUNIONSTORE D 2 K O|ZINTERSTORE D 2 K O|ZINTERCARD 2 K O
        ZSCAN K 0|COPY K D""",
}  # fmt: skip
READS = {"string": "GET K", "hash": "HGETALL K", "set": "SMEMBERS K", "list": "LRANGE K 0 -1",
         "zset": "ZRANGE K 0 -1 WITHSCORES"}  # fmt: skip
SMALL, LARGE = 3, 300  # rows; of a string: thousands of bytes


def check(condition, text):
    if not condition:
        raise SystemExit(f"FAILED: {text}")


def rows(count):
    return [f"member:{i:04d}:{'x' * 40}" for i in range(count)]


def fill(kind, key, count):
    members = rows(count)
    return {"string": ["SET", key, "7" * (count * 1000)],
            "hash": ["HSET", key, *[word for m in members for word in (m, "value of " + m)]],
            "set": ["SADD", key, *members],
            "list": ["RPUSH", key, *members],
            "zset": ["ZADD", key, *[word for i, m in enumerate(members) for word in (i, m)]]}[kind]  # fmt: skip


class Case:
    """One command, with its two keys."""

    def __init__(self, kind, text, count, number):
        self.kind, self.text, self.count = kind, text, count
        self.key, self.other = f"key:{number}", f"other:{number}"
        names = {"K": self.key, "O": self.other, "D": f"missing:{number}", "M": rows(2)[1], "N": "none"}
        self.command = [names.get(word, word) for word in text.split()]
        self.read = [READS[kind].replace("K", key).split() for key in (self.key, self.other)]

    def __str__(self):
        return f"{self.text} of {self.count} rows"


def cases():
    number = 0
    for kind, texts in COMMANDS.items():
        for text in texts.replace("\n", "|").split("|"):
            for count in (SMALL, LARGE):
                number += 1
                yield Case(kind, text, count, number)


class Disk:
    """Is broken meanwhile."""

    def __init__(self, trigger):
        self.trigger = trigger

    def __enter__(self):
        with open(self.trigger, "w", encoding="ascii"):
            pass

    def __exit__(self, *unused):
        os.unlink(self.trigger)


def run(server, trigger, heads_in_ram):
    """All commands. Returns how many there are, and how many could not read."""
    connection, other = server.connect(), server.connect()
    all_cases, before, errors = list(cases()), {}, 0
    for case in all_cases:
        for key in (case.key, case.other):
            check(not connection.call(*fill(case.kind, key, case.count)).is_error(), f"filling for {case}")
        before[case] = [connection.call(*read).raw for read in case.read]
    server.flush(connection)
    server.terminate()
    server.start()
    connection, other = server.connect(), server.connect()
    other.value("SET", "hot", "1")
    connection.value("CONFIG", "SET", "maxmemory", "64mb" if heads_in_ram else "1kb")
    for case in all_cases:
        if heads_in_ram:
            connection.call("EXISTS", case.key, case.other)
        with Disk(trigger):
            reply = connection.call(*case.command)
            check(other.value("SET", "hot", "1") == b"OK", f"another connection beside {case}")
            check(connection.value("PING") == b"PONG", f"the connection goes on after {case}")
        failed = reply.is_error() and b"see the server's log" in reply.raw
        check(heads_in_ram or failed, f"{case} of a key that cannot be read: {reply.raw[:100]}")
        if failed:
            errors += 1
            after = [connection.call(*read).raw for read in case.read]
            check(after == before[case], f"{case} failed and changed something")
    check(connection.value("EXISTS", *[f"missing:{i}" for i in range(len(all_cases) + 1)]) <= len(all_cases) - errors,
          "a command that failed made a key")  # fmt: skip
    check(connection.value("FLUSHALL") == b"OK", "FLUSHALL")
    return len(all_cases), errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--broken-disk", required=True, help="the library")
    args = parser.parse_args()
    with servers.Server(args.server, OPTIONS) as server:
        server.terminate()
        trigger = os.path.join(server.directory, "broken")
        server.launcher = ["env", f"LD_PRELOAD={args.broken_disk}", f"THERMOCLINE_BROKEN_DISK={trigger}",
                           "ASAN_OPTIONS=verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")]  # fmt: skip
        server.start()
        for heads_in_ram in (False, True):
            count, errors = run(server, trigger, heads_in_ram)
            print(f"{count} commands, heads {'in RAM' if heads_in_ram else 'on disk'}: {errors} errors")
            check(errors > 80, "too few reads failed")
            check(not heads_in_ram or errors < count, "what needs the head alone is answered")
        connection = server.connect()
        check(server.info("last_read_failure_file", "persistence").endswith(".sst"), "INFO names the file")
        check(connection.value("PING") == b"PONG", "the server goes on")
        with open(server.log_path, encoding="utf-8", errors="replace") as log:
            check(any("A read failed" in line and ".sst" in line for line in log), "the log names the file")
    print("ok")


if __name__ == "__main__":
    main()
