#!/usr/bin/python3
"""Many clients at once, whose results are checked against what must hold in any order of their commands.

    crowd.py --server build/release/bin/thermocline-server [--seed 7] [--seconds 3] [check ...]
    crowd.py --server ... --cold    ours keeps nothing in RAM: commands wait for the disk
    crowd.py                        redis-server: tests the test

Checks: counters (WATCH), transfers (MULTI), queues and sorted_queues (blocking pops), waiting_line (who came first
is served first), messages (PUBLISH, also in EXEC), expirations (of keys that nobody touches, beside a load). The seed
decides what each client does; how the clients interleave is the machine's affair.
"""

import argparse
import collections
import contextlib
import os
import random
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402


class Broken(Exception):
    """A rule does not hold."""


def expect(holds, text):
    if not holds:
        raise Broken(text)


class Crowd:
    """Threads with a connection and a random source each. The first exception of one ends all."""

    def __init__(self, server, seed, seconds):
        self.server = server
        self.seed = seed
        self.deadline = time.monotonic() + seconds
        self.threads = []
        self.errors = []

    def running(self):
        return time.monotonic() < self.deadline and not self.errors

    def add(self, work, *args):
        number = len(self.threads)

        def body():
            connection = self.server.connect(timeout=30)
            try:
                work(connection, random.Random(f"{self.seed}/{number}"), *args)
            except Exception as error:  # raised again by join()
                self.errors.append(error)
            finally:
                connection.close()

        self.threads.append(threading.Thread(target=body, daemon=True))
        self.threads[-1].start()

    def noise(self, running):
        """A client that touches more than a small hot tier holds, so that the others' keys are cold now and then."""

        def work(connection, r):
            while running():
                connection.value("SET", f"noise{r.randrange(60)}", b"x" * r.randint(100, 20000))
                connection.value("GETRANGE", f"noise{r.randrange(60)}", 0, 10)

        self.add(work)

    def join(self):
        for thread in self.threads:
            thread.join(60)
            expect(not thread.is_alive(), "a client hangs")
        if self.errors:
            raise self.errors[0]


def transaction(connection, *commands):
    """EXEC's reply as plain values; None if a watched key was changed."""
    return connection.pipeline([["MULTI"], *commands, ["EXEC"]])[-1].plain()


# ---- Checks: each returns a few words about what it did ----


def check_counters(server, seed, seconds):
    """A counter that is read and then set under WATCH counts exactly the EXECs that succeeded. A connection whose
    watched key nobody else touches never fails."""
    crowd = Crowd(server, seed, seconds)
    done, failed = collections.Counter(), collections.Counter()
    lock = threading.Lock()

    def work(connection, r, own):
        mine, lost = collections.Counter(), 0
        while crowd.running():
            kind, number = r.choice("shz"), r.randrange(3)
            key = f"{own}:{number}" if r.random() < 0.1 else f"counter:{number}"
            key = f"{key}:{kind}"
            connection.value("WATCH", key, f"nothing{own}")
            if kind == "s":
                value = int(connection.value("GET", key) or 0)
                write = ["SET", key, value + 1]
            elif kind == "h":
                value = int(connection.value("HGET", key, "n") or 0)
                write = ["HSET", key, "n", value + 1]
            else:
                value = int(float(connection.value("ZSCORE", key, "n") or 0))
                write = ["ZADD", key, value + 1, "n"]
            if r.random() < 0.05:
                connection.value("UNWATCH")
                continue
            if transaction(connection, write, ["INCR", f"sum:{key}"]) is not None:
                mine[key] += 1
            else:
                expect(key.startswith("counter"), f"EXEC failed, but {key} was touched by nobody else")
                lost += 1
        with lock:
            done.update(mine)
            failed["EXEC"] += lost

    for i in range(6):
        crowd.add(work, f"own{i}")
    crowd.noise(crowd.running)
    crowd.join()
    connection = server.connect()
    for key, count in done.items():
        sum_of = int(connection.value("GET", f"sum:{key}"))
        value = {
            "s": lambda key=key: connection.value("GET", key),
            "h": lambda key=key: connection.value("HGET", key, "n"),
            "z": lambda key=key: connection.value("ZSCORE", key, "n"),
        }[key[-1]]()
        expect(int(float(value)) == count == sum_of, f"{key} is {value}, INCR counted {sum_of}, EXECs {count}")
    return f"{sum(done.values())} EXECs succeeded, {failed['EXEC']} did not"


