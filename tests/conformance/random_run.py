#!/usr/bin/python3
"""Seeded random commands, sent to redis-server and to our server; the replies must be equal.

    random_run.py --server build/release/bin/thermocline-server [--seed 7] [--steps 20000]
    random_run.py --server ... --tiny           our server with hardly any memory, many keys: everything from disk
    random_run.py --server ... --restarts 5     our server is killed and started again five times on the way
    random_run.py --server ... --protocol 5000  broken protocol: streams with wrong, missing and added bytes
    random_run.py                               redis-server against itself

A step is one pipeline on one of several connections. A seed gives the same stream every time, except for absolute
times, which are relative to the clock. On a mismatch the seed, the step and the last commands that named the same
keys are printed, in the form of a case file.
"""

import argparse
import collections
import random
import sys
import time

import compare
import sides
from lib import resp, servers

# The grammar, one row per command: words in capitals are literal, words in small letters are drawn by the function
# of that name, [a|b c] is optional, (a|b c) is a choice, x* repeats x zero to three times.
# `weight` is how often the row is drawn; `rule` how replies are compared (see compare.Rule).
ROWS = """
12 exact      SET key value [NX|XX] [GET] [EX secs|PX millis|EXAT at|PXAT atms|KEEPTTL]
6  exact      SET key value
2  exact      SETNX key value
2  exact      SETEX key secs value
2  exact      PSETEX key millis value
2  exact      MSET key value key value* 
2  exact      MSETNX key value key value
8  exact      GET key
3  exact      MGET key key* 
2  exact      GETSET key value
3  exact      GETEX key [EX secs|PX millis|EXAT at|PXAT atms|PERSIST]
2  exact      GETDEL key
4  exact      GETRANGE key index index
1  exact      SUBSTR key index index
4  exact      SETRANGE key offset value
2  exact      STRLEN key
5  exact      APPEND key value
3  exact      INCR number
2  exact      DECR number
3  exact      INCRBY number integer
2  exact      DECRBY number integer
3  exact      INCRBYFLOAT number float
1  exact      INCR key
2  exact      LCS key key [LEN|IDX] [MINMATCHLEN small] [WITHMATCHLEN]
4  exact      SETBIT key bit (0|1|2)
3  exact      GETBIT key bit
3  exact      BITCOUNT key [index index] [BYTE|BIT]
3  exact      BITPOS key (0|1) [index] [index] [BYTE|BIT]
2  exact      BITOP (AND|OR|XOR|NOT) key key key*
4  exact      BITFIELD key bitop* bitop
1  exact      BITFIELD_RO key bitget* bitget
4  exact      DEL key key*
2  exact      UNLINK key key*
3  exact      EXISTS key key*
1  exact      TOUCH key key*
2  exact      TYPE key
1  unordered  KEYS pattern
2  scan       SCAN [MATCH pattern] [COUNT small] [TYPE type]
1  random     RANDOMKEY
2  exact      RENAME key key
2  exact      RENAMENX key key
2  exact      MOVE key db
3  exact      COPY key key [DB db] [REPLACE]
4  exact      EXPIRE key secs [NX|XX|GT|LT]
3  exact      PEXPIRE key millis [NX|XX|GT|LT]
2  exact      EXPIREAT key at [NX|XX|GT|LT]
2  exact      PEXPIREAT key atms [NX|XX|GT|LT]
3  near2      TTL key
3  near2000   PTTL key
1  near2      EXPIRETIME key
1  near2000   PEXPIRETIME key
2  exact      PERSIST key
2  exact      OBJECT ENCODING key
3  dbsize     DBSIZE
3  exact      SELECT db
1  exact      SWAPDB db db
0.1 exact     FLUSHDB [ASYNC|SYNC]
0.05 exact    FLUSHALL
1  exact      PING [value]
1  exact      ECHO value
0.5 ignore    HELLO (2|3)
0.5 exact     RESET
0.5 exact     CLIENT SETNAME word
0.5 exact     CLIENT GETNAME
0.3 exact     word key value
0.3 exact     COMMAND GETKEYS SET key value
0.3 exact     COMMAND GETKEYS MSET key value key value
"""

