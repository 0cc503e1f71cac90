#!/usr/bin/python3
"""Kills the server with SIGKILL under load, twenty times on one directory, and looks for lost writes.

    kill9.py --server build/release/bin/thermocline-server [--seed 7] [--kills 20]
    kill9.py                     redis-server with its append-only file: tests the test

Several writers, each with its own keys and one connection, send pipelines and know what every reply promised. A
connection's writes are in the log in their order. So after a restart a writer's keys must be in the state after its
first n commands, with n between what was acknowledged and what was sent; one n for all its keys. A MULTI/EXEC counts
as one command, so that half of a transfer between accounts is a state that never was. The counts of collections
(LLEN and so on) must be what is in them, and DBSIZE what a full SCAN finds. A third of the kills hit the server
again while it is starting.
"""

import argparse
import multiprocessing
import os
import random
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import resp, servers  # noqa: E402

POOL = 150  # keys of each kind that a writer writes again and again
NEW_KEYS_MAX = 15000  # keys that a writer writes once


class Writer:
    """Writes until the connection breaks, then compares what is there with what it knows.

    `acked`: key -> (value, expire_at) after the last acknowledged command; a deleted key is absent. The value of a
    collection is a tuple (list), frozenset (set) or dict (hash; sorted set: member -> score). `pending`: the commands
    whose reply has not come, each as the list of (key, its state afterwards).
    """

    def __init__(self, number, seed):
        self.prefix = b"w%d:" % number
        self.r = random.Random(f"{seed}/{number}")
        self.version = 0
        self.acked = {}
        self.sent = {}  # the state after everything that was sent
        self.pending = []
        self.ever = set()  # all keys that were ever sent
        self.new_keys = 0
        self.commands = 0

    def value(self):
        self.version += 1
        size = self.r.choice([0, 10, 100, 100, 400, 2000])
        if self.r.random() < 0.003:
            size = self.r.choice([20000, 100000, 300000])
        return b"%sv%d:" % (self.prefix, self.version) + b"x" * size

    def key(self, kind):
        return b"%s%s%d" % (self.prefix, kind, self.r.randrange(POOL))

    def next_request(self):
        """Returns (commands, effects, the reply that the last one must give or None)."""
        kind = self.r.random()
        if kind < 0.45:
            args, effects, reply = self.collection_command()
        elif kind < 0.55:
            return self.transfer()
        else:
            args, effects, reply = self.string_command()
        return [args], effects, reply

    def transfer(self):
        """Moves an amount from one account to another; the accounts always add up to zero."""
        a, b = (self.prefix + b"account%d" % i for i in self.r.sample(range(20), 2))
        amount = self.r.randint(1, 1000)
        numbers = [int(self.sent.get(key, (b"0", None))[0]) + change for key, change in ((a, -amount), (b, amount))]
        effects = [(key, (b"%d" % number, None)) for key, number in zip((a, b), numbers)]
        commands = [[b"MULTI"], [b"INCRBY", a, b"%d" % -amount], [b"INCRBY", b, b"%d" % amount], [b"EXEC"]]
        return commands, effects, b"*2\r\n:%d\r\n:%d\r\n" % tuple(numbers)

    def members(self, count):
        return [b"m%d" % self.r.randrange(400) for _ in range(count)]

    def collection_command(self):
        """On few keys with up to some hundred rows each: they are packed, spread, emptied and made again."""
        kind, number = self.r.choice([b"L", b"S", b"H", b"Z"]), self.r.randrange(12)
        key = b"%s%s%d" % (self.prefix, kind, number)
        state = self.sent.get(key, (None, None))[0]
        shrink = self.r.random() < (0.6 if state is not None and len(state) > 300 else 0.35)
        if self.r.random() < 0.01 and state is not None:
            return [b"DEL", key], [(key, None)], b":1\r\n"
        self.version += 1
        if kind == b"L":
            old = state or ()
            values = [b"%d" % self.version] + [b"x" * self.r.choice([1, 5, 40, 300]) for _ in range(self.r.randint(0, 3))]
            how = self.r.randrange(4)
            if not shrink:
                new = tuple(reversed(values)) + old if how < 2 else old + tuple(values)
                args, reply = [b"LPUSH" if how < 2 else b"RPUSH", key] + values, len(new)
            elif not old:
                return [b"LPOP", key], [], b"$-1\r\n"
            elif how == 0 and len(old) > 4:
                first, last = sorted(self.r.sample(range(len(old)), 2))
                new, args, reply = old[first : last + 1], [b"LTRIM", key, b"%d" % first, b"%d" % last], None
            elif how == 1:
                pivot = self.r.choice(old)
                at = old.index(pivot)
                new = old[:at] + (values[0],) + old[at:]
                args, reply = [b"LINSERT", key, b"BEFORE", pivot, values[0]], len(new)
            elif how == 2:
                value = self.r.choice(old)
                new = tuple(x for x in old if x != value)
                args, reply = [b"LREM", key, b"0", value], len(old) - len(new)
            else:
                new, args, reply = old[:-1], [b"RPOP", key], None
        elif kind == b"S":
            old, members = state or frozenset(), self.members(self.r.randint(1, 8))
            new = old - set(members) if shrink else old | set(members)
            args, reply = [b"SREM" if shrink else b"SADD", key] + members, abs(len(new) - len(old))
        elif kind == b"H":
            old, members = state or {}, self.members(self.r.randint(1, 8))
            if shrink:
                new = {field: value for field, value in old.items() if field not in members}
                args, reply = [b"HDEL", key] + members, len(old) - len(new)
            else:
                fresh = {field: b"%d:" % self.version + b"y" * self.r.choice([0, 10, 200]) for field in members}
                new = {**old, **fresh}
                args = [b"HSET", key] + [word for pair in fresh.items() for word in pair]
                reply = len(new) - len(old)
        else:
            old, members = state or {}, self.members(self.r.randint(1, 8))
            if shrink and self.r.random() < 0.3:
                low = self.r.randint(0, 900)
                new = {member: score for member, score in old.items() if not low <= score <= low + 100}
                args, reply = [b"ZREMRANGEBYSCORE", key, b"%d" % low, b"%d" % (low + 100)], len(old) - len(new)
            elif shrink:
                new = {member: score for member, score in old.items() if member not in members}
                args, reply = [b"ZREM", key] + members, len(old) - len(new)
            else:
                fresh = {member: self.r.randint(0, 1000) for member in members}
                new = {**old, **fresh}
                args = [b"ZADD", key] + [word for m, score in fresh.items() for word in (b"%d" % score, m)]
                reply = len(new) - len(old)
        return args, [(key, (new, None) if new else None)], None if reply is None else b":%d\r\n" % reply

    def string_command(self):
        """Returns (args, effects, the reply that it must give or None)."""
        kind = self.r.random()
        if kind < 0.3:
            key, value = self.key(b"s"), self.value()
            return [b"SET", key, value], [(key, (value, None))], b"+OK\r\n"
        if kind < 0.45:
            key = self.key(b"n")
            number = int(self.sent.get(key, (b"0", None))[0]) + 1
            return [b"INCR", key], [(key, (b"%d" % number, None))], b":%d\r\n" % number
        if kind < 0.55:
            keys = [self.key(b"s") for _ in range(self.r.randint(1, 4))]
            gone = sum(1 for key in set(keys) if key in self.sent)
            return [b"DEL"] + keys, [(key, None) for key in keys], b":%d\r\n" % gone
        if kind < 0.65:
            key = self.key(b"a")
            old = self.sent.get(key, (b"", None))[0]
            if len(old) > 20000:
                return [b"DEL", key], [(key, None)], b":1\r\n"
            self.version += 1
            value = old + b"%d," % self.version
            return [b"APPEND", key, b"%d," % self.version], [(key, (value, None))], b":%d\r\n" % len(value)
        if kind < 0.75:
            key, value = self.key(b"e"), self.value()
            return [b"SETEX", key, b"1000", value], [(key, (value, time.time() + 1000))], b"+OK\r\n"
        if kind < 0.78:
            key, millis = self.key(b"p"), self.r.randint(50, 400)
            return [b"PSETEX", key, b"%d" % millis, b"short"], [(key, (b"short", time.time() + millis / 1000))], None
        if kind < 0.9 or self.new_keys >= NEW_KEYS_MAX:
            pairs = [(self.key(b"s"), self.value()) for _ in range(self.r.randint(2, 6))]
            args = [b"MSET"] + [word for pair in pairs for word in pair]
            return args, [(key, (value, None)) for key, value in pairs], b"+OK\r\n"
        self.new_keys += 1
        key, value = b"%snew%d" % (self.prefix, self.new_keys), b"once %d" % self.new_keys
        return [b"SET", key, value], [(key, (value, None))], b"+OK\r\n"

    def write_until_killed(self, port):
        """Returns a text if a reply was wrong, else None."""
        try:
            connection = resp.Connection(port)
            while True:
                batch = []
                for _ in range(self.r.choice([1, 1, 4, 16, 50])):
                    commands, effects, reply = self.next_request()
                    batch.append((commands, reply))
                    self.pending.append(effects)
                    for key, state in effects:
                        self.ever.add(key)
                        self.apply(self.sent, key, state)
                connection.send_raw(b"".join(resp.encode_command(args) for commands, _ in batch for args in commands))
                for commands, expected in batch:
                    for _ in commands:
                        reply = connection.read_reply()
                    if reply.is_error() or (expected is not None and reply.raw != expected):
                        return f"{commands[0]}: {reply.raw[:200]} instead of {expected}"
                    for key, state in self.pending.pop(0):
                        self.apply(self.acked, key, state)
                    self.commands += 1
        except (OSError, resp.Closed, socket.timeout):
            return None

    @staticmethod
    def apply(states, key, state):
        if state is None:
            states.pop(key, None)
        else:
            states[key] = state

    # By the letter behind the prefix: how to read a collection, how to count it, and its state.
    COLLECTIONS = {
        b"L": ([b"LRANGE", b"0", b"-1"], b"LLEN", tuple),
        b"S": ([b"SMEMBERS"], b"SCARD", frozenset),
        b"H": ([b"HGETALL"], b"HLEN", lambda flat: dict(zip(flat[::2], flat[1::2]))),
        b"Z": ([b"ZRANGE", b"0", b"-1", b"WITHSCORES"], b"ZCARD",
               lambda flat: dict(zip(flat[::2], map(int, flat[1::2])))),
    }  # fmt: skip

    def read_all(self, port):
        """key -> (value, milliseconds to live or -1) of all that is there."""
        connection = resp.Connection(port)
        found, keys = {}, sorted(self.ever)
        strings = []
        for key in keys:
            collection = self.COLLECTIONS.get(key[len(self.prefix) : len(self.prefix) + 1])
            if collection is None:
                strings.append(key)
                continue
            (name, *more), count, state_of = collection
            elements = connection.value(name, key, *more)
            if elements:
                state = state_of(elements)
                found[key] = (state, -1)
                if connection.value(count, key) != len(state):
                    found[key] = (f"{count} is not the number of elements", -1)
        for at in range(0, len(strings), 500):
            part = strings[at : at + 500]
            connection.send_raw(resp.encode_command([b"MGET"] + part)
                                + b"".join(resp.encode_command([b"PTTL", key]) for key in part))  # fmt: skip
            values = connection.read_reply().plain()
            for key, value in zip(part, values):
                ttl = connection.read_reply().plain()
                if value is not None:
                    found[key] = (value, ttl)
        connection.close()
        return found

    @staticmethod
    def fits(state, actual, now):
        """Whether what was read can be `state`. An expiry may pass while we look."""
        if state is None:
            return actual is None
        value, expire_at = state
        if actual is None:
            return expire_at is not None and expire_at - now < 0.2
        if actual[0] != value:
            return False
        if expire_at is None:
            return actual[1] == -1
        # Read between MGET and PTTL the key may have gone: -2.
        return actual[1] == -2 or (actual[1] >= 0 and abs(now + actual[1] / 1000 - expire_at) < 5)

    def verify(self, port):
        """Returns a list of texts, empty if nothing is lost. Goes on from what was found."""
        found, now = self.read_all(port), time.time()
        state = dict(self.acked)
        wrong = {key for key in self.ever if not self.fits(state.get(key), found.get(key), now)}
        count = 0
        while wrong and count < len(self.pending):
            for key, after in self.pending[count]:
                self.apply(state, key, after)
            for key, _ in self.pending[count]:
                if self.fits(state.get(key), found.get(key), now):
                    wrong.discard(key)
                else:
                    wrong.add(key)
            count += 1
        failures = [] if not wrong else self.explain(wrong, found, now)
        accounts = [int(value) for key, (value, _) in found.items() if key.startswith(self.prefix + b"account")]
        if sum(accounts) != 0:
            failures.append(f"the accounts of {self.prefix} add up to {sum(accounts)}")
        self.acked = {
            key: state[key] if key in state and state[key][0] == value else (value, None)
            for key, (value, _) in found.items()
        }
        self.sent = dict(self.acked)
        self.pending = []
        return failures

    def explain(self, wrong, found, now):
        failures = []
        for key in sorted(wrong)[:5]:
            states = [self.acked.get(key)] + [s for effects in self.pending for k, s in effects if k == key]
            alone = any(self.fits(state, found.get(key), now) for state in states)
            failures.append(
                f"{key}: found {short(found.get(key))}, acknowledged {short(self.acked.get(key))}, "
                f"{len(states) - 1} writes unacknowledged"
                + ("; allowed for this key alone, but not with the other keys" if alone else "; LOST OR WRONG")
            )
        if not failures:
            failures.append("no prefix of the unacknowledged commands explains what is there")
        return failures + ([f"... and {len(wrong) - 5} more keys"] if len(wrong) > 5 else [])

    def run(self, pipe):
        """Serves the main process: ("write", port), ("verify", port), ("end",)."""
        while True:
            order = pipe.recv()
            if order[0] == "write":
                pipe.send(self.write_until_killed(order[1]))
            elif order[0] == "verify":
                failures = self.verify(order[1])
                keeping = {key for key, (_, at) in self.acked.items() if at is None or at - time.time() > 60}
                pipe.send((failures, len(keeping), self.commands))
            else:
                return