def check_transfers(server, seed, seconds):
    """What moves between accounts of any type adds up to the same at every moment that EXEC shows, and no account is
    overdrawn if the transfer looked at it under WATCH."""
    crowd = Crowd(server, seed, seconds)
    accounts = [("string", i) for i in range(4)] + [("hash", i) for i in range(4)] + [("zset", i) for i in range(4)]
    setup = server.connect()
    for kind, i in accounts:
        setup.value(*add(kind, i, 100))
    count = collections.Counter()

    def transfer(connection, r):
        while crowd.running():
            a, b = r.sample(accounts, 2)
            amount = r.randint(1, 60)
            connection.value("WATCH", key_of(*a))
            if balance(connection.value(*read(*a))) < amount:
                connection.value("UNWATCH")
                continue
            commands = [add(*a, -amount), add(*b, amount)]
            if r.random() < 0.2:
                commands.insert(1, ["LPUSH", "zset0", "wrong type"])  # fails, and stops nothing
            if r.random() < 0.05:
                connection.pipeline([["MULTI"], *commands, ["DISCARD"]])
            elif r.random() < 0.05:
                reply = connection.pipeline([["MULTI"], *commands, ["NOSUCHCOMMAND"], ["EXEC"]])[-1]
                expect(reply.raw.startswith(b"-EXECABORT"), f"EXEC after an error: {reply.raw}")
            elif transaction(connection, *commands) is not None:
                count["transfers"] += 1

    def look(connection, _):
        while crowd.running():
            values = [balance(value) for value in transaction(connection, *[read(*account) for account in accounts])]
            expect(sum(values) == 1200, f"the accounts add up to {sum(values)}: {values}")
            expect(min(values) >= 0, f"an account is overdrawn: {values}")
            count["looks"] += 1

    for _ in range(4):
        crowd.add(transfer)
    for _ in range(2):
        crowd.add(look)
    crowd.noise(crowd.running)
    crowd.join()
    setup.close()
    return f"{count['transfers']} transfers, {count['looks']} looks"


def key_of(kind, i):
    return f"{kind}{i}" if kind != "hash" else f"hash{i // 2}"  # two accounts share a hash


def add(kind, i, amount):
    if kind == "string":
        return ["INCRBY", key_of(kind, i), amount]
    if kind == "hash":
        return ["HINCRBY", key_of(kind, i), f"field{i}", amount]
    return ["ZINCRBY", key_of(kind, i), amount, "member"]


def read(kind, i):
    if kind == "string":
        return ["GET", key_of(kind, i)]
    if kind == "hash":
        return ["HGET", key_of(kind, i), f"field{i}"]
    return ["ZSCORE", key_of(kind, i), "member"]


def balance(value):
    return int(float(value))


