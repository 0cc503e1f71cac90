"""Collections that are large or used for long: queues after millions of passes, pauses that work on a huge key makes
for others, memory of resident rows."""

import math
import statistics
import subprocess
import threading
import time

from benchmarks import say
from benchmarks.workloads import batches, member, send_all


def rate(server, args, requests, pipeline=16, clients=8, keys=1000000):
    """Requests per second of one redis-benchmark run."""
    command = ["redis-benchmark", "-p", str(server.port), "-c", str(clients), "-n", str(requests), "-P", str(pipeline),
               "-r", str(keys), "--csv"] + args  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float([line for line in result.stdout.splitlines() if line.startswith('"')][-1].rsplit(",", 7)[1].strip('"'))


def run_queue(bench):
    """A list and a sorted set with waiting elements, through which many more pass: does it keep its speed?"""
    scale = 10 if bench.args.quick else 1
    waiting, step, rounds = 1000000 // scale, 500000 // scale, 10
    queues = {
        "list (LPUSH, RPOP)": (
            batches(b"LPUSH", b"q", ([b"job:%d" % i] for i in range(waiting))),
            [["LPUSH", "q", "job:__rand_int__"], ["RPOP", "q"]],
        ),
        "sorted set (ZADD, ZRANGEBYSCORE, ZPOPMIN)": (
            batches(b"ZADD", b"z", ([b"%d" % i, member(i)] for i in range(waiting))),
            [
                ["ZADD", "z", "__rand_int__", "element:__rand_int__"],
                ["ZRANGEBYSCORE", "z", "-inf", "500000", "LIMIT", "0", "10"],
                ["ZPOPMIN", "z"],
            ],
        ),
    }
    lines = [f"queues with {waiting} waiting elements; {rounds} rounds of {step} each of the commands, P16, ops/s:"]
    for name, (filling, commands) in queues.items():
        filling = list(filling)
        try:
            both = bench.start_both()
            first, last, cpu = {}, {}, {}
            for server in both:
                send_all(server, filling)
                before = server.cpu_seconds()
                for round_number in range(rounds):
                    begin = time.monotonic()
                    for args in commands:
                        rate(server, args, step)
                    ops = step * len(commands) / (time.monotonic() - begin)
                    first.setdefault(server.name, ops)
                    last[server.name] = ops
                    say(f"queue  {name}  {server.name}  round {round_number + 1}: {ops:.0f} ops/s")
                cpu[server.name] = (server.cpu_seconds() - before) / (step * len(commands) * rounds) * 1e6
        finally:
            bench.stop_both()
        for server in first:
            lines.append(f"  {name:44} {server:6} first round {first[server]:9.0f}, last {last[server]:9.0f}"
                         f" ({last[server] / first[server]:.2f} of it), {cpu[server]:.2f} us CPU per op")  # fmt: skip
        lines.append(f"  {name:44} ours/redis {last['ours'] / last['redis']:.2f}, CPU {cpu['ours'] / cpu['redis']:.2f}")
    return "\n".join(lines)


class Pinger:
    """Pings on a connection of its own and keeps the longest wait."""

    def __init__(self, server):
        self.connection = server.connect(timeout=120)
        self.stop = threading.Event()
        self.waits_ms = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            begin = time.monotonic()
            self.connection.value("PING")
            self.waits_ms.append((time.monotonic() - begin) * 1000)
            time.sleep(0.0002)

    def finish(self):
        self.stop.set()
        self.thread.join()
        self.connection.close()
        return max(self.waits_ms)


def consume(server, args, bytes_max=None):
    """Sends a command and takes its reply off the socket without parsing it, in a process of its own: Python's own
    work must not delay the pings. Returns the seconds until the last byte."""
    script = (
        "import socket,sys,time\n"
        "s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));s.settimeout(300)\n"
        "a=[x.encode('latin-1') for x in sys.argv[2:]]\n"
        "b=time.monotonic();s.sendall(b'*%d\\r\\n'%len(a)+b''.join(b'$%d\\r\\n%s\\r\\n'%(len(x),x) for x in a))\n"
        "s.recv(1<<20);s.settimeout(0.7)\n"
        "e=time.monotonic()\n"
        "try:\n"
        "  while s.recv(1<<22): e=time.monotonic()\n"
        "except socket.timeout: pass\n"
        "print(e-b)\n"
    )
    result = subprocess.run(["/usr/bin/python3", "-c", script, str(server.port)] + args, capture_output=True, text=True,
                            check=True)  # fmt: skip
    return float(result.stdout)