EDGE_INTEGERS = [0, 1, -1, 2, 7, 8, 10, 100, 127, 128, 255, 256, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 63) - 1,
                 -(1 << 63), 1 << 63, (1 << 64) - 1]  # fmt: skip
ODD_TEXTS = [b"", b" ", b"abc", b"1.5", b" 1", b"1 ", b"+1", b"-0", b"01", b"0x10", b"1e3", b"nan", b"inf", b"-inf",
             b"\x00", b"1\x00", b"\xff\xfe", b"\r\n", b"*1\r\n", b"-", b"#1", b"9" * 30]  # fmt: skip
FLOATS = [b"0", b"1.5", b"-1.5", b"0.1", b"3.14159265358979", b"1e5", b"-2.5e-3", b"1e17", b"1e300", b"5.0e3",
          b"100.25", b"0.000001", b"12345678.87654321"]  # fmt: skip
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

    def __init__(self, seed, keys, tiny):
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
        self.tiny = tiny
        self.overflows = [b"WRAP", b"SAT", b"FAIL", b"sat"]
        self.rows = []
        self.weights = []
        for line in ROWS.strip().splitlines():
            weight, rule, text = line.split(None, 2)
            self.rows.append((rule, parse_row(text.strip())))
            self.weights.append(float(weight))

    def pool(self):
        return self.keys + self.big + self.numbers

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
                    if what == ("word", "value"):  # key value*: pairs stay pairs
                        args += self.word("key") + self.word("value")

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
        # SCAN and the like are not among the rows that get here, and a number stays near its twin.
        return rule

    def word(self, name):
        draw = getattr(self, "draw_" + name, None)
        if draw is None:
            return [name.encode() if self.r.random() > 0.05 else name.lower().encode()]
        drawn = draw()
        return drawn if isinstance(drawn, list) else [drawn]

    def draw_key(self):
        pool = self.big if self.r.random() < 0.15 else self.keys if self.r.random() < 0.9 else self.numbers
        key = self.r.choice(pool)
        self.named.append(key)
        return key

    def draw_number(self):
        key = self.r.choice(self.numbers)
        self.named.append(key)
        return key

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
        return self.r.choice([b"string", b"STRING", b"hash", b"zset"])

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


class Mismatch(Exception):
    """The servers differ; the text says where."""


class RandomRun:
    def __init__(self, args):
        self.args = args
        self.generator = Generator(args.seed, args.keys, args.tiny)
        self.history = collections.deque(maxlen=20000)  # (step, connection, args, keys)
        self.commands = 0
        self.step = 0
        options = servers.split_options(args.option)
        if args.tiny:
            options = ["--maxmemory", "1mb", "--maxmemory-policy", "allkeys-lru"] + options
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
                if self.step in restart_at:
                    self.compare_everything()
                    self.restart()
                    self.compare_everything()
                if self.args.progress and self.step % 1000 == 0:
                    print(f"  step {self.step}, {self.commands} commands", flush=True)
            self.compare_everything()
        finally:
            self.pair.stop()

    def run_protocol(self):
        """Each stream gets a connection; the sending side is closed after it, and all that comes back is compared.
        Both servers answer what was complete before they see the end; but what does not fit into the socket then is
        dropped, at a place that chance decides, so of long answers only the common part is compared."""
        try:
            for self.step in range(1, self.args.protocol + 1):
                # Zero bytes in lines are taken differently on purpose (README, "Differences from Redis").
                data = broken_stream(self.generator).replace(b"\0", b"\1")
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
                    rows[key] = (connection.value("GET", key), connection.value("PEXPIRETIME", key))
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
                        f"database {db}, key {key}:\n  redis: {sides.show_bytes(value)} until {at}\n"
                        f"  ours:  {sides.show_bytes(our_value)} until {our_at}\n{self.past({key})}"
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
    parser.add_argument("--protocol", type=int, default=0, help="so many broken streams instead of steps")
    parser.add_argument("--restarts", type=int, default=0, help="how often ours is killed or ended, and started again")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds to wait for one reply")
    parser.add_argument("--progress", action="store_true")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {args.seed}, {args.steps} steps", flush=True)
    try:
        run = RandomRun(args)
        run.run_protocol() if args.protocol else run.run()
    except Mismatch as mismatch:
        extra = "".join(f" --{flag}" for flag in ("tiny",) if getattr(args, flag))
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