def check_queues(server, seed, seconds):
    """Everything that is pushed is popped by exactly one client, and what one client pops of one pusher's elements in
    one queue comes in the order of the pushes, however it pops."""
    crowd = Crowd(server, seed, seconds + 30)
    pushing_until = time.monotonic() + seconds
    pushed, popped = [], []
    queues = ["queue0", "queue1", "queue2"]
    lock = threading.Lock()
    pushers_left = [3]

    def push(connection, r, me):
        mine, number = [], 0
        while time.monotonic() < pushing_until and not crowd.errors:
            queue = r.choice(queues)
            elements = [f"{queue}/{me}/{number + i}" for i in range(r.choice([1, 1, 2, 5]))]
            number += len(elements)
            mine += elements
            how = r.random()
            if how < 0.5:
                connection.value("RPUSH", queue, *elements)
            elif how < 0.8:
                transaction(connection, *[["RPUSH", queue, element] for element in elements])
            elif how < 0.9:  # a key of its own, which becomes the queue if there is none
                connection.value("RPUSH", f"{me}:new", *elements)
                if not connection.value("RENAMENX", f"{me}:new", queue):
                    replies = transaction(connection, ["RPUSH", queue, *elements], ["DEL", f"{me}:new"])
                    expect(replies[1] == 1, f"DEL: {replies}")
            else:
                for element in elements:
                    connection.value("RPUSH", f"{me}:new", element)
                    connection.value("LMOVE", f"{me}:new", queue, "LEFT", "RIGHT")
            if r.random() < 0.3:
                time.sleep(0.002)
        with lock:
            pushed.extend(mine)
            pushers_left[0] -= 1

    def pop(connection, r, me):
        mine = []
        while not crowd.errors:
            over = pushers_left[0] == 0
            how, keys = r.randrange(4), r.sample(queues, len(queues))
            timeout = r.choice(["0.05", "0.2", "0.01"])
            if how == 0:
                got = connection.value("BLPOP", *keys, timeout)
                elements = got[1:] if got else []
            elif how == 1:
                got = connection.value("BLMPOP", timeout, len(keys), *keys, "LEFT", "COUNT", r.choice([1, 3]))
                elements = got[1] if got else []
            elif how == 2:
                got = connection.value("BLMOVE", keys[0], f"{me}:taken", "LEFT", "RIGHT", timeout)
                elements = [got] if got else []
            else:
                got = connection.value("LPOP", keys[0], 2)
                elements = got or []
            mine += elements
            if not elements and over and connection.value("EXISTS", *queues) == 0:
                break
        taken = connection.value("LRANGE", f"{me}:taken", 0, -1)
        expect(taken == [x for x in mine if x in set(taken)], f"{me} moved other elements, or in another order")
        last = {}
        for element in mine:
            queue, pusher, number = element.split(b"/")
            expect(last.get((queue, pusher), -1) < int(number), f"{me} got {element} after {last}")
            last[(queue, pusher)] = int(number)
        with lock:
            popped.extend(mine)

    for i in range(5):
        crowd.add(pop, f"popper{i}")
    for i in range(3):
        crowd.add(push, f"pusher{i}")
    crowd.add(disturb, lambda: pushers_left[0] > 0 and not crowd.errors)
    crowd.noise(lambda: pushers_left[0] > 0 and not crowd.errors)
    crowd.join()
    same_elements(pushed, popped)
    return f"{len(pushed)} elements"


def same_elements(pushed, popped):
    missing = collections.Counter(element.encode() for element in pushed)
    missing.subtract(popped)
    wrong = {element: count for element, count in missing.items() if count}
    expect(not wrong, f"of {len(pushed)} elements not delivered once (1: never, -1: twice): {str(wrong)[:500]}")


def disturb(connection, r, running):
    """CLIENT UNBLOCK of whoever is blocked: it ends a wait, and must lose nothing."""
    while running():
        ids = re.findall(rb"id=(\d+) .*?flags=b", connection.value("CLIENT", "LIST"))
        if ids:
            connection.value("CLIENT", "UNBLOCK", r.choice(ids))
        time.sleep(0.01)


