#!/usr/bin/python3
"""Plays the same trace to redis-server and to our server, both as caches (`maxmemory-action delete`) with room for
the same number of keys, with each policy, and compares the hit ratios.

    hit_ratio.py --server build/release/bin/thermocline-server [--policy allkeys-lru ...] [--seed N]

First some keys are written, and what each server takes for them becomes its limit. Then a client reads keys with
Zipf's distribution and writes those that it misses. The exit code is 1 if two ratios differ by more than --points.
"""

import argparse
import bisect
import itertools
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402

BATCH = 50  # requests at one time
VALUE = b"v" * 100


def make_trace(args):
    """Numbers of keys, in batches."""
    rng = random.Random(args.seed)
    weights = list(itertools.accumulate(1 / (rank + 1) ** 0.9 for rank in range(args.keys)))
    order = list(range(args.keys))
    rng.shuffle(order)
    picks = [order[bisect.bisect(weights, rng.random() * weights[-1])] for _ in range(args.requests)]
    return [picks[i : i + BATCH] for i in range(0, len(picks), BATCH)]


class Player:
    """One server, and what it answers."""

    def __init__(self, binary):
        self.redis = servers.is_redis(binary)
        options = ["--save", ""] if self.redis else ["--maxmemory-action", "delete"]
        self.server = servers.Server(binary, options + ["--maxmemory", "0"])

    def used_bytes(self):
        return int(self.server.info("used_memory" if self.redis else "hot_bytes"))

    def set_commands(self, numbers, policy):
        """Every key has an expiry with volatile-*, so that all of them may be evicted; that is later for keys with
        larger numbers, which are as popular as the others."""
        expiry = (lambda n: ["EX", 100000 + n]) if policy.startswith("volatile") else (lambda n: [])
        return [["SET", f"key:{n:08}", VALUE] + expiry(n) for n in numbers]

    def fill(self, connection, policy, count):
        """Writes `count` keys, and returns the memory that is in use then."""
        for begin in range(0, count, BATCH):
            connection.pipeline(self.set_commands(range(begin, min(count, begin + BATCH)), policy))
        return self.used_bytes()

    def play(self, trace, policy, resident, warm_up):
        with self.server as server:
            connection = server.connect()
            connection.value("CONFIG", "SET", "maxmemory-policy", policy)
            limit = self.fill(connection, policy, resident)
            # Without evictions the keys that were there first stay; not one more is to fit, or it is a matter of
            # chance whether that is a popular one.
            connection.value("CONFIG", "SET", "maxmemory", limit // 2 if policy == "noeviction" else limit)
            hits = requests = 0
            for number, batch in enumerate(trace):
                replies = connection.pipeline([["GET", f"key:{n:08}"] for n in batch])
                missed = [n for n, reply in zip(batch, replies) if reply.value is None]
                if missed:
                    connection.pipeline(self.set_commands(missed, policy))
                if number >= warm_up:
                    requests += len(batch)
                    hits += len(batch) - len(missed)
            keys = connection.value("DBSIZE")
            evicted = int(server.info("evicted_keys"))
            if not self.redis and int(server.info("demoted_objects")):
                raise AssertionError("a key was demoted, not deleted")
            connection.close()
        return {"ratio": 100 * hits / requests, "keys": keys, "evicted": evicted, "bytes": limit / resident}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="our server's program; without it redis-server stands in")
    parser.add_argument("--policy", nargs="+", choices=servers.POLICIES, default=servers.POLICIES)
    parser.add_argument("--keys", type=int, default=50000)
    parser.add_argument("--resident", type=int, default=10000, help="how many of them fit")
    parser.add_argument("--requests", type=int, default=60000)
    parser.add_argument("--points", type=float, default=3.0, help="by how much two ratios may differ, in percent")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    trace = make_trace(args)
    warm_up = len(trace) // 3
    failed = 0
    print(f"{'':16} {'hits in percent':>20} {'keys in the end':>20} {'bytes per key':>20}")
    print(f"{'':16}" + f" {'redis':>10} {'ours':>9}" * 3)
    for policy in args.policy:
        redis, ours = (
            Player(binary).play(trace, policy, args.resident, warm_up)
            for binary in (servers.REDIS_SERVER, args.server or servers.REDIS_SERVER)
        )
        # Redis tells LRU in seconds, we in tenths, which shows in a trace of seconds.
        better = args.points * (2 if policy.endswith("lru") else 1)
        bad = not -args.points <= ours["ratio"] - redis["ratio"] <= better
        bad |= any(abs(side["keys"] - args.resident) > args.resident / 20 for side in (redis, ours))
        bad |= any((side["evicted"] == 0) != (policy == "noeviction") for side in (redis, ours))
        failed += bad
        print(
            f"{policy:16} {redis['ratio']:10.1f} {ours['ratio']:9.1f} {redis['keys']:10} {ours['keys']:9} "
            f"{redis['bytes']:10.0f} {ours['bytes']:9.0f}{'  DIFFERS' if bad else ''}",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