def short(state):
    if state is None:
        return "nothing"
    value = repr(state[0])
    return f"({value[:200]}{'...' if len(value) > 200 else ''}, size {len(state[0])}, {state[1]})"


def check_size(server, expected):
    """DBSIZE, SCAN and the writers' count agree. Keys of short life go first: waits for them. Returns texts."""
    connection = server.connect()
    deadline = time.monotonic() + 8
    while True:
        scanned = len(resp.scan_keys(connection, "COUNT", 1000))
        size = connection.value("DBSIZE")
        if size == scanned == expected:
            connection.close()
            return []
        if time.monotonic() > deadline:
            connection.close()
            return [f"DBSIZE {size}, a full SCAN finds {scanned}, the writers know {expected}"]
        time.sleep(0.05)


def run(args):
    r = random.Random(args.seed)
    binary = args.server or servers.REDIS_SERVER
    options = servers.split_options(args.option)
    if servers.is_redis(binary):
        # Not everysec: while an fsync runs, Redis holds back the write itself for up to two seconds, but not the
        # replies, so a kill does lose acknowledged writes there (this test finds them).
        options = ["--appendonly", "yes", "--appendfsync", "no", "--save", ""] + options
    context = multiprocessing.get_context("fork")
    pipes, writers, failures, total = [], [], [], 0
    for number in range(args.writers):
        ours, theirs = context.Pipe()
        process = context.Process(target=Writer(number, args.seed).run, args=(theirs,), daemon=True)
        process.start()
        pipes.append(ours)
        writers.append(process)
    server = servers.Server(binary, options)
    try:
        server.start()
        for kill in range(1, args.kills + 1):
            for pipe in pipes:
                pipe.send(("write", server.port))
            time.sleep(r.uniform(0.02, 2 * args.seconds))
            server.kill()
            failures += [text for pipe in pipes for text in [pipe.recv()] if text]
            if r.random() < 0.33:
                server.spawn()
                time.sleep(r.uniform(0, 0.1))
                server.kill()
            begin = time.monotonic()
            server.start()
            ready = time.monotonic() - begin
            for pipe in pipes:
                pipe.send(("verify", server.port))
            answers = [pipe.recv() for pipe in pipes]
            for answer in answers:
                failures += answer[0]
            expected = sum(answer[1] for answer in answers)
            failures += check_size(server, expected)
            total = sum(answer[2] for answer in answers)
            if args.verbose:
                print(f"kill {kill}: {total} commands acknowledged so far, {expected} keys, ready in {ready:.2f} s")
            if failures:
                print(f"after kill {kill} (--seed {args.seed}):\n  " + "\n  ".join(failures[:20]))
                return 1
        # A clean end must keep everything too.
        code = server.terminate()
        server.start()
        connection = server.connect()
        if connection.value("DBSIZE") != expected:
            print(f"after a clean restart: DBSIZE {connection.value('DBSIZE')} instead of {expected}")
            return 1
        if code != 0:
            print(f"SIGTERM: exit code {code}\n{server.log_tail()}")
            return 1
    except (servers.StartError, resp.ProtocolError, resp.Closed) as error:
        print(f"--seed {args.seed}: {type(error).__name__}: {error}\n{server.log_tail()}")
        return 1
    finally:
        for process in writers:
            process.kill()
        server.stop()
    print(f"{args.kills} kills, {total} acknowledged commands, {expected} keys: nothing lost")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="our server's program; without it redis-server stands in")
    parser.add_argument("--option", action="append", help="option for the server, as in --option='--maxmemory 1mb'")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.6, help="mean time of load before a kill")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {args.seed}", flush=True)
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