def check_sorted_queues(server, seed, seconds):
    """The same for sorted sets as priority queues."""
    crowd = Crowd(server, seed, seconds + 30)
    pushing_until = time.monotonic() + seconds
    pushed, popped = [], []
    keys = ["zqueue0", "zqueue1"]
    lock = threading.Lock()
    pushers_left = [2]

    def push(connection, r, me):
        mine = []
        while time.monotonic() < pushing_until and not crowd.errors:
            members = [f"{me}/{len(mine) + i}" for i in range(r.choice([1, 1, 3]))]
            mine += members
            pairs = [part for member in members for part in (r.randint(0, 1000), member)]
            if r.random() < 0.5:
                connection.value("ZADD", r.choice(keys), *pairs)
            else:
                transaction(connection, ["ZADD", r.choice(keys), *pairs], ["ZCARD", keys[0]])
        with lock:
            pushed.extend(mine)
            pushers_left[0] -= 1

    def pop(connection, r):
        mine = []
        while not crowd.errors:
            over = pushers_left[0] == 0
            how, timeout = r.randrange(3), r.choice(["0.05", "0.01"])
            if how == 0:
                got = connection.value(r.choice(["BZPOPMIN", "BZPOPMAX"]), *keys, timeout)
                members = [got[1]] if got else []
            elif how == 1:
                got = connection.value("BZMPOP", timeout, 2, *keys, r.choice(["MIN", "MAX"]), "COUNT", 3)
                members = [member for member, _ in got[1]] if got else []
            else:
                members = connection.value("ZPOPMIN", r.choice(keys), 2)[::2]
            mine += members
            if not members and over and connection.value("EXISTS", *keys) == 0:
                break
        with lock:
            popped.extend(mine)

    for _ in range(4):
        crowd.add(pop)
    for i in range(2):
        crowd.add(push, f"pusher{i}")
    crowd.noise(lambda: pushers_left[0] > 0 and not crowd.errors)
    crowd.join()
    same_elements(pushed, popped)
    return f"{len(pushed)} members"


def check_waiting_line(server, seed, seconds):
    """Clients that block one after another are served in this order, also when some have left meanwhile. All take from
    the left: one that has to read from disk first would find another element at the right end by then."""
    r = random.Random(seed)
    deadline = time.monotonic() + seconds
    control = server.connect()
    rounds = 0
    line = [server.connect() for _ in range(12)]
    ids = [connection.value("CLIENT", "ID") for connection in line]
    while time.monotonic() < deadline:
        key = f"line{rounds % 7}"
        leaves = r.sample(range(len(line)), 3)
        for i, connection in enumerate(line):
            connection.send(*r.choice([["BLPOP", key, 0], ["BLPOP", "nothing", key, 0], ["BLMPOP", 0, 1, key, "LEFT"],
                                       ["BLMOVE", key, "moved", "LEFT", "RIGHT", 0]]))  # fmt: skip
            await_seen(control, ids[i])
        if r.random() < 0.5:  # else some may be reading from disk when they leave
            await_blocked(control, *ids)
        for i in leaves:
            expect(control.value("CLIENT", "UNBLOCK", ids[i], "ERROR") == 1, "UNBLOCK found nobody")
            reply = line[i].read_reply()
            expect(reply.raw.startswith(b"-UNBLOCKED"), f"an unblocked client got {reply.raw}")
        await_blocked(control, *[ids[i] for i in range(len(line)) if i not in leaves])
        left = [connection for i, connection in enumerate(line) if i not in leaves]
        elements = [b"%d" % i for i in range(len(left))]
        how = r.randrange(3)
        if how == 0:  # one at a time
            for element in elements:
                control.value("RPUSH", key, element)
        elif how == 1:  # all in one EXEC: they are served after it
            transaction(control, *[["RPUSH", key, element] for element in elements])
        else:
            control.pipeline([["RPUSH", key, element] for element in elements])
        for connection, element in zip(left, elements):
            got = connection.read_reply().plain()
            got = got if isinstance(got, bytes) else got[1]
            got = got[0] if isinstance(got, list) else got
            expect(got == element, f"round {rounds}: got {got} instead of {element}")
        expect(control.value("EXISTS", key) == 0, "something is left")
        if r.random() < 0.2:
            control.value("DEL", "moved")
        rounds += 1
    for connection in line + [control]:
        connection.close()
    return f"{rounds} rounds of {len(line)} clients"


