#!/usr/bin/python3
"""Seeded random commands, sent to redis-server and to our server; the replies must be equal.

    random_run.py --server build/release/bin/thermocline-server [--seed 7] [--steps 20000]
    random_run.py --server ... --tiny           our server with hardly any memory, many keys: everything from disk
    random_run.py --server ... --cold           ours keeps nothing in RAM: commands wait for the disk
    random_run.py --server ... --restarts 5     our server is killed and started again five times on the way
    random_run.py --server ... --protocol 5000  broken protocol: streams with wrong, missing and added bytes
    random_run.py                               redis-server against itself

    random_run.py --families hashes,keys        only the rows of these files under grammar/

A step is one pipeline on one of several connections. A seed gives the same stream every time, except for absolute
times, which are relative to the clock. On a mismatch the seed, the step and the last commands that named the same
keys are printed, in the form of a case file.
"""

import argparse
import collections
import glob
import os
import random
import re
import sys
import time

import compare
import sides
from lib import resp, servers

FLUSH_EVERY = 25  # steps, with --cold

GRAMMAR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "grammar")

EDGE_INTEGERS = [0, 1, -1, 2, 7, 8, 10, 100, 127, 128, 255, 256, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 63) - 1,
                 -(1 << 63), 1 << 63, (1 << 64) - 1]  # fmt: skip
ODD_TEXTS = [b"", b" ", b"abc", b"1.5", b" 1", b"1 ", b"+1", b"-0", b"01", b"0x10", b"1e3", b"nan", b"inf", b"-inf",
             b"\x00", b"1\x00", b"\xff\xfe", b"\r\n", b"*1\r\n", b"-", b"#1", b"9" * 30]  # fmt: skip
FLOATS = [b"0", b"1.5", b"-1.5", b"0.1", b"3.14159265358979", b"1e5", b"-2.5e-3", b"1e17", b"1e300", b"5.0e3",
          b"100.25", b"0.000001", b"12345678.87654321"]  # fmt: skip
UNKNOWN_CURSOR = re.compile(rb"[+-]?0*[1-9][0-9]*(\0|$)")
KINDS = [b"hash", b"list", b"set", b"zset"]
PATTERNS = [b"*", b"k*", b"k?", b"k[1-4]*", b"*1", b"big*", b"", b"k1", b"[^k]*", b"\\k*", b"n*", b"?*", b"k[", b"*[0-"]


def parse_row(text):
    """'SET key [NX|XX]' -> a tree: ('word', w), ('optional'|'choice', [sequences]), ('repeat', node)."""

    def sequence(at, end):
        nodes = []
        while at < len(text) and text[at] not in end:
            c = text[at]
            if c == " ":
                at += 1
                continue
            if c in "[(":
                options, at = [], at + 1
                while True:
                    nodes_inside, at = sequence(at, "|])")
                    options.append(nodes_inside)
                    at += 1
                    if text[at - 1] != "|":
                        break
                nodes.append(("optional" if c == "[" else "choice", options))
            else:
                start = at
                while at < len(text) and text[at] not in " []()|*":
                    at += 1
                nodes.append(("word", text[start:at]))
            if at < len(text) and text[at] == "*":
                nodes.append(("repeat", nodes.pop()))
                at += 1
        return nodes, at

    return sequence(0, "")[0]


