"""Between clients: messages, transactions, blocked clients."""

import os
import selectors
import socket
import statistics
import subprocess
import tempfile
import time

from benchmarks import say
from benchmarks.collections import rate
from lib import resp


def drain(port, channel, count, ready):
    """Child process: subscribes `count` connections and throws away what comes, until it is killed."""
    selector = selectors.DefaultSelector()
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(resp.encode_command([b"SUBSCRIBE", channel]))
        connection.recv(1 << 16)
        selector.register(connection, selectors.EVENT_READ)
    os.write(ready, b"x")
    while True:
        for key, _ in selector.select():
            key.fileobj.recv(1 << 20)


def publish(server, subscribers, requests):
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            drain(server.port, b"news", subscribers, write_end)
        finally:
            os._exit(0)
    try:
        os.read(read_end, 1)
        before = server.cpu_seconds()
        ops = rate(server, ["PUBLISH", "news", "m" * 64], requests)
        return ops, (server.cpu_seconds() - before) / requests * 1e6
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(read_end)
        os.close(write_end)


def transactions(server, count):
    """MULTI of ten SETs, sent by redis-cli --pipe."""
    with tempfile.NamedTemporaryFile() as file:
        for i in range(count):
            file.write(b"*1\r\n$5\r\nMULTI\r\n")
            for j in range(10):
                file.write(resp.encode_command([b"SET", b"key:%06d" % ((i * 10 + j) * 7919 % 100000), b"x" * 64]))
            file.write(b"*1\r\n$4\r\nEXEC\r\n")
        file.flush()
        before, begin = server.cpu_seconds(), time.monotonic()
        with open(file.name, "rb") as commands:
            result = subprocess.run(["redis-cli", "-p", str(server.port), "--pipe"], stdin=commands, capture_output=True,
                                    text=True, check=True)  # fmt: skip
        if "errors: 0" not in result.stdout:
            raise SystemExit(f"{server.name}: {result.stdout}")
        return count / (time.monotonic() - begin), (server.cpu_seconds() - before) / count * 1e6


def hand_over_us(server, count):
    """From LPUSH until the client that waits in BLPOP has the element: the median."""
    waiting, pushing = server.connect(), server.connect()
    times = []
    for i in range(count):
        waiting.send(b"BLPOP", b"handed", b"10")
        time.sleep(0.0003)
        begin = time.monotonic()
        pushing.send(b"LPUSH", b"handed", b"x")
        waiting.read_reply()
        times.append((time.monotonic() - begin) * 1e6)
        pushing.read_reply()
    return statistics.median(times)


def wake_many_ms(server, clients):
    """From one LPUSH of as many elements as clients wait for the key, until all have theirs."""
    connections = [server.connect() for _ in range(clients)]
    for connection in connections:
        connection.send(b"BLPOP", b"many", b"60")
    time.sleep(0.3)
    pushing = server.connect()
    begin = time.monotonic()
    pushing.send(b"RPUSH", b"many", *[b"%d" % i for i in range(clients)])
    for connection in connections:
        connection.read_reply()
    took = (time.monotonic() - begin) * 1000
    for connection in connections:
        connection.close()
    return took


def run_sessions(bench):
    scale = 10 if bench.args.quick else 1
    lines = ["between clients (for ops/s more is better, for times less):"]

    def row(name, values, unit, better_more):
        redis, ours = values["redis"], values["ours"]
        cpu = f"   CPU us/op {redis[1]:.2f} {ours[1]:.2f} ({ours[1] / redis[1]:.2f})" if redis[1] else ""
        ratio = ours[0] / redis[0] if better_more else redis[0] / ours[0]
        lines.append(f"  {name:28} redis {redis[0]:10.1f}  ours {ours[0]:10.1f} {unit}   ratio {ratio:.2f}{cpu}")
        say(lines[-1])

    try:
        both = bench.start_both()
        for subscribers, requests in ((1, 400000), (10, 150000), (100, 20000)):
            found = {}
            for server in both:
                runs = [publish(server, subscribers, requests // scale) for _ in range(bench.args.rounds)]
                found[server.name] = tuple(statistics.median(column) for column in zip(*runs))
            row(f"PUBLISH to {subscribers}, P16", found, "ops/s", True)
        found = {}
        for server in both:
            runs = [transactions(server, 50000 // scale) for _ in range(bench.args.rounds)]
            found[server.name] = tuple(statistics.median(column) for column in zip(*runs))
        row("MULTI, ten SETs, EXEC", found, "ops/s", True)
        row("BLPOP hand-over", {s.name: (hand_over_us(s, 5000 // scale), 0) for s in both}, "us", False)
        row("1,000 blocked clients woken",
            {s.name: (statistics.median(wake_many_ms(s, 1000) for _ in range(5)), 0) for s in both}, "ms", False)  # fmt: skip
    finally:
        bench.stop_both()
    return "\n".join(lines)


RUNS = {"sessions": run_sessions}