def await_seen(control, client):
    """Until the client's command has begun: it is in line, though it may have to read from disk before it blocks."""
    limit = time.monotonic() + 10
    while b"flags=b" not in control.value("CLIENT", "LIST", "ID", client):
        expect(time.monotonic() < limit, "a client does not block")


def await_blocked(control, *clients):
    for client in clients:
        await_seen(control, client)
    limit = time.monotonic() + 10
    while True:
        reading = re.search(rb"clients_waiting_for_disk:(\d+)", control.value("INFO", "clients"))
        if not reading or reading[1] == b"0":
            return
        expect(time.monotonic() < limit, "a client reads from disk for ever")


def check_messages(server, seed, seconds):
    """Each subscriber gets all messages from its SUBSCRIBE on, in each publisher's order; those of one EXEC come
    together."""
    crowd = Crowd(server, seed, seconds + 30)
    publishing_until = time.monotonic() + seconds
    subscribers, publishers = 4, 3
    ready, publishers_left = threading.Barrier(subscribers + publishers), [publishers]
    lock = threading.Lock()
    sent = collections.Counter()

    def publish(connection, r, me):
        ready.wait(20)
        number = 0
        while time.monotonic() < publishing_until and not crowd.errors:
            if r.random() < 0.5:
                heard = [connection.value("PUBLISH", "news", f"{me} {number} 1")]
                number += 1
            else:
                size = r.randint(2, 5)
                commands = [["PUBLISH", "news", f"{me} {number + i} {size - i}"] for i in range(size)]
                commands.insert(1, ["INCR", "between"])
                heard = transaction(connection, *commands)
                del heard[1]
                number += size
            expect(heard == [subscribers] * len(heard), f"PUBLISH reached {heard} subscribers")
        sent[me] = number
        with lock:
            publishers_left[0] -= 1
            if publishers_left[0] == 0:
                connection.value("PUBLISH", "news", "end 0 1")

    def subscribe(connection, _, pattern):
        connection.send("PSUBSCRIBE" if pattern else "SUBSCRIBE", "n?ws" if pattern else "news")
        connection.read_reply()
        ready.wait(20)
        numbers, together = collections.Counter(), (None, 1)
        while True:
            who, number, left = connection.read_reply().plain()[-1].decode().split()
            if who == "end":
                break
            expect(together[1] == 1 or together == (who, int(left) + 1), f"{who} {number} came into {together}'s EXEC")
            together = (who, int(left))
            expect(numbers[who] == int(number), f"{who} {number} instead of {numbers[who]}")
            numbers[who] += 1
        expect(numbers == sent, f"got {numbers}, sent {sent}")

    for i in range(subscribers):
        crowd.add(subscribe, i % 2 == 1)
    for i in range(publishers):
        crowd.add(publish, f"publisher{i}")
    crowd.join()
    return f"{sum(sent.values())} messages to {subscribers} subscribers"


def now_ms():
    return int(time.time() * 1000)


