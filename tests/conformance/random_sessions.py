#!/usr/bin/python3
"""Seeded histories of several connections, on redis-server and on our server: each connection must get the same.

    random_sessions.py --server build/release/bin/thermocline-server [--seed 7] [--steps 4000]
    random_sessions.py --server ... --cold                        EXEC and blocked commands read from disk
    random_sessions.py --server ... --restarts 3                  ours is killed and started again on the way
    random_sessions.py --server ... --seed 7 --reduce             after a mismatch: the shortest history that shows it
    random_sessions.py                                            redis-server against itself

A step is what one connection sends at once, or its close: transactions, WATCH, blocking commands and what feeds their
keys, SUBSCRIBE and PUBLISH, ordinary commands of all types. After each step both servers come to rest: everybody has
a reply or is known to be blocked. So the order is the same on both sides, and so must be every reply, every message
(one connection hears all keyspace notifications), who is blocked, and what is stored.
"""

import argparse
import collections
import random
import re
import sys
import time

import sides
from lib import resp, servers
from random_run import FLUSH_EVERY, Generator, Mismatch, RandomRun, quote

QUEUES = [b"q1", b"q2", b"q3", b"q4"]
ZQUEUES = [b"zq1", b"zq2", b"zq3"]
CHANNELS = [b"ch0", b"ch1", b"ch2", b"other"]
CHANNEL_PATTERNS = [b"ch*", b"o[t]h?*"]  # none matches what another does: their order is left to chance
NOTIFY_FLAGS = [b"KEA", b"KEA", b"KEAn", b"Kg$lshz", b"El", b"Ez", b"Kx", b"KEln", b"", b"E$g"]
CONFIRMATIONS = (b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe", b"sunsubscribe")
MESSAGES = (b"message", b"pmessage", b"smessage")
LISTENER = "listener"  # hears the keyspace notifications


class IdOf:
    """An argument: the client id of a connection, which differs between the two servers."""

    def __init__(self, name):
        self.name = name


class Command:
    """`rule`: how replies are compared, as in the grammar files. `confirmations`: so many messages answer it instead
    of a reply (SUBSCRIBE and its kin)."""

    def __init__(self, args, rule="exact", keys=(), confirmations=0, blocks=False):
        self.args = args
        self.rule = rule
        self.keys = set(keys)
        self.confirmations = confirmations
        self.blocks = blocks
        self.name = args[0].upper()

    def encode(self, ends):
        return resp.encode_command([ends.id_of(arg.name) if isinstance(arg, IdOf) else arg for arg in self.args])

    def text(self):
        return " ".join("@id:" + arg.name if isinstance(arg, IdOf) else quote(arg) for arg in self.args)


class Step:
    """What connection `name` does: sends `commands` at once, or closes (no commands)."""

    def __init__(self, name, commands=()):
        self.name = name
        self.commands = list(commands)

    def lines(self):
        if not self.commands:
            return [f"@close {self.name}"]
        lines = [command.text() for command in self.commands]
        if len(lines) > 1:
            lines = ["@pipeline"] + lines + ["@end"]
        return [f"@connection {self.name}"] + lines


class Talk:
    """What is known of a connection, from Redis's side of it; ours is held against it."""

    def __init__(self):
        self.expected = collections.deque()  # commands without a reply
        self.answered = []  # (command, Redis's reply), not compared yet
        self.messages = []  # likewise
        self.queue = None  # the commands since MULTI
        self.watched = set()
        self.subscriptions = set()
        self.closed = False

    def take(self, reply):
        """The next thing that Redis sent. False: nobody has asked for it."""
        if is_message(reply):
            self.messages.append(reply)
            if self.confirm(reply) and self.expected and self.expected[0].confirmations:
                self.expected[0].confirmations -= 1
                if self.expected[0].confirmations == 0:
                    self.expected.popleft()
            return True
        if not self.expected:
            return False
        command = self.expected.popleft()
        queue = self.queue
        self.follow(command, reply)
        self.answered.append((command, reply, queue if command.name == b"EXEC" else None))
        return True

    def queue_ahead(self):
        """The open transaction, once the commands without a reply are through."""
        queue = self.queue
        for command in self.expected:
            if command.name == b"MULTI":
                queue = queue or []
            elif command.name in (b"EXEC", b"DISCARD", b"RESET"):
                queue = None
            elif queue is not None:
                queue = queue + [command]
        return queue

    def confirm(self, reply):
        word = reply.value[0].value
        if word not in CONFIRMATIONS:
            return False
        what = (word[0:1] if word[0:1] in b"ps" and b"subscribe" != word else b"", reply.value[1].value)
        if b"unsub" in word:
            self.subscriptions.discard(what)
        else:
            self.subscriptions.add(what)
        return True

    def follow(self, command, reply):
        """How the reply changes the connection's state."""
        if reply.raw == b"+QUEUED\r\n":
            self.queue.append(command)
        elif command.name == b"MULTI" and reply.raw == b"+OK\r\n":
            self.queue = []
        elif command.name == b"WATCH" and reply.raw == b"+OK\r\n":
            self.watched |= command.keys
        elif command.name in (b"EXEC", b"DISCARD", b"RESET", b"UNWATCH") and not reply.raw.startswith(b"-ERR wrong"):
            self.watched = set()
            if command.name != b"UNWATCH":
                self.queue = None
            if command.name == b"RESET":
                self.subscriptions = set()
            if command.name == b"EXEC" and isinstance(reply.value, list):
                for item in reply.value:
                    if is_message(item):
                        self.confirm(item)


def is_message(reply):
    if reply.kind == b">":
        return True
    if reply.kind != b"*" or not reply.value or reply.value[0].kind != b"$":
        return False
    return reply.value[0].value in CONFIRMATIONS + MESSAGES


class End:
    """One side's socket of a connection, read without waiting."""

    def __init__(self, side):
        self.connection = resp.Connection(side.server.port, side.timeout)
        self.id = self.connection.value("CLIENT", "ID")
        self.timeout = side.timeout
        self.came = []
        self.closed = False

    def send(self, data):
        self.connection.socket.settimeout(self.timeout)
        try:
            self.connection.send_raw(data)
        except OSError:
            pass  # closed: seen by drain()

    def drain(self):
        if self.closed:
            return
        self.connection.socket.settimeout(0)
        try:
            while True:
                self.came.append(self.connection.read_reply())
        except BlockingIOError:
            pass
        except (resp.Closed, OSError):
            self.closed = True

    def take(self):
        came, self.came = self.came, []
        return came


class Ends:
    """The ends of all connections at one server, and a connection to look at them from outside."""

    def __init__(self, side):
        self.side = side
        self.open = {}
        self.leaving = set()  # ids of connections that we closed
        self.control = side.control()

    def end(self, name):
        if name not in self.open:
            self.open[name] = End(self.side)
        return self.open[name]

    def id_of(self, name):
        return b"%d" % (self.open[name].id if name in self.open else 999999)

    def close(self, name):
        end = self.open.pop(name, None)
        if end:
            self.leaving.add(end.id)
            end.connection.close()

    def close_all(self):
        for name in list(self.open):
            self.close(name)
        self.control.close()

    def look(self):
        """Asks for everybody's state, and reads what has come. Returns (the ids of blocked clients, whether
        somebody's command is still at work: it reads from disk, or its connection is being closed)."""
        listed, info = self.control.pipeline([["CLIENT", "LIST"], ["INFO", "clients"]])
        flags = {int(row[0]): row[1] for row in re.findall(rb"id=(\d+) .*?flags=(\S+)", listed.value)}
        self.leaving &= flags.keys()
        reading = re.search(rb"clients_waiting_for_disk:(\d+)", info.value)
        for end in self.open.values():
            end.drain()
        busy = bool(self.leaving) or (reading is not None and int(reading[1]) > 0)
        return {at for at, letters in flags.items() if b"b" in letters}, busy


class SessionGenerator(Generator):
    """No key's time comes while the histories run: when Redis notices would be chance."""

    def draw_atms(self):
        return self.r.choice([b"0", b"-1", b"abc"]) if self.r.random() < 0.1 else b"%d" % self.far_at_ms()

    def draw_at(self):
        return self.r.choice([b"0", b"-1", b"abc"]) if self.r.random() < 0.1 else b"%d" % (self.far_at_ms() // 1000)

    def far_at_ms(self):
        return int(self.start * 1000) + self.far() + self.unique * 11000

    # ---- Commands that block, and what feeds the keys they wait for ----

    def queue_key(self, kind):
        draw = self.r.random()
        if draw < 0.07:
            key = self.r.choice(self.collections[kind])
        elif draw < 0.14:
            key = self.r.choice(QUEUES + ZQUEUES)
        else:
            key = self.r.choice(QUEUES if kind == b"list" else ZQUEUES)
        self.named.append(key)
        return key

    def queue_keys(self, kind):
        return [self.queue_key(kind) for _ in range(self.r.choice([1, 1, 2, 3]))]

    def blocking(self):
        self.named = []
        r, name = self.r, self.r.choice([b"BLPOP", b"BRPOP", b"BLPOP", b"BRPOP", b"BRPOPLPUSH", b"BLMOVE", b"BLMPOP",
                                         b"BZPOPMIN", b"BZPOPMAX", b"BZMPOP"])  # fmt: skip
        kind = b"zset" if name.startswith(b"BZ") else b"list"
        timeout = r.choice([b"0", b"0", b"0", b"1000", b"77.5"] if r.random() < 0.97 else [b"-1", b"abc", b""])
        ends = [b"LEFT", b"RIGHT"]
        if name in (b"BLMPOP", b"BZMPOP"):
            keys = self.queue_keys(kind)
            args = [name, timeout, b"%d" % len(keys)] + keys
            args.append(r.choice(ends if kind == b"list" else [b"MIN", b"MAX"]))
            if r.random() < 0.4:
                args += [b"COUNT", b"%d" % r.choice([1, 2, 3, 10])]
        elif name == b"BLMOVE":
            args = [name, self.queue_key(kind), self.queue_key(kind), r.choice(ends), r.choice(ends), timeout]
        elif name == b"BRPOPLPUSH":
            args = [name, self.queue_key(kind), self.queue_key(kind), timeout]
        else:
            args = [name] + self.queue_keys(kind) + [timeout]
        return Command(args, "scores", self.named, blocks=True)

    def feed(self, awaited):
        """A command that may give a waiting client something, or makes the key what it does not want."""
        r = self.r
        self.named = []
        key = r.choice(awaited) if awaited and r.random() < 0.6 else r.choice(QUEUES + ZQUEUES)
        self.named.append(key)
        rows = [
            (12, lambda: [r.choice([b"LPUSH", b"RPUSH"]), key] + [b"e%d" % r.randrange(99) for _ in range(r.randint(1, 3))]),
            (10, lambda: [b"ZADD", key] + [x for _ in range(r.randint(1, 3)) for x in (self.draw_score(), self.draw_field())]),
            (1, lambda: [b"RPUSHX", key, b"x"]),
            (2, lambda: [b"RPOPLPUSH", self.draw_lkey(), key]),
            (2, lambda: [b"LMOVE", self.queue_key(b"list"), key, b"LEFT", r.choice([b"LEFT", b"RIGHT"])]),
            (3, lambda: [r.choice([b"RENAME", b"RENAMENX"]), self.any_collection(), key]),
            (3, lambda: [b"COPY", self.any_collection(), key] + r.choice([[], [b"REPLACE"], [b"DB", self.draw_db()]])),
            (2, lambda: [b"MOVE", key, self.draw_db()]),
            (2, lambda: [b"SORT", self.draw_lkey(), b"ALPHA", b"STORE", key]),
            (2, lambda: [b"ZUNIONSTORE", key, b"2", self.draw_szkey(), self.draw_szkey()]),
            (2, lambda: [b"ZRANGESTORE", key, self.draw_zkey(), b"0", b"3"]),
            (1, lambda: [b"SUNIONSTORE", key, self.draw_skey(), self.draw_skey()]),
            (2, lambda: [b"SET", key, b"text"]),
            (1, lambda: [b"SADD", key, b"m"]),
            (6, lambda: [b"DEL", key]),
            (1, lambda: [b"EXPIRE", key, b"-1"]),
            (3, lambda: [r.choice([b"LPOP", b"RPOP", b"ZPOPMIN"]), key]),
            (1, lambda: [b"LINSERT", key, b"BEFORE", b"e1", b"e2"]),
            (1, lambda: [b"ZINCRBY", key, b"1", b"m"]),
        ]  # fmt: skip
        args = r.choices([row[1] for row in rows], [row[0] for row in rows])[0]()
        return Command(args, "scores", self.named)

    def any_collection(self):
        draw = self.r.random()
        return self.draw_key() if draw < 0.1 else self.draw_lkey() if draw < 0.55 else self.draw_zkey()

    def plain(self):
        while True:
            args, rule, keys = self.command()
            if rule != "scan" and args[0].upper() not in (b"SWAPDB", b"FLUSHALL", b"FLUSHDB"):
                return Command(args, rule, keys)


class Sessions(RandomRun):
    """Draws steps (draw_step) and carries them out on both servers (run_step)."""

    def __init__(self, args):
        super().__init__(args)
        self.generator = SessionGenerator(args.seed, args.keys, False, args.families and args.families.split(","))
        if servers.is_redis(self.pair.binary):
            self.generator.overflows.remove(b"FAIL")
        self.generator.numbers += QUEUES + ZQUEUES  # so that ordinary commands use them too
        self.r = self.generator.r
        self.names = ["c%d" % i for i in range(args.connections)]
        self.steps = []  # all that were run: Step, "restart" or "flush"
        self.awaited = set()
        self.begin()

    # ---- Carrying out ----

    def begin(self):
        """New connections, empty databases."""
        self.talks = {}
        self.ends = [Ends(side) for side in self.pair.sides()]
        for ends in self.ends:
            ends.control.value("CONFIG", "SET", "notify-keyspace-events", "")
            ends.control.value("FLUSHALL")
        self.listen()

    def listen(self):
        self.run_step(Step(LISTENER, [Command([b"PSUBSCRIBE", b"__key*"], confirmations=1),
                                      Command([b"CONFIG", b"GET", b"databases"])]))  # fmt: skip

    def talk(self, name):
        if name not in self.talks:
            self.talks[name] = Talk()
            for ends in self.ends:
                ends.end(name)
        return self.talks[name]

    def run_step(self, step):
        if not step.commands:
            for ends in self.ends:
                ends.close(step.name)
            self.talks.pop(step.name, None)
        else:
            talk = self.talk(step.name)
            for command in step.commands:
                copy = Command(command.args, command.rule, command.keys, command.confirmations, command.blocks)
                talk.expected.append(copy)
            for ends in self.ends:
                ends.end(step.name).send(b"".join(command.encode(ends) for command in step.commands))
            self.commands += len(step.commands)
        self.settle(step)

    def settle(self, step):
        oracle, ours = self.ends
        deadline = time.monotonic() + self.args.timeout
        quiet = 0
        while quiet < 2:  # twice: what the first look overtook has come by the second
            blocked, busy = oracle.look()
            for name, end in oracle.open.items():
                for reply in end.take():
                    if not self.talks[name].take(reply):
                        self.fail(name, "got a reply from redis that answers nothing", None, reply)
                self.talks[name].closed = end.closed
            waiting = [name for name, talk in self.talks.items() if talk.expected and not talk.closed]
            at_rest = not busy and all(oracle.open[name].id in blocked for name in waiting)
            quiet = quiet + 1 if at_rest else 0
            if time.monotonic() > deadline:
                raise Mismatch(f"redis did not come to rest, waiting for {waiting}\n{self.past()}")
        quiet = 0
        while quiet < 2:
            try:
                blocked, busy = ours.look()
            except (resp.Closed, OSError) as error:
                raise Mismatch(f"our server went away: {error}\n{self.past()}\n{self.pair.ours.server.log_tail()}")
            at_rest = not busy and all(ours.open[name].id in blocked for name in waiting)
            at_rest &= all(self.has_all(name) for name in self.talks)
            quiet = quiet + 1 if at_rest else 0
            if time.monotonic() > deadline:
                break
        self.awaited = {key for name in waiting for key in self.talks[name].expected[0].keys}
        for name in list(self.talks):
            self.compare(name)
        for name in waiting:
            if ours.open[name].id not in blocked:
                self.fail(name, "is blocked in redis, not in ours", self.talks[name].expected[0])
        for name in [name for name, talk in self.talks.items() if talk.closed]:
            for ends in self.ends:
                ends.close(name)
            del self.talks[name]

    def has_all(self, name):
        talk, end = self.talks[name], self.ends[1].open[name]
        return len(end.came) >= len(talk.answered) + len(talk.messages) and (end.closed or not talk.closed)

    def compare(self, name):
        """What the connection got. Replies and messages each have their order; among each other they have none: when
        Redis sends a client its own messages depends on the command."""
        talk, end = self.talks[name], self.ends[1].open[name]
        came = end.take()
        messages, replies = [x for x in came if is_message(x)], [x for x in came if not is_message(x)]
        for (command, oracle, queue), ours in zip(talk.answered, replies):
            self.compare_reply(name, command, oracle, ours, queue)
        for oracle, ours in zip(talk.messages, messages):
            if oracle.raw != ours.raw:
                self.fail(name, "got another message", None, oracle, ours)
        for theirs, got, what in ((talk.answered, replies, "reply"), (talk.messages, messages, "message")):
            if len(theirs) > len(got):
                row = theirs[len(got)]
                command, reply = (row[0], row[1]) if what == "reply" else (None, row)
                self.fail(name, f"lacks a {what}", command, reply)
            if len(theirs) < len(got):
                self.fail(name, f"got a {what} too many", None, None, got[len(theirs)])
        if talk.closed != end.closed:
            self.fail(name, "was closed by redis only" if talk.closed else "was closed by ours only")
        talk.answered, talk.messages = [], []

    def compare_reply(self, name, command, oracle, ours, queue):
        if queue is None or not isinstance(oracle.value, list):
            if not self.same(command, oracle, ours):
                self.fail(name, "got another reply", command, oracle, ours)
            return
        if not isinstance(ours.value, list) or len(ours.value) != len(oracle.value) or len(queue) != len(oracle.value):
            self.fail(name, "got another reply", command, oracle, ours)
        for queued, theirs, our in zip(queue, oracle.value, ours.value):
            if not self.same(queued, theirs, our):
                self.fail(name, "got another reply in EXEC", queued, theirs, our)

    def same(self, command, oracle, ours):
        if command.name == b"OBJECT" and command.args[1].upper() == b"ENCODING":
            # SORT of a sorted set makes it a skiplist in Redis (README, "Differences from Redis").
            sorted_set = (b"$8\r\nlistpack\r\n", b"$8\r\nskiplist\r\n")
            if oracle.raw in sorted_set and ours.raw in sorted_set:
                return True
        return self.equal(command.rule, sides.Outcome("reply", oracle), sides.Outcome("reply", ours))

    def fail(self, name, what, command=None, oracle=None, ours=None):
        lines = [f"connection {name} {what}" + (f": {command.text()[:500]}" if command else "")]
        for label, reply in (("redis: ", oracle), ("ours:  ", ours)):
            if reply is not None:
                lines.append(f"  {label}{sides.show_bytes(reply.raw)}")
        raise Mismatch("\n".join(lines) + "\n" + self.past())

    def past(self, keys=None, count=40):
        """The last steps in the form of a case file; `keys`: only what names one of them or touches many."""
        wide = (b"FLUSHDB", b"FLUSHALL", b"SWAPDB", b"SELECT", b"RESET", b"MULTI", b"EXEC")
        lines, connection = [], None
        steps = [
            step for step in self.steps
            if not keys or not isinstance(step, Step) or any(c.keys & keys or c.name in wide for c in step.commands)
        ]  # fmt: skip
        for step in steps[-count:]:
            if not isinstance(step, Step):
                lines.append(f"# {step}")
                continue
            text = step.lines()
            lines += text if step.name != connection or not step.commands else text[1:]
            connection = step.name
        lines = [line if len(line) < 300 else line[:300] + f"   # ... cut ({len(line)} characters)" for line in lines]
        return "the last steps:\n    " + "\n    ".join(lines)

    def restart(self):
        """Ends every connection, so that nobody is blocked, and starts ours again on what it left."""
        for ends in self.ends:
            ends.close_all()
        self.talks = {}
        super().restart()
        self.ends = [Ends(side) for side in self.pair.sides()]
        for ends in self.ends:
            ends.control.value("CONFIG", "SET", "notify-keyspace-events", "KEA")
        self.listen()

    def carry_out(self, step):
        self.steps.append(step)
        if step == "flush":
            self.flush()
        elif step == "restart":
            self.compare_everything()
            self.restart()
            self.compare_everything()
        else:
            self.run_step(step)

    # ---- Drawing ----

    def blocked(self):
        return [name for name, talk in self.talks.items() if talk.expected]

    def may_send_behind(self):
        """The blocked connections that may send more behind their blocking command: one at a time. When one EXEC wakes
        two, nothing promises whose next command comes first. Not behind a subscription: what may come then depends on
        it."""
        blocked = self.blocked()
        if len(blocked) > 1 and self.one_at_a_time():
            return []
        names = [name for name in blocked if len(self.talks[name].expected) > 1] or blocked
        return [name for name in names if not any(command.confirmations for command in self.talks[name].expected)]

    def one_at_a_time(self):
        """Whom a command wakes may have to read from disk, and then acts behind the next ones that are sent with it
        (README, "Differences from Redis")."""
        return self.cold and bool(self.blocked())

    def draw_step(self):
        r, blocked = self.r, self.blocked()
        free = [name for name in self.names if name not in blocked]
        draw = r.random()
        if blocked and draw < 0.04:
            return Step(r.choice(blocked))
        if blocked and draw < 0.08:
            kind = r.choice([[], [b"TIMEOUT"], [b"ERROR"]])
            # Not by a client in MULTI: a second one in the same EXEC would find the client still waiting in ours.
            free = [name for name in free if (self.talks.get(name) or Talk()).queue is None] + ["admin"]
            return Step(r.choice(free), [Command([b"CLIENT", b"UNBLOCK", IdOf(r.choice(blocked))] + kind)])
        if draw < 0.10 and self.may_send_behind():
            name = r.choice(self.may_send_behind())
            return Step(name, self.draw_commands(name, False))
        if draw < 0.11:
            return Step(r.choice(free))
        if draw < 0.12:
            # Not in one EXEC with CLIENT UNBLOCK, whose reply Redis forgets with the connection.
            return Step("admin", [Command([b"CLIENT", b"KILL", b"ID", IdOf(r.choice(self.names))])])
        if draw < 0.13:
            # Not by a client in MULTI: the events of one EXEC are sent after it, under one setting.
            return Step("admin", [Command([b"CONFIG", b"SET", b"notify-keyspace-events", r.choice(NOTIFY_FLAGS)])])
        name = r.choice(free)
        return Step(name, self.draw_commands(name, len(free) > 1))

    def draw_commands(self, name, may_block):
        r, talk = self.r, self.talks.get(name) or Talk()
        if talk.subscriptions and r.random() < 0.3:
            return [Command([b"RESET"])] if r.random() < 0.5 else [self.unsubscribe(talk)]
        queue = talk.queue_ahead()
        if queue is not None:
            if r.random() < min(0.1 + 0.05 * len(queue), 0.4):
                return [self.end_of_multi(queue)]
            commands = []
            for _ in range(r.choice([1, 1, 2])):
                commands.append(self.in_multi(queue + commands, talk))
            return commands
        draw = r.random()
        if draw < 0.10 and not talk.subscriptions:
            return [self.watch()]
        if draw < 0.20 and not talk.subscriptions:
            return [Command([b"MULTI"])]
        if draw < 0.30 and not talk.subscriptions:
            queue = []
            for _ in range(r.randint(1, 8)):
                queue.append(self.in_multi(queue, talk))
            whole = [Command([b"MULTI"])] + queue + [self.end_of_multi(queue)]
            return whole if r.random() < 0.7 else [self.watch()] + whole
        if draw < 0.31:
            return [Command([r.choice([b"UNWATCH", b"EXEC", b"DISCARD"])])]
        if draw < 0.46 and may_block:
            alone = all(len(self.talks[other].expected) == 1 for other in self.blocked())
            alone = alone and not self.one_at_a_time()
            follow = self.simple(talk) if alone and r.random() < 0.1 else []
            return [self.generator.blocking()] + follow
        if draw < 0.52:
            return [self.pubsub(talk)]
        if draw < 0.525:
            return [self.whole_database()]
        if draw < 0.54:
            return [Command([b"HELLO", r.choice([b"2", b"3"])], "ignore")]
        return self.simple(talk)

    def simple(self, talk):
        """One or a few commands that neither block nor change the connection much."""
        r = self.r
        commands = []
        for _ in range(1 if r.random() < 0.7 or self.one_at_a_time() else r.randint(2, 6)):
            if talk.watched and r.random() < 0.02:
                commands.append(Command([b"SET", r.choice(sorted(talk.watched)), b"own"]))
            elif r.random() < 0.1 and self.watched_keys():
                key = r.choice(self.watched_keys())
                commands.append(Command([r.choice([b"DEL", b"GETDEL", b"PERSIST", b"TOUCH"]), key], "exact", [key]))
            elif r.random() < 0.45:
                commands.append(self.generator.feed(sorted(self.awaited)))
            else:
                commands.append(self.generator.plain())
        return commands

    def watched_keys(self):
        return sorted({key for talk in self.talks.values() for key in talk.watched})

    def watch(self):
        self.generator.named = []
        keys = [self.generator.draw_key() if self.r.random() < 0.5 else self.r.choice(QUEUES + ZQUEUES)
                for _ in range(self.r.choice([1, 1, 2, 3]))]  # fmt: skip
        return Command([b"WATCH"] + keys, "exact", keys)

    def in_multi(self, queue, talk):
        r, draw = self.r, self.r.random()
        if draw < 0.02:
            return Command(r.choice([[b"nosuchcommand"], [b"GET"], [b"MULTI"], [b"WATCH", b"k1"], [b"EXEC", b"x"],
                                     [b"CLIENT", b"nosuch"]]))  # fmt: skip
        if draw < 0.05:
            return Command([b"SELECT", self.generator.draw_db()])
        if draw < 0.06:
            return Command([b"UNWATCH"])
        if draw < 0.07:
            return self.whole_database()
        if draw < 0.10 and not talk.subscriptions and not any(command.confirmations for command in queue):
            # One channel only, and no message of its own: Redis 7.0 sends those into the middle of EXEC's reply.
            if r.random() < 0.3 and not any(command.name in (b"PUBLISH", b"SPUBLISH") for command in queue):
                return Command([b"SUBSCRIBE", r.choice(CHANNELS)], confirmations=1)
            return Command([b"PUBLISH", r.choice(CHANNELS), b"in multi"])
        if draw < 0.2:
            return self.generator.blocking()
        if draw < 0.5:
            return self.generator.feed(sorted(self.awaited))
        return self.generator.plain()

    def end_of_multi(self, queue):
        """Which key's clients are served first after SWAPDB is left to chance in Redis."""
        if self.r.random() < 0.1 or (len(self.awaited) > 1 and any(command.name == b"SWAPDB" for command in queue)):
            return Command([b"DISCARD"])
        return Command([b"EXEC"])

    def whole_database(self):
        if self.r.random() < 0.4 or len(self.awaited) > 1:
            return Command([self.r.choice([b"FLUSHDB", b"FLUSHDB", b"FLUSHALL"])])
        a, b = self.r.choice([(b"0", b"1"), (b"1", b"0"), (b"0", b"9"), (b"0", b"0"), (b"1", b"99")])
        return Command([b"SWAPDB", a, b])

    def pubsub(self, talk):
        r, draw = self.r, self.r.random()
        channels = [r.choice(CHANNELS) for _ in range(r.choice([1, 1, 2, 3]))]
        if draw < 0.5:
            return Command([r.choice([b"PUBLISH", b"PUBLISH", b"SPUBLISH"]), channels[0], b"m%d" % r.randrange(1000)])
        if draw < 0.6:
            return Command([b"PUBSUB"] + r.choice([[b"CHANNELS"], [b"CHANNELS", b"c*"], [b"NUMSUB"] + CHANNELS,
                           [b"NUMPAT"], [b"SHARDCHANNELS"], [b"SHARDNUMSUB", b"ch0"]]), "unordered")  # fmt: skip
        if draw < 0.75:
            return self.unsubscribe(talk)
        name = r.choice([b"SUBSCRIBE", b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"])
        if name == b"PSUBSCRIBE":
            channels = [r.choice(CHANNEL_PATTERNS) for _ in channels]
        return Command([name] + channels, confirmations=len(channels))

    def unsubscribe(self, talk):
        """Of several subscriptions by name: in which order Redis ends them all is left to chance."""
        kinds = {b"": b"UNSUBSCRIBE", b"p": b"PUNSUBSCRIBE", b"s": b"SUNSUBSCRIBE"}
        kind = self.r.choice(sorted(talk.subscriptions) or [(b"", None)])[0]
        mine = sorted(name for k, name in talk.subscriptions if k == kind)
        if len(mine) <= 1 and self.r.random() < 0.5:
            return Command([kinds[kind]], confirmations=1)
        names = mine[: self.r.randint(1, 3)] or [b"ch0"]
        return Command([kinds[kind]] + names, confirmations=len(names))

    # ---- The whole run ----

    def run(self):
        count = self.args.steps
        restart_at = {count * (i + 1) // (self.args.restarts + 1) for i in range(self.args.restarts)}
        for self.step in range(1, count + 1):
            self.carry_out(self.draw_step())
            if self.cold and self.step % FLUSH_EVERY == 0:
                self.carry_out("flush")
            if self.step in restart_at:
                self.carry_out("restart")
            elif self.step % 500 == 0 or self.step == count:
                self.compare_everything()
            if self.args.progress and self.step % 1000 == 0:
                print(f"  step {self.step}, {self.commands} commands", flush=True)
        self.check_cold()

    def stop(self):
        self.pair.stop()

    def fails(self, steps):
        """Whether these steps, from empty databases, end in a mismatch."""
        for ends in self.ends:
            ends.close_all()
        if not self.pair.ours.server.alive():
            self.pair.ours.server.start()
        self.begin()
        self.steps = []
        try:
            for step in steps:
                self.carry_out(step)
            self.compare_everything()
        except Mismatch as mismatch:
            self.found = mismatch
            return True
        return False

    def reduce(self, mismatch):
        """Leaves out steps, then single commands, as long as it still fails. Returns the last mismatch."""
        self.args.timeout = min(self.args.timeout, 2.0)
        self.found, steps = mismatch, list(self.steps)
        if not self.fails(steps):
            print("the same steps do not fail again: it depends on the time")
            return mismatch
        size = max(len(steps) // 2, 1)
        while True:
            at = len(steps)
            while at > 0:
                shorter = steps[: max(at - size, 0)] + steps[at:]
                if self.fails(shorter):
                    steps = shorter
                at = min(at - size, len(steps))
            print(f"  {len(steps)} steps left", flush=True)
            if size == 1:
                break
            size = size // 2
        for i, step in enumerate(steps):
            if not isinstance(step, Step):
                continue
            for command in list(step.commands):
                if len(steps[i].commands) > 1:
                    shorter = Step(step.name, [other for other in steps[i].commands if other is not command])
                    if self.fails(steps[:i] + [shorter] + steps[i + 1 :]):
                        steps[i] = shorter
        self.fails(steps)
        return self.found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="our server's program; without it redis-server stands in")
    parser.add_argument("--option", action="append", help="option for our server, as in --option='--maxmemory 64kb'")
    parser.add_argument("--seed", type=int, help="a number; drawn and printed if left out")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=6)
    parser.add_argument("--keys", type=int, help="size of the pool of ordinary keys")
    parser.add_argument("--restarts", type=int, default=0, help="how often ours is killed or ended, and started again")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds until a side must have come to rest")
    parser.add_argument("--families", help="files of grammar/ to draw from, as in --families hashes,keys")
    parser.add_argument("--cold", action="store_true", help="ours keeps nothing in RAM: every command reads from disk")
    parser.add_argument("--reduce", action="store_true", help="after a mismatch look for the shortest history")
    parser.add_argument("--progress", action="store_true")
    args = parser.parse_args()
    args.tiny = False
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {args.seed}, {args.steps} steps", flush=True)
    run = None
    try:
        run = Sessions(args)
        try:
            run.run()
        except Mismatch as mismatch:
            print(f"MISMATCH at step {run.step} (--seed {args.seed} --steps {args.steps})", flush=True)
            print(run.reduce(mismatch) if args.reduce else mismatch)
            return 1
    except servers.StartError as error:
        print(error)
        return 1
    finally:
        if run is not None:
            run.stop()
    print(f"{run.commands} commands in {args.steps} steps: equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