class Generator:
    """Draws commands. All randomness is in `r`, so that a seed repeats a run."""

    def __init__(self, seed, keys, tiny, families):
        self.r = random.Random(seed)
        self.start = time.time()
        self.unique = 0  # no two expiries are alike: GT and LT must not depend on the clocks of two servers
        if tiny:
            self.keys = [b"k%d" % i for i in range(keys or 5000)]
            self.big = [b"big%d" % i for i in range(20)]
        else:
            self.keys = [b"k%d" % i for i in range(keys or 12)] + [b"", b"\x00", b"k\r\n", b"\xff\xfe" * 3, b"k" * 300]
            self.big = [b"big1", b"big2"]
        self.numbers = [b"n1", b"n2", b"n3"]
        # Of each collection some keys that stay small and one that grows. A few of other types among them come from
        # the common pool, and a collection is drawn where any key may stand.
        many = (keys or 5000) // 8 if tiny else 3
        self.collections = {kind: [b"%s%d" % (kind, i) for i in range(many)] + [b"%sbig" % kind] for kind in KINDS}
        self.tiny = tiny
        self.overflows = [b"WRAP", b"SAT", b"FAIL", b"sat"]
        self.rows = []
        self.weights = []
        for path in sorted(glob.glob(os.path.join(GRAMMAR, "*.txt"))):
            if families and os.path.basename(path)[:-4] not in families:
                continue
            with open(path, encoding="utf-8") as file:
                for line in file:
                    if line.strip() and not line.startswith("#"):
                        weight, rule, text = line.split(None, 2)
                        self.rows.append((rule, parse_row(text.strip())))
                        self.weights.append(float(weight))

    def pool(self):
        return self.keys + self.big + self.numbers + [key for keys in self.collections.values() for key in keys]

    def command(self):
        """A command as (args, rule, keys that it names)."""
        rule, tree = self.r.choices(self.rows, self.weights)[0]
        args, self.named = [], []
        self.sequence(tree, args)
        if rule not in ("scan", "dbsize") and self.r.random() < 0.06:
            rule = self.break_it(args, rule)
        if self.r.random() < 0.1:
            args[0] = self.r.choice([bytes.lower, bytes.title])(args[0])
        return args, rule, set(self.named)

    def sequence(self, nodes, args):
        for kind, what in nodes:
            if kind == "word":
                args += self.word(what)
            elif kind == "optional":
                if self.r.random() < 0.4:
                    self.sequence(self.r.choice(what), args)
            elif kind == "choice":
                self.sequence(self.r.choice(what), args)
            else:
                for _ in range(self.r.choice([0, 0, 1, 2, 3])):
                    self.sequence([what], args)

    def break_it(self, args, rule):
        """A wrong number of arguments or an argument of a wrong kind. The command's name stays."""
        how = self.r.randrange(4)
        if how == 0 and len(args) > 1:
            args.pop()
        elif how == 1:
            args.append(self.r.choice(ODD_TEXTS + [b"NX", b"EX", b"GET", b"10"]))
        elif how == 2 and len(args) > 2:
            args.insert(self.r.randrange(2, len(args)), self.r.choice(args[1:]))
        elif len(args) > 2:
            args[self.r.randrange(2, len(args))] = self.r.choice(ODD_TEXTS)
        # What a cursor returns that nobody gave out is left open.
        if args[0].upper() in (b"HSCAN", b"SSCAN", b"ZSCAN") and len(args) > 2 and UNKNOWN_CURSOR.match(args[2]):
            args[2] = b"0"
        # SCAN is not among the rows that get here, and a number stays near its twin.
        return rule

    def word(self, name):
        draw = getattr(self, "draw_" + name, None)
        if draw is None:
            return [name.encode() if self.r.random() > 0.05 else name.lower().encode()]
        drawn = draw()
        return drawn if isinstance(drawn, list) else [drawn]

    def draw_key(self):
        if self.r.random() < 0.4:
            return self.collection(self.r.choice(KINDS))
        pool = self.big if self.r.random() < 0.15 else self.keys if self.r.random() < 0.9 else self.numbers
        key = self.r.choice(pool)
        self.named.append(key)
        return key

    def draw_number(self):
        key = self.r.choice(self.numbers)
        self.named.append(key)
        return key

    def collection(self, kind):
        key = self.r.choice(self.collections[kind])
        self.named.append(key)
        return key

    def of_kind(self, kind):
        return self.draw_key() if self.r.random() < 0.04 else self.collection(kind)

    def draw_hkey(self):
        return self.of_kind(b"hash")

    def draw_lkey(self):
        return self.of_kind(b"list")

    def draw_skey(self):
        return self.of_kind(b"set")

    def draw_zkey(self):
        return self.of_kind(b"zset")

    # Sets and sorted sets, for commands that take both.
    def draw_szkey(self):
        return self.of_kind(self.r.choice([b"set", b"zset"]))

    def draw_field(self):
        """A hash field, set or sorted set member: few enough that they meet again, in the growing keys many."""
        if self.r.random() < 0.04:
            return self.r.choice(ODD_TEXTS)
        if self.named and self.named[0].endswith(b"big"):
            return b"f%d" % self.r.randrange(400)
        return self.r.choice([b"f%d" % self.r.randrange(12), b"%d" % self.r.randint(-5, 20)])

    def draw_element(self):
        """A list element, or a hash's value: mostly short, some alike."""
        kind = self.r.random()
        if kind < 0.6:
            return self.r.choice([b"e%d" % self.r.randrange(10), b"%d" % self.r.randint(-5, 20)])
        return self.draw_value()

    def draw_score(self):
        kind = self.r.random()
        if kind < 0.5:
            return b"%d" % self.r.randint(-10, 10)
        if kind < 0.6:
            return self.r.choice([b"inf", b"-inf", b"+inf", b"1e300", b"-1e300", b"0", b"-0", b"1e-300"])
        return self.draw_float() if kind < 0.7 else b"%.17g" % self.r.uniform(-20, 20)

    def draw_bound(self):
        """An end of a score range."""
        if self.r.random() < 0.1:
            return self.r.choice([b"-inf", b"+inf", b"inf", b"(inf", b"nan", b"(", b"", b"abc"])
        return (b"(" if self.r.random() < 0.3 else b"") + self.draw_score()

    def draw_lex(self):
        """An end of a range of members."""
        if self.r.random() < 0.25:
            return self.r.choice([b"-", b"+", b"-", b"+", b"", b"f", b"(", b"["])
        return self.r.choice([b"[", b"("]) + self.draw_field()

    def draw_count(self):
        if self.r.random() < 0.05:
            return self.r.choice(ODD_TEXTS + [b"9223372036854775807", b"-9223372036854775808"])
        return b"%d" % self.r.choice([0, 1, 1, 1, 2, 3, 5, 10, 100, -1, -2, -5])

    def draw_rank(self):
        if self.r.random() < 0.05:
            return self.draw_integer()
        return b"%d" % self.r.randint(-12, 12) if self.r.random() < 0.7 else b"%d" % self.r.randint(-500, 500)

    def keys_after_number(self, draw):
        count = self.r.choice([1, 1, 2, 2, 3])
        said = count if self.r.random() < 0.95 else self.r.choice([0, -1, 5])
        return [b"%d" % said] + [draw() for _ in range(count)]

    def draw_nlkeys(self):
        """A number of keys and the keys: lists; sets; sets and sorted sets."""
        return self.keys_after_number(self.draw_lkey)

    def draw_nskeys(self):
        return self.keys_after_number(self.draw_skey)

    def draw_nzkeys(self):
        return self.keys_after_number(self.draw_zkey)

    def draw_nszkeys(self):
        return self.keys_after_number(self.draw_szkey)

    def draw_missing(self):
        return b"never-written"

    def draw_value(self):
        kind = self.r.random()
        if kind < 0.25:
            return b"%d" % self.integer()
        if kind < 0.35:
            return self.r.choice(FLOATS)
        if kind < 0.45:
            return self.r.choice(ODD_TEXTS)
        size = self.r.choice([1, 3, 10, 43, 44, 45, 100, 300, 1000] if kind < 0.95 else [1023, 1024, 1025, 4096, 5000])
        if self.tiny:
            size = max(size, 200)
        if self.r.random() < 0.5:
            return bytes(self.r.choice(b"abcde") for _ in range(min(size, 64))) * (size // 64 + 1)
        return self.r.randbytes(size)

    def integer(self):
        return self.r.choice(EDGE_INTEGERS) if self.r.random() < 0.4 else self.r.randint(-1000, 1000)

    def draw_integer(self):
        return self.r.choice(ODD_TEXTS) if self.r.random() < 0.05 else b"%d" % self.integer()

    def draw_float(self):
        kind = self.r.random()
        if kind < 0.2:
            return b"%d" % self.integer()
        return self.r.choice(ODD_TEXTS if kind < 0.3 else FLOATS)

    def draw_index(self):
        if self.r.random() < 0.15:
            return self.draw_integer()
        return b"%d" % self.r.randint(-60, 60) if self.r.random() < 0.7 else b"%d" % self.r.randint(-20000, 20000)

    def draw_offset(self):
        kind = self.r.random()
        if kind < 0.03:
            return self.r.choice([b"-1", b"abc", b"536870912", b"9223372036854775807", b""])
        if kind < 0.9:
            return b"%d" % self.r.randint(0, 60)
        return b"%d" % self.r.choice([1000, 4090, 4096, 8190, 16383, 65535, 65536, 70000])

    def draw_bit(self):
        kind = self.r.random()
        if kind < 0.03:
            return self.r.choice([b"-1", b"4294967296", b"abc", b""])
        return b"%d" % (self.r.randint(0, 300) if kind < 0.9 else self.r.choice([8191, 32768, 131072, 500000, 524288]))

    def draw_small(self):
        return b"%d" % self.r.choice([1, 1, 2, 3, 10, 50, 1000])

    def bit_type(self):
        if self.r.random() < 0.05:
            return self.r.choice([b"u64", b"i65", b"u0", b"x8", b"i", b""])
        sign = self.r.choice(b"ui")
        return b"%c%d" % (sign, self.r.choice([1, 2, 5, 7, 8, 13, 16, 31, 32, 63]))

    def bit_offset(self):
        return b"#%d" % self.r.randint(0, 20) if self.r.random() < 0.3 else self.draw_bit()

    def draw_bitget(self):
        return [b"GET", self.bit_type(), self.bit_offset()]

    def draw_bitop(self):
        kind = self.r.random()
        if kind < 0.3:
            return self.draw_bitget()
        if kind < 0.5:
            return [b"OVERFLOW", self.r.choice(self.overflows)]
        return [self.r.choice([b"SET", b"INCRBY"]), self.bit_type(), self.bit_offset(), b"%d" % self.integer()]

    # Expiries are far away or long past, so that neither server's clock decides what a reply is.
    def far(self):
        self.unique += 1
        return self.r.choice([200, 2000, 20000, 200000]) * 1000 + self.unique * 37

    def draw_millis(self):
        if self.r.random() < 0.1:
            return self.r.choice([b"0", b"-1", b"-1000", b"abc", b"", b"9223372036854775807", b"-9223372036854775808"])
        return b"%d" % self.far()

    def draw_secs(self):
        if self.r.random() < 0.1:
            return self.r.choice([b"0", b"-1", b"-1000", b"abc", b"9223372036854775807", b"9223372036854775"])
        return b"%d" % (self.far() // 1000 + self.unique * 11)

    def draw_atms(self):
        if self.r.random() < 0.15:
            return self.r.choice([b"1", b"1000", b"0", b"-1", b"abc", b"9223372036854775807"])
        return b"%d" % (int(self.start * 1000) + self.far())

    def draw_at(self):
        if self.r.random() < 0.15:
            return self.r.choice([b"1", b"1000", b"0", b"-1", b"abc", b"9223372036854775807"])
        return b"%d" % (int(self.start) + self.far() // 1000 + self.unique * 11)

    def draw_db(self):
        if self.r.random() < 0.05:
            return self.r.choice([b"16", b"-1", b"abc", b"", b"99999999999"])
        return self.r.choice([b"0", b"0", b"0", b"1", b"9"])

    def draw_pattern(self):
        return self.r.choice(PATTERNS)

    def draw_type(self):
        return self.r.choice([b"string", b"STRING", b"hash", b"list", b"set", b"zset", b"nosuchtype"])

    def draw_word(self):
        return self.r.choice([b"nosuchcommand", b"foo", b"f\r\no", b"a b", b"\xff", b"name", b""])


MUTATIONS = [b"\r", b"\n", b"\r\n", b"$", b"*", b"-", b"+", b"0", b"1", b"9", b" ", b'"', b"'", b"\\", b"\x00", b"\xff"]


def broken_stream(generator):
    """Some commands as bytes, inline and multibulk, with a few bytes changed, added or taken away."""
    r, out = generator.r, b""
    for _ in range(r.randint(1, 6)):
        args, rule, _ = generator.command()
        if rule != "exact" or args[0].upper() == b"COMMAND":
            continue
        out += b" ".join(args[:4]) + b"\r\n" if r.random() < 0.3 else resp.encode_command(args)
    data = bytearray(out)
    for _ in range(r.choice([0, 1, 1, 1, 2, 5])):
        if not data:
            break
        at, kind = r.randrange(len(data)), r.randrange(4)
        if kind == 0:
            data[at : at + 1] = r.choice(MUTATIONS)
        elif kind == 1:
            data[at:at] = r.choice(MUTATIONS)
        elif kind == 2:
            del data[at : at + r.choice([1, 1, 2, 5])]
        elif r.random() < 0.3:
            del data[at:]
    return bytes(data)


def quote(arg):
    """An argument as a case file writes it."""
    text = "".join(chr(c) if 32 < c < 127 and c not in b"\"\\" else f"\\x{c:02x}" for c in arg)
    if text and "\\" not in text and text[0] not in "'@#":
        return text
    return '"' + "".join(chr(c) if 32 <= c < 127 and c not in b"\"\\" else f"\\x{c:02x}" for c in arg) + '"'


def without_minus_zero(raw):
    """Redis keeps a score of -0 apart from 0; ours does not (README, "Differences from Redis")."""
    return raw.replace(b"$2\r\n-0\r\n", b"$1\r\n0\r\n")


def contents_of(connection, key):
    """All that a key holds, in an order that does not depend on the server."""
    kind = connection.value("TYPE", key)
    if kind == b"list":
        return [kind] + connection.value("LRANGE", key, 0, -1)
    if kind == b"set":
        return [kind] + sorted(connection.value("SMEMBERS", key))
    if kind == b"zset":
        flat = connection.value("ZRANGE", key, 0, -1, "WITHSCORES")
        return [kind] + [b"0" if item == b"-0" else item for item in flat]
    if kind == b"hash":
        flat = connection.value("HGETALL", key)
        return [kind] + sorted(zip(flat[::2], flat[1::2]))
    return connection.value("GET", key)


class Mismatch(Exception):
    """The servers differ; the text says where."""


class RandomRun:
    def __init__(self, args):
        self.args = args
        self.generator = Generator(args.seed, args.keys, args.tiny, args.families and args.families.split(","))
        self.history = collections.deque(maxlen=20000)  # (step, connection, args, keys)
        self.commands = 0
        self.step = 0
        options = servers.split_options(args.option)
        if args.tiny:
            options = ["--maxmemory", "1mb", "--maxmemory-policy", "allkeys-lru"] + options
        self.cold = args.cold and not servers.is_redis(args.server or servers.REDIS_SERVER)
        self.faults = 0  # of ours, before its last restart
        if self.cold:
            options = servers.COLD_OPTIONS + servers.split_options(args.option)
        base = ()
        if servers.is_redis(args.server or servers.REDIS_SERVER):
            options = servers.split_options(args.option)  # redis would delete what it evicts
            # A BITFIELD that fails has lengthened the value, which Redis does not log: lost by a restart.
            self.generator.overflows.remove(b"FAIL")
            base = ["--save", "", "--appendonly", "yes", "--enable-debug-command", "yes"]
        self.pair = sides.Pair(args.server, options, (), args.timeout, our_base=base)

    def run(self):
        restart_at = {self.args.steps * (i + 1) // (self.args.restarts + 1) for i in range(self.args.restarts)}
        try:
            for self.step in range(1, self.args.steps + 1):
                self.one_step()
                if self.cold and self.step % FLUSH_EVERY == 0:
                    self.flush()
                if self.step in restart_at:
                    self.compare_everything()
                    self.restart()
                    self.compare_everything()
                if self.args.progress and self.step % 1000 == 0:
                    print(f"  step {self.step}, {self.commands} commands", flush=True)
            self.compare_everything()
            self.check_cold()
        finally:
            self.pair.stop()

    def flush(self):
        connection = self.pair.ours.control()
        self.pair.ours.server.flush(connection)
        connection.close()

    def check_cold(self):
        """A cold run in which nothing was read from disk has tested nothing."""
        if not self.cold:
            return
        self.faults += self.pair.ours.server.faults()
        print(f"commands waited for the disk {self.faults} times", flush=True)
        if self.faults < self.args.steps // 100:
            raise Mismatch("the run was not cold")

    def run_protocol(self):
        """Each stream gets a connection; the sending side is closed after it, and all that comes back is compared.
        Both servers answer what was complete before they see the end; but what does not fit into the socket then is
        dropped, at a place that chance decides, so of long answers only the common part is compared."""
        try:
            for self.step in range(1, self.args.protocol + 1):
                # Zero bytes in lines are taken differently on purpose (README, "Differences from Redis").
                data = broken_stream(self.generator).replace(b"\0", b"\1")
                if re.search(rb"(^|\n) *SYNC", data, re.IGNORECASE):  # what is left of FLUSHALL's ASYNC: not supported
                    continue
                self.commands += 1
                r = self.generator.r
                cuts = sorted(r.randrange(len(data) + 1) for _ in range(r.choice([0, 0, 1, 3])))
                answers = []
                for side in self.pair.sides():
                    connection = resp.Connection(side.server.port, self.args.timeout)
                    try:
                        for begin, end in zip([0] + cuts, cuts + [len(data)]):
                            connection.send_raw(data[begin:end])
                        connection.socket.shutdown(1)
                    except OSError:
                        pass  # closed by the server already
                    answers.append(connection.read_available(self.args.timeout)[0])
                    connection.close()
                size = min(len(answer) for answer in answers)
                if size < 16384:
                    size = max(len(answer) for answer in answers)
                if answers[0][:size] != answers[1][:size] or not self.pair.alive():
                    raise Mismatch(
                        f"stream {sides.show_bytes(data, 3000)}\n  redis: {sides.show_bytes(answers[0])}\n"
                        f"  ours:  {sides.show_bytes(answers[1])}\n"
                        + ("" if self.pair.alive() else self.pair.ours.server.log_tail())
                    )
            self.compare_everything()
        finally:
            self.pair.stop()

    def restart(self):
        """Ours is killed or asked to end, and starts on what it left. Connections begin anew on both sides."""
        self.pair.close_connections()
        server = self.pair.ours.server
        self.faults += server.faults() if self.cold else 0
        if self.generator.r.random() < 0.5:
            server.kill()
        else:
            server.terminate()
        server.start()

    def one_step(self):
        r = self.generator.r
        name = "c%d" % r.randrange(self.args.connections)
        depth = 1 if r.random() < 0.5 else r.randint(2, self.args.depth)
        batch = []
        while len(batch) < depth:
            args, rule, keys = self.generator.command()
            if rule == "scan":
                if batch:
                    break
                self.history.append((self.step, name, args, keys))
                self.scan(name, args)
                self.commands += 1
                return
            if rule == "dbsize":
                # Redis counts keys that are past their time until somebody meets them; so they are met first.
                batch.append(([b"EXISTS"] + self.generator.pool(), "exact", set()))
            batch.append((args, rule, keys))
        for args, _, keys in batch:
            self.history.append((self.step, name, args, keys))
        data = b"".join(resp.encode_command(args) for args, _, _ in batch)
        for side in self.pair.sides():
            side.send(name, data)
        self.commands += len(batch)
        for args, rule, keys in batch:
            oracle, ours = self.pair.oracle.read(name), self.pair.ours.read(name)
            if not self.equal(rule, oracle, ours):
                raise Mismatch(self.describe(name, args, keys, oracle, ours))
            if oracle.state != "reply":
                return

    def equal(self, rule, oracle, ours):
        if oracle.state == ours.state and oracle.raw == ours.raw:
            return True
        if rule == "scores":
            return oracle.state == ours.state and without_minus_zero(oracle.raw) == without_minus_zero(ours.raw)
        if rule == "random":
            rule = "type-only"
        how = compare.Rule()
        how.mode = "near" if rule.startswith("near") else "exact" if rule == "dbsize" else rule
        how.distance = float(rule[4:] or 0) if rule.startswith("near") else 0
        return how.equal(oracle, ours)

    def scan(self, name, args):
        found = []
        for side in self.pair.sides():
            try:
                found.append(resp.scan_keys(side.connection(name), *args[1:]))
            except resp.ProtocolError as error:
                found.append(str(error))
        if found[0] != found[1]:
            raise Mismatch(self.describe(name, args, set(), self.text(found[0]), self.text(found[1])))

    @staticmethod
    def text(found):
        return sides.Outcome("silent", raw=repr(found if isinstance(found, str) else sorted(found)).encode())

    def compare_everything(self):
        """Every key of every database: value, expiry, encoding; and that DBSIZE is what SCAN finds."""
        for db in (0, 1, 9):
            contents = []
            for side in self.pair.sides():
                connection = side.control()
                connection.value("SELECT", db)
                connection.value("EXISTS", *self.generator.pool())
                keys = sorted(resp.scan_keys(connection, "COUNT", 500))
                size = connection.value("DBSIZE")
                if size != len(keys):
                    raise Mismatch(f"{side.server.name}, database {db}: DBSIZE {size}, SCAN finds {len(keys)} keys")
                rows = {}
                for key in keys:
                    rows[key] = (contents_of(connection, key), connection.value("PEXPIRETIME", key))
                contents.append(rows)
                connection.close()
            oracle, ours = contents
            if oracle.keys() != ours.keys():
                missing, extra = sorted(oracle.keys() - ours.keys()), sorted(ours.keys() - oracle.keys())
                raise Mismatch(f"database {db}: missing {missing}, too many {extra}\n{self.past(set(missing + extra))}")
            for key, (value, at) in oracle.items():
                our_value, our_at = ours[key]
                if value != our_value or (at != our_at and (min(at, our_at) < 0 or abs(at - our_at) > 2000)):
                    raise Mismatch(
                        f"database {db}, key {key}:\n  redis: {str(value)[:1000]} until {at}\n"
                        f"  ours:  {str(our_value)[:1000]} until {our_at}\n{self.past({key})}"
                    )

    def past(self, keys, count=25):
        """The last commands that name one of `keys` or that touch whole databases, as a case file."""
        wide = (b"FLUSHDB", b"FLUSHALL", b"SWAPDB", b"SELECT", b"RESET")
        rows = [row for row in self.history if row[3] & keys or row[2][0].upper() in wide]
        lines, connection = [], None
        for step, name, args, _ in rows[-count:]:
            if name != connection:
                connection = name
                lines.append(f"@connection {name}")
            line = " ".join(quote(arg) for arg in args)
            lines.append(line if len(line) < 400 else line[:400] + f"   # ... cut ({len(line)} characters)")
        return "last commands:\n    " + "\n    ".join(lines)

    def describe(self, name, args, keys, oracle, ours):
        line = " ".join(quote(arg) for arg in args)
        death = "" if self.pair.ours.server.alive() else "our server died:\n" + self.pair.ours.server.log_tail()
        return (f"connection {name}: {line[:500]}\n  redis: {oracle.show()}\n  ours:  {ours.show()}\n"
                f"{self.past(keys)}\n{death}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="our server's program; without it redis-server stands in")
    parser.add_argument("--option", action="append", help="option for our server, as in --option='--maxmemory 1mb'")
    parser.add_argument("--seed", type=int, help="a number; drawn and printed if left out")
    parser.add_argument("--steps", type=int, default=5000, help="pipelines to send")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--depth", type=int, default=40, help="longest pipeline")
    parser.add_argument("--keys", type=int, help="size of the key pool")
    parser.add_argument("--tiny", action="store_true", help="ours with --maxmemory 1mb and a large key pool")
    parser.add_argument("--cold", action="store_true", help="ours keeps nothing in RAM: commands wait for the disk")
    parser.add_argument("--protocol", type=int, default=0, help="so many broken streams instead of steps")
    parser.add_argument("--restarts", type=int, default=0, help="how often ours is killed or ended, and started again")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds to wait for one reply")
    parser.add_argument("--families", help="files of grammar/ to draw from, as in --families hashes,keys")
    parser.add_argument("--progress", action="store_true")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {args.seed}, {args.steps} steps", flush=True)
    try:
        run = RandomRun(args)
        run.run_protocol() if args.protocol else run.run()
    except Mismatch as mismatch:
        extra = "".join(f" --{flag}" for flag in ("tiny", "cold") if getattr(args, flag))
        extra += f" --families {args.families}" if args.families else ""
        extra += f" --protocol {args.protocol}" if args.protocol else ""
        print(f"MISMATCH at step {run.step} (--seed {args.seed} --steps {args.steps}{extra})\n{mismatch}")
        return 1
    except servers.StartError as error:
        print(error)
        return 1
    what = "broken streams" if args.protocol else f"commands in {args.steps} steps"
    print(f"{run.commands} {what}: equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