def run_pauses(bench):
    """Works on one huge key, while another connection pings: the longest ping, and the command's own time."""
    rows = 200000 if bench.args.quick else 5000000
    listed = rows // 5
    steps = [
        ("quiet", None),
        ("HGETALL", ["HGETALL", "h"]),
        ("SMEMBERS", ["SMEMBERS", "s"]),
        ("ZRANGE 0 -1", ["ZRANGE", "z", "0", "-1"]),
        ("LRANGE 0 -1", ["LRANGE", "l", "0", "-1"]),
        ("LINSERT middle", ["LINSERT", "l", "BEFORE", f"element:{listed // 2}", "x"]),
        ("LREM middle", ["LREM", "l", "1", f"element:{listed // 2 + 1}"]),
        ("LTRIM half", ["LTRIM", "l", "0", str(listed // 2)]),
        ("ZREMRANGEBYSCORE", ["ZREMRANGEBYSCORE", "z", "0", str(rows // 5)]),
        ("ZREMRANGEBYRANK", ["ZREMRANGEBYRANK", "z", "0", str(rows // 5)]),
        ("DEL hash", ["DEL", "h"]),
        ("DEL sorted set", ["DEL", "z"]),
    ]
    lines = [f"works on keys of {rows} rows (the list: {listed}); longest PING beside them in ms, and their own seconds:"]
    try:
        both = bench.start_both()
        found = {}
        for server in both:
            say(f"pauses  filling {server.name}")
            send_all(server, batches(b"HSET", b"h", ([member(i), b"v%d" % i] for i in range(rows)), 400))
            send_all(server, batches(b"SADD", b"s", ([member(i)] for i in range(rows)), 400))
            send_all(server, batches(b"ZADD", b"z", ([b"%d" % i, member(i)] for i in range(rows)), 400))
            send_all(server, batches(b"RPUSH", b"l", ([b"element:%d" % i] for i in range(listed)), 400))
            bench.wait_quiet(server)
            for name, args in steps:
                pinger = Pinger(server)
                time.sleep(0.1)
                took = consume(server, args) if args else 0
                time.sleep(0.5)
                found[server.name, name] = (pinger.finish(), took)
                say(f"pauses  {server.name}  {name}: ping {found[server.name, name][0]:.1f} ms, took {took:.3f} s")
                bench.wait_quiet(server)
        for name, _ in steps:
            redis, ours = found["redis", name], found["ours", name]
            lines.append(f"  {name:18} redis {redis[0]:8.1f} ms  {redis[1]:7.3f} s     ours {ours[0]:8.1f} ms  {ours[1]:7.3f} s")
    finally:
        bench.stop_both()
    return "\n".join(lines)


def run_rows(bench):
    """Bytes of resident collections: used memory before and after."""
    scale = 10 if bench.args.quick else 1
    rows, small = 1000000 // scale, 200000 // scale
    kinds = {
        "hash, one": batches(b"HSET", b"h", ([member(i), b"value:%d" % i] for i in range(rows))),
        "set, one": batches(b"SADD", b"s", ([member(i)] for i in range(rows))),
        "sorted set, one": batches(b"ZADD", b"z", ([b"%d" % i, member(i)] for i in range(rows))),
        "list, one": batches(b"RPUSH", b"l", ([member(i)] for i in range(rows))),
        "hashes of 10": ([b"HSET", b"user:%d" % i] + [w for f in range(10) for w in (b"f%d" % f, b"value:%d" % f)]
                         for i in range(small)),
        "sorted sets of 10": ([b"ZADD", b"top:%d" % i] + [w for f in range(10) for w in (b"%d" % f, b"member:%d" % f)]
                              for i in range(small)),
        "lists of 10": ([b"RPUSH", b"list:%d" % i] + [b"element:%d" % f for f in range(10)] for i in range(small)),
        "sets of 10": ([b"SADD", b"tags:%d" % i] + [b"tag:%d" % f for f in range(10)] for i in range(small)),
    }  # fmt: skip
    lines = [f"memory of resident collections ({rows} rows in one key, or {small} keys of ten), bytes of used memory per row:"]
    ratios = []
    try:
        both = bench.start_both()
        for name, commands in kinds.items():
            commands = list(commands)
            used = {}
            for server in both:
                send_all(server, [[b"FLUSHALL"]])
                bench.wait_quiet(server)
                before = resident_bytes(server)
                send_all(server, commands)
                bench.wait_quiet(server)
                used[server.name] = (resident_bytes(server) - before) / (rows if "one" in name else small * 10)
            ratios.append(used["ours"] / used["redis"])
            lines.append(f"  {name:20} redis {used['redis']:7.1f}   ours {used['ours']:7.1f}   ratio {ratios[-1]:.2f}")
            say(lines[-1])
    finally:
        bench.stop_both()
    lines.append(f"  geometric mean of the ratios {math.exp(statistics.mean(map(math.log, ratios))):.2f}")
    return "\n".join(lines)


def resident_bytes(server):
    """What the data takes in RAM: of ours the hot tier (memtables and caches are bounded, whatever the data)."""
    hot = server.info("hot_bytes", "everything")
    return int(hot if hot is not None else server.info("used_memory", "memory"))


RUNS = {"queue": run_queue, "pauses": run_pauses, "rows": run_rows}