def check_expirations(server, seed, seconds):
    """A key that nobody touches is told of as expired once, not before its time, and within a second of it, while
    others keep the server busy and bring keys that expire, too. (Waits longer than that second for a machine that is
    busy with other things.)"""
    crowd = Crowd(server, seed, seconds + 30)
    control = server.connect()
    control.value("CONFIG", "SET", "notify-keyspace-events", "Ex")
    writing_until = time.monotonic() + seconds
    due, told, lock = {}, {}, threading.Lock()  # due: no sooner and no later than
    writers_left, events = [4], server.connect(timeout=30)
    events.send("SUBSCRIBE", "__keyevent@0__:expired")
    events.read_reply()

    def write(connection, r, me):
        mine = {}
        while time.monotonic() < writing_until and not crowd.errors:
            names = [f"{me}/{len(mine) + i}" for i in range(20)]
            lives = [r.randint(100, 1500) for _ in names]
            kinds = [r.choice([["SET", name, "v"], ["HSET", name, "f", "v"], ["RPUSH", name, "v"]]) for name in names]
            sent = now_ms()
            connection.pipeline([command for name, life, kind in zip(names, lives, kinds)
                                 for command in (kind, ["PEXPIRE", name, life])])  # fmt: skip
            written = now_ms()
            mine.update({name: (sent + life, written + life) for name, life in zip(names, lives)})
        with lock:
            due.update(mine)
            due[f"{me}/last"] = (now_ms() + 100, now_ms() + 30000)
            writers_left[0] -= 1
        connection.value("SET", f"{me}/last", "v", "PX", 100)  # for the listener to wake up

    def listen(connection, _):
        while writers_left[0] > 0 or len(told) < len(due):
            expect(not crowd.errors, "a client failed")
            name = events.read_reply().plain()[-1].decode()
            expect(name not in told, f"{name} expired twice")
            told[name] = now_ms()

    for i in range(4):
        crowd.add(write, f"writer{i}")
    crowd.add(listen)
    crowd.noise(lambda: writers_left[0] > 0 and not crowd.errors)
    crowd.join()
    control.value("CONFIG", "SET", "notify-keyspace-events", "")
    expect(told.keys() == due.keys(), f"told of {len(told)} keys, written {len(due)}")
    early = min(told[name] - at for name, (at, _) in due.items())
    expect(early >= 0, f"an event came {-early} ms before its time")
    late = sorted(told[name] - at for name, (_, at) in due.items())
    expect(late[len(late) * 99 // 100] <= 3000, f"one of a hundred events came {late[len(late) * 99 // 100]} ms late")
    for connection in (control, events):
        connection.close()
    return f"{len(told)} keys, the last event {late[-1]} ms after its time, half within {late[len(late) // 2]} ms"


CHECKS = {name[6:]: check for name, check in list(globals().items()) if name.startswith("check_")}


@contextlib.contextmanager
def keep_cold(server, cold):
    """Flushes all the time, so that what leaves RAM is on disk only."""
    over = threading.Event()

    def work():
        connection = server.connect(timeout=30)
        while not over.wait(0.03):
            server.flush(connection)
        connection.close()

    thread = threading.Thread(target=work, daemon=True)
    if cold:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if cold:
            thread.join(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", help=", ".join(CHECKS))
    parser.add_argument("--server", default=servers.REDIS_SERVER, help="our server's program")
    parser.add_argument("--option", action="append", help="option for the server, as in --option='--maxmemory 64kb'")
    parser.add_argument("--cold", action="store_true", help="our server keeps nothing in RAM")
    parser.add_argument("--seed", type=int, help="a number; drawn and printed if left out")
    parser.add_argument("--seconds", type=float, default=2.0, help="per check")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {args.seed}", flush=True)
    options = servers.split_options(args.option)
    if servers.is_redis(args.server):
        options = servers.ORACLE_OPTIONS + options
        args.cold = False
    if args.cold:
        options = servers.COLD_OPTIONS + options
    failed = 0
    with servers.Server(args.server, options) as server:
        for name in args.checks or CHECKS:
            control = server.connect()
            control.value("FLUSHALL")
            control.close()
            try:
                with keep_cold(server, args.cold):
                    print(f"{name}: {CHECKS[name](server, args.seed, args.seconds)}", flush=True)
            except Exception as error:  # a rule that does not hold, or a connection that broke
                failed += 1
                print(f"{name} FAILED: {type(error).__name__}: {error}", flush=True)
                if not server.alive():
                    print(server.log_tail())
                    break
        if args.cold and server.alive():
            print(f"commands waited for the disk {server.faults()} times")
            if server.faults() < 100:
                print("the run was not cold: it has tested nothing")
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
