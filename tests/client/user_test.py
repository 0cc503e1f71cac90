#!/usr/bin/python3
"""What a user does with the usual clients: redis-py, redis-cli, redis-benchmark, ten thousand idle connections.

    user_test.py --server build/release/bin/thermocline-server [-v] [TestName ...]

suite.py says how the tests are run.
"""

import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time
import unittest

import suite
from lib import resp, servers
from suite import WithServer

try:
    import redis
except ImportError:
    redis = None

IDLE_CONNECTIONS = 10000
IDLE_RSS_MAX = 200 << 20


class RedisPy(WithServer):
    """redis-py as an application uses it."""

    def setUp(self):
        if redis is None:
            self.skipTest("redis-py is not installed (python3-redis)")
        super().setUp()
        self.r = redis.Redis(port=self.server.port)
        self.text = redis.Redis(port=self.server.port, decode_responses=True)
        self.addCleanup(self.r.close)
        self.addCleanup(self.text.close)

    def test_strings(self):
        r = self.r
        self.assertTrue(r.set("a", "1"))
        self.assertEqual(r.get("a"), b"1")
        self.assertEqual(r["a"], b"1")
        self.assertIsNone(r.get("missing"))
        self.assertIsNone(r.set("a", "2", nx=True))
        self.assertTrue(r.set("a", "2", xx=True, ex=100))
        self.assertTrue(0 < r.ttl("a") <= 100)
        self.assertEqual(r.set("a", "3", get=True), b"2")
        self.assertEqual(r.append("a", "xyz"), 4)
        self.assertEqual(r.strlen("a"), 4)
        self.assertEqual(r.getrange("a", 1, 2), b"xy")
        self.assertEqual(r.setrange("a", 2, "__"), 4)
        self.assertEqual(r.getset("a", "5"), b"3x__")
        self.assertEqual(r.getdel("a"), b"5")
        self.assertEqual(r.getex("a"), None)
        self.assertTrue(r.setex("b", 100, b"\x00\xff"))
        self.assertEqual(r.getex("b", persist=True), b"\x00\xff")
        self.assertEqual(r.ttl("b"), -1)

    def test_numbers(self):
        r = self.r
        self.assertEqual(r.incr("n"), 1)
        self.assertEqual(r.incrby("n", 10), 11)
        self.assertEqual(r.decr("n", 5), 6)
        self.assertAlmostEqual(r.incrbyfloat("n", 0.5), 6.5)
        r.set("word", "abc")
        with self.assertRaises(redis.ResponseError):
            r.incr("word")

    def test_bits(self):
        r = self.r
        self.assertEqual(r.setbit("b", 7, 1), 0)
        self.assertEqual(r.getbit("b", 7), 1)
        self.assertEqual(r.bitcount("b"), 1)
        self.assertEqual(r.bitpos("b", 1), 7)
        r.set("c", b"\xff")
        self.assertEqual(r.bitop("AND", "d", "b", "c"), 1)
        self.assertEqual(r.get("d"), b"\x01")
        self.assertEqual(r.bitfield("f").set("u8", 0, 255).incrby("u8", 0, 1).execute(), [0, 0])

    def test_many_and_keys(self):
        r = self.text
        values = {f"k{i}": str(i) for i in range(1000)}
        self.assertTrue(r.mset(values))
        self.assertEqual(r.mget(list(values) + ["missing"]), list(values.values()) + [None])
        self.assertEqual(r.dbsize(), 1000)
        self.assertEqual(set(r.keys("*")), set(values))
        self.assertEqual(set(r.scan_iter()), set(values))
        self.assertEqual(set(r.scan_iter(match="k1*", count=7)), {k for k in values if k.startswith("k1")})
        self.assertEqual(set(r.scan_iter(_type="string")), set(values))
        self.assertIn(r.randomkey(), values)
        self.assertEqual(r.exists("k1", "k2", "nope"), 2)
        self.assertEqual(r.delete("k1", "k2", "nope"), 2)
        self.assertEqual(r.unlink("k3"), 1)
        self.assertEqual(r.touch("k4", "k5"), 2)
        self.assertTrue(r.rename("k4", "renamed"))
        self.assertFalse(r.renamenx("k5", "renamed"))
        self.assertTrue(r.copy("k5", "copied"))
        self.assertEqual(r.type("copied"), "string")
        self.assertTrue(r.move("copied", 3))
        other = redis.Redis(port=self.server.port, db=3, decode_responses=True)
        self.assertEqual(other.get("copied"), "5")
        other.flushdb()
        other.close()
        self.assertTrue("k6" in r)
        self.assertFalse(r.msetnx({"k6": "x", "new": "y"}))
        self.assertFalse(r.exists("new"))

    def test_expiry(self):
        r = self.r
        r.set("a", "1")
        self.assertEqual(r.ttl("a"), -1)
        self.assertEqual(r.ttl("missing"), -2)
        self.assertTrue(r.expire("a", 100))
        self.assertFalse(r.expire("a", 50, gt=True))
        self.assertTrue(r.expire("a", 50, lt=True))
        self.assertTrue(r.expireat("a", int(time.time()) + 500))
        self.assertAlmostEqual(r.expiretime("a"), time.time() + 500, delta=3)
        self.assertTrue(r.persist("a"))
        r.psetex("short", 60, "x")
        r.set("short2", "x", px=60)
        time.sleep(0.2)
        self.assertIsNone(r.get("short"))
        self.assertEqual(r.exists("short2"), 0)
        self.assertTrue(r.expire("a", -1))
        self.assertIsNone(r.get("a"))

    def test_pipeline(self):
        pipe = self.text.pipeline(transaction=False)
        for i in range(5000):
            pipe.set(f"p{i}", i).incr("count")
        replies = pipe.execute()
        self.assertEqual(replies[1::2], list(range(1, 5001)))
        pipe.get("p1").incr("p1").get("missing")
        self.assertEqual(pipe.execute(), ["1", 2, None])
        pipe.set("w", "abc").incr("w").get("w")
        replies = pipe.execute(raise_on_error=False)
        self.assertIsInstance(replies[1], redis.ResponseError)
        self.assertEqual(replies[2], "abc")

    def test_binary_and_large(self):
        key, value = bytes(range(256)), random.Random(1).randbytes(3_000_000)
        self.r.set(key, value)
        self.assertEqual(self.r.get(key), value)
        self.assertEqual(self.r.keys(), [key])
        self.assertEqual(self.r.getrange(key, 1_000_000, 1_000_009), value[1_000_000:1_000_010])
        self.r.set("text", "grüße €")
        self.assertEqual(self.text.get("text"), "grüße €")

    def test_pool_and_threads(self):
        pool = redis.BlockingConnectionPool(port=self.server.port, max_connections=8, timeout=20)
        client = redis.Redis(connection_pool=pool)
        failures = []

        def work(number):
            try:
                for i in range(200):
                    client.incr("shared")
                    client.set(f"t{number}", i)
                    if int(client.get(f"t{number}")) != i:
                        failures.append(number)
            except Exception as error:  # seen by the assertion below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(client.get("shared"), b"4000")
        pool.disconnect()

    def test_server_calls(self):
        r = self.text
        self.assertTrue(r.ping())
        self.assertEqual(r.echo("x"), "x")
        self.assertEqual(r.info("server")["redis_version"], "7.0.15")
        self.assertIn("used_memory", r.info())
        self.assertEqual(r.config_get("databases"), {"databases": "16"})
        self.assertTrue(r.config_set("timeout", 0))
        self.assertTrue(r.client_setname("tester"))
        self.assertEqual(r.client_getname(), "tester")
        self.assertIn("tester", [row["name"] for row in r.client_list()])
        self.assertEqual(r.client_info()["name"], "tester")
        self.assertGreater(r.client_id(), 0)
        self.assertAlmostEqual(r.time()[0], time.time(), delta=3)
        self.assertGreater(r.command_count(), 50)
        self.assertIn("get", r.command())
        r.set("n", 5)
        self.assertEqual(r.object("encoding", "n"), "int")
        self.assertGreater(r.memory_usage("n"), 0)
        self.assertTrue(r.flushdb())
        self.assertEqual(r.dbsize(), 0)

    def test_lock_free_retry_after_disconnect(self):
        self.r.set("a", "1")
        for row in self.r.client_list():
            try:
                self.r.client_kill_filter(_id=row["id"], skipme=False)
            except redis.ConnectionError:
                pass
        self.assertEqual(redis.Redis(port=self.server.port).get("a"), b"1")


class Password(WithServer):
    """requirepass, as redis-py and redis-cli meet it."""

    own_options = ("--requirepass", "secret")

    def test_redis_py(self):
        if redis is None:
            self.skipTest("redis-py is not installed (python3-redis)")
        with self.assertRaises(redis.AuthenticationError):
            redis.Redis(port=self.server.port).get("a")
        with self.assertRaises((redis.AuthenticationError, redis.ResponseError)):
            redis.Redis(port=self.server.port, password="wrong").get("a")
        self.assertTrue(redis.Redis(port=self.server.port, password="secret").set("a", 1))
        self.assertTrue(redis.Redis(port=self.server.port, username="default", password="secret").ping())

    def test_redis_cli(self):
        out = subprocess.run(["redis-cli", "-p", str(self.server.port), "-a", "secret", "--no-auth-warning", "PING"],
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
        self.assertEqual(out, "PONG\n")


class RedisCli(WithServer):
    """redis-cli and redis-benchmark in their modes."""

    def cli(self, *args, stdin=None):
        command = ["redis-cli", "-p", str(self.server.port), *args]
        result = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.decode(errors="replace")

    def fill(self, count):
        connection = self.server.connect()
        connection.value("MSET", *[part for i in range(count) for part in (f"key:{i}", "v" * (i % 100 + 1))])
        connection.close()

    def test_calls(self):
        self.assertEqual(self.cli("PING"), "PONG\n")
        self.assertEqual(self.cli("SET", "a", "hello world"), "OK\n")
        self.assertEqual(self.cli("GET", "a"), "hello world\n")
        self.assertEqual(self.cli("--no-raw", "GET", "a"), '"hello world"\n')
        self.assertEqual(self.cli("--no-raw", "GET", "missing"), "(nil)\n")
        self.assertEqual(self.cli("--no-raw", "STRLEN", "a"), "(integer) 11\n")
        self.assertEqual(self.cli("-n", "5", "GET", "a"), "\n")
        self.assertEqual(self.cli("-x", "SET", "in", stdin=b"from stdin"), "OK\n")
        self.assertEqual(self.cli("GET", "in"), "from stdin\n")
        self.assertEqual(self.cli(stdin=b"SET k 1\nINCR k\nGET k\n"), "OK\n2\n2\n")
        self.assertIn("ERR wrong number", self.cli("GET"))
        self.assertEqual(self.cli("-r", "3", "INCR", "n"), "1\n2\n3\n")

    def test_resp3(self):
        self.assertEqual(self.cli("-3", "PING"), "PONG\n")
        self.assertEqual(self.cli("-3", "--no-raw", "GET", "missing"), "(nil)\n")
        self.assertIn('1# "timeout" => ', self.cli("-3", "--no-raw", "CONFIG", "GET", "timeout"))
        self.assertIn("redis_version:7.0.15", self.cli("-3", "INFO", "server"))

    def test_scan(self):
        self.fill(2500)
        keys = self.cli("--scan").split()
        self.assertEqual(sorted(set(keys)), sorted(f"key:{i}" for i in range(2500)))
        keys = self.cli("--scan", "--pattern", "key:7*").split()
        self.assertEqual(set(keys), {f"key:{i}" for i in range(2500) if str(i).startswith("7")})

    def test_bigkeys(self):
        self.fill(500)
        self.cli("SET", "biggest", "x" * 5000)
        out = self.cli("--bigkeys")
        self.assertIn("Biggest string found '\"biggest\"' has 5000 bytes", out)
        self.assertIn("501 strings with", out)
        self.assertIn("biggest", self.cli("--memkeys"))

    def test_pipe(self):
        data = b"".join(resp.encode_command(["SET", f"pipe{i}", i]) for i in range(10000))
        self.assertIn("errors: 0, replies: 10000", self.cli("--pipe", stdin=data))
        self.assertEqual(self.cli("DBSIZE"), "10000\n")

    def test_redis_benchmark(self):
        out = subprocess.run(
            ["redis-benchmark", "-p", str(self.server.port), "-n", "5000", "-c", "20", "-P", "8", "-r", "1000",
             "-t", "ping_inline,ping_mbulk,set,get,incr,mset", "-q"],
            capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
        self.assertEqual(out.stderr.replace("\n", ""), "")
        self.assertEqual(out.stdout.count("requests per second"), 6, out.stdout)


class Idle(WithServer):
    """Many connections that do nothing."""

    own_options = ("--maxclients", str(IDLE_CONNECTIONS + 100))

    @classmethod
    def setUpClass(cls):
        # The server inherits the limit, so it is raised before the start.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        need = IDLE_CONNECTIONS + 500
        if soft < need:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(hard, need)))
            except (ValueError, OSError) as error:
                raise unittest.SkipTest(f"needs {need} open files, the limit is {soft}, hard {hard}") from error
        super().setUpClass()

    def test_ten_thousand_idle_connections(self):
        open_sockets = []
        try:
            for number in range(IDLE_CONNECTIONS):
                connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
                open_sockets.append(connection)
                if number % 100 == 99:  # the server keeps up: it has accepted all up to this one
                    connection.sendall(b"PING\r\n")
                    self.assertEqual(connection.recv(100), b"+PONG\r\n")
            # Each has been used once, so that buffers that stay are counted.
            for connection in open_sockets:
                connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\n" + b"v" * 100 + b"\r\n")
            for connection in open_sockets:
                self.assertEqual(connection.recv(100), b"+OK\r\n")
            connection = self.server.connect()
            self.assertEqual(connection.value("GET", "k"), b"v" * 100)
            self.assertIn(f"connected_clients:{IDLE_CONNECTIONS + 1}".encode(), connection.value("INFO", "clients"))
            # Redis gives back the buffers of idle clients little by little; ours may do so as well.
            limit = time.monotonic() + 15
            while self.server.rss_bytes() >= IDLE_RSS_MAX and time.monotonic() < limit:
                time.sleep(0.5)
            rss = self.server.rss_bytes()
            # Sanitizers bring their own allocator, and several times the memory.
            plain = b"mem_allocator:jemalloc" in connection.value("INFO", "memory")
            connection.close()
            if plain and not servers.is_redis(self.binary):
                self.assertLess(rss, IDLE_RSS_MAX, f"{rss / 1e6:.0f} MB")
            print(f"{self.server.name}: {IDLE_CONNECTIONS} idle connections, {rss / 1e6:.0f} MB", file=sys.stderr)
        finally:
            for connection in open_sockets:
                connection.close()


class SlowReader(WithServer):
    """A client that asks for more than it reads must not fill the server's memory."""

    own_options = ("--client-output-buffer-limit", "normal 20mb 0 0")

    def test_is_cut_off(self):
        connection = self.server.connect()
        connection.value("SET", "k", b"x" * 1000000)
        before = self.server.rss_bytes()
        slow = self.server.connect()
        try:
            slow.send_raw(b"GET k\r\n" * 200)
            size, closed = 0, False
            while not closed:
                data, closed = slow.read_available(15.0, limit=1 << 20)
                size += len(data)
                if not data and not closed:
                    break
                if size < 2000000:
                    time.sleep(0.3)
        finally:
            slow.close()
        self.assertTrue(closed, f"all {size} bytes came, the limit did nothing")
        self.assertLess(size, 150000000)
        self.assertEqual(connection.value("STRLEN", "k"), 1000000)
        # What lies beyond the limit is not copied first: twice the limit for a buffer that grows, and some room.
        if b"mem_allocator:jemalloc" in connection.value("INFO", "memory"):
            self.assertLess(self.server.rss_bytes("VmHWM") - before, 80000000)
        connection.close()


class LongCommands(WithServer):
    """KEYS and SCAN over data that is on disk do not hold up other clients. Redis does stop there: ours only."""

    own_options = ()
    KEYS = 300000
    LATENCY_MAX_S = 0.25

    @classmethod
    def setUpClass(cls):
        if servers.is_redis(cls.binary):
            raise unittest.SkipTest("Redis stops the world for KEYS")
        cls.options = ["--maxmemory", "1mb", *cls.options]
        super().setUpClass()

    def test_keys_beside_ping(self):
        connection = self.server.connect(timeout=120)
        for first in range(0, self.KEYS, 1000):
            pairs = [part for i in range(first, first + 1000) for part in (f"user:{i}", f"value {i}" * 10)]
            connection.value("MSET", *pairs)
        self.assertEqual(connection.value("DBSIZE"), self.KEYS)
        connection.send("KEYS", "*")
        connection.send("KEYS", "nothing*else")
        other, worst, count = self.server.connect(), 0.0, 0
        begin = time.monotonic()
        answered = threading.Event()
        found = []

        def read():
            found.append(len(connection.read_reply().value))
            found.append(len(connection.read_reply().value))
            answered.set()

        thread = threading.Thread(target=read)
        thread.start()
        while not answered.is_set() and time.monotonic() - begin < 60:
            at = time.monotonic()
            other.value("SET", "ping", str(count))
            other.value("GET", f"user:{count * 7919 % self.KEYS}")
            worst, count = max(worst, time.monotonic() - at), count + 1
            time.sleep(0.001)  # leaves the interpreter to the reader, whose work would be counted otherwise
        thread.join()
        self.assertIn(found[0], (self.KEYS, self.KEYS + 1))
        self.assertEqual(found[1], 0)
        self.assertLess(worst, self.LATENCY_MAX_S, f"of {count} round trips one took {worst:.3f} s")
        connection.close()
        other.close()


class Watched(WithServer):
    """Commands that wait for the disk run more than once, and are told once; the waits are counted."""

    KEYS = 2000

    @classmethod
    def setUpClass(cls):
        if servers.is_redis(cls.binary):
            raise unittest.SkipTest("Redis has no cold reads")
        small = ["--maxmemory", "64kb", "--rocksdb-block-cache-size", "64kb", "--rocksdb-write-buffer-size", "1mb"]
        cls.options = [*small, "--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000", *cls.options]
        super().setUpClass()

    def test_cold_reads(self):
        connection = self.server.connect()
        noise = random.Random(4)
        for i in range(self.KEYS):
            connection.value("SET", f"key:{i}", noise.randbytes(2000))
        connection.close()
        self.server.terminate()  # what was in the memtable goes to files, and RAM is empty
        self.server.start()
        connection, monitor = self.server.connect(), self.server.connect()
        self.assertEqual(monitor.value("MONITOR"), b"OK")
        expected, gets = [], 0
        for i in range(0, self.KEYS, 10):
            keys = [f"key:{noise.randrange(self.KEYS)}" for _ in range(3)]
            if i % 30 == 0:
                connection.value("MULTI")
                for key in keys:
                    connection.value("STRLEN", key)
                self.assertEqual(connection.value("EXEC"), [2000] * 3)
                expected += ["MULTI"] + [f"STRLEN {key}" for key in keys] + ["EXEC"]
            else:
                for reply in connection.pipeline([("GET", key) for key in keys]):
                    self.assertEqual(len(reply.value), 2000)
                expected += [f"GET {key}" for key in keys]
                gets += 3
        shown = [monitor.read_reply().value.decode() for _ in expected]
        self.assertEqual([" ".join(line.split('"')[1::2]) for line in shown], expected)
        text = connection.value("INFO", "thermocline").decode()
        info = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
        self.assertGreater(int(info["fault_waits"]), 0)
        self.assertGreater(int(info["fault_wait_us"]), 0)
        self.assertRegex(info["fault_wait_percentiles_usec"], r"^p50=[1-9][0-9.]*,p99=[0-9.]+,p99.9=[0-9.]+$")
        self.assertEqual(connection.value("LATENCY", "HISTOGRAM", "get")[1][1], gets)
        logged = [b" ".join(entry[3]).decode() for entry in connection.value("SLOWLOG", "GET", "-1")]
        wanted = [line for line in expected if line != "EXEC"]
        self.assertEqual([line for line in reversed(logged) if line.split()[0] in ("GET", "MULTI", "STRLEN")], wanted)
        connection.close()
        monitor.close()

    def test_events(self):
        """A commit and a command that take a millisecond are there to be seen."""
        connection = self.server.connect()
        connection.value("CONFIG", "SET", "latency-monitor-threshold", "1")
        connection.value("SET", "large", "x" * (64 << 20))
        limit = time.monotonic() + 30
        while True:
            events = {event[0].decode(): event for event in connection.value("LATENCY", "LATEST")}
            if {"command", "commit", "fsync"} <= set(events):
                break
            self.assertLess(time.monotonic(), limit, f"only {sorted(events)}")
            connection.value("SET", "large", "x" * (64 << 20))
            time.sleep(0.1)
        for name, (_, at, latest, worst) in events.items():
            self.assertTrue(0 < latest <= worst, name)
            self.assertLess(abs(time.time() - at), 100)
            self.assertEqual(connection.value("LATENCY", "HISTORY", name)[-1][0], at)
            self.assertIn(name.encode(), connection.value("LATENCY", "GRAPH", name))
            self.assertIn(name.encode() + b": ", connection.value("LATENCY", "DOCTOR"))
        self.assertEqual(connection.value("LATENCY", "RESET", "commit"), 1)
        connection.value("CONFIG", "SET", "latency-monitor-threshold", "0")
        connection.close()


CONFIG = """# a comment that stays
timeout 0

maxmemory-samples 7
# another comment
requirepass "with space"
client-output-buffer-limit normal 0 0 0
"""


class ConfigFile(WithServer):
    """A file in redis.conf syntax, options over it, CONFIG REWRITE, a Unix socket, errors at the start."""

    def setUp(self):
        pass

    def start(self, config, options=()):
        base = servers.ORACLE_OPTIONS if servers.is_redis(self.binary) else []
        server = servers.Server(self.binary, base + list(self.options) + list(options), config=config, wait_s=15)
        self.addCleanup(server.stop)
        return server.start()

    def test_file_and_rewrite(self):
        server = self.start(CONFIG, ["--maxmemory-samples", "8"])
        connection = server.connect()
        self.assertTrue(connection.call("GET", "a").raw.startswith(b"-NOAUTH"))
        connection.value("AUTH", "with space")
        self.assertEqual(connection.value("CONFIG", "GET", "maxmemory-samples")[1], b"8")
        connection.value("CONFIG", "SET", "timeout", "77")
        connection.value("CONFIG", "SET", "lfu-log-factor", "3")
        connection.value("CONFIG", "REWRITE")
        connection.close()
        with open(server.config_path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        for line in ("# a comment that stays", "# another comment", "timeout 77", "maxmemory-samples 8",
                     "lfu-log-factor 3", 'requirepass "with space"'):  # fmt: skip
            self.assertIn(line, lines)
        self.assertNotIn("timeout 0", lines)
        server.terminate()
        server.start()
        connection = server.connect()
        connection.value("AUTH", "with space")
        self.assertEqual(connection.value("CONFIG", "GET", "timeout")[1], b"77")
        connection.close()

    def test_include(self):
        server = self.start("timeout 5\n")
        other = os.path.join(server.directory, "other.conf")
        with open(other, "w", encoding="utf-8") as file:
            file.write("timeout 33\n")
        server.terminate()
        with open(server.config_path, "w", encoding="utf-8") as file:
            file.write(f"timeout 5\ninclude {other}\n")
        server.start()
        connection = server.connect()
        self.assertEqual(connection.value("CONFIG", "GET", "timeout")[1], b"33")
        connection.close()

    def test_bad_files_are_refused(self):
        for text, number in (("timeout 0\nnonsense yes\n", 2), ("timeout abc\n", 1), ("\n\ntimeout\n", 3),
                             ('requirepass "unbalanced\n', 1)):  # fmt: skip
            with self.assertRaises(servers.StartError) as caught:
                self.start(text)
            # Redis prints "Reading the configuration file, at line N", and then the line itself.
            self.assertIn(f"line {number}", str(caught.exception))

    def test_unix_socket(self):
        path = f"/tmp/thermocline-test-{os.getpid()}.sock"
        server = self.start("", ["--unixsocket", path, "--unixsocketperm", "700"])
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.sendall(b"PING\r\n")
        self.assertEqual(client.recv(100), b"+PONG\r\n")
        client.close()
        server.terminate()


class Durable(WithServer):
    """What is written is there after a restart; only for our server, which always keeps its data."""

    def test_restart(self):
        if servers.is_redis(self.binary):
            self.skipTest("the oracle keeps nothing")
        connection = self.server.connect()
        connection.value("SET", "a", "1")
        connection.value("SET", "b", "2", "EX", 1000)
        connection.value("SELECT", 5)
        connection.value("SET", "c", "x" * 500000)
        connection.close()
        self.assertEqual(self.server.terminate(), 0)
        self.server.start()
        connection = self.server.connect()
        self.assertEqual(connection.value("GET", "a"), b"1")
        self.assertTrue(900 < connection.value("TTL", "b") <= 1000)
        self.assertEqual(connection.value("DBSIZE"), 2)
        connection.value("SELECT", 5)
        self.assertEqual(connection.value("STRLEN", "c"), 500000)
        connection.close()


    def test_checkpoint(self):
        """A server started on the directory that BGSAVE and SAVE write has what was there at that moment."""
        if servers.is_redis(self.binary):
            self.skipTest("the oracle writes an RDB file")
        connection = self.server.connect()
        connection.value("SET", "small", "1", "EX", 1000)
        connection.value("SET", "large", "x" * 300000)
        for command in ("BGSAVE", "SAVE"):
            connection.value("SET", "by", command)
            before = connection.value("LASTSAVE")
            connection.value(command)
            limit = time.monotonic() + 30
            while b"rdb_bgsave_in_progress:1" in connection.value("INFO", "persistence"):
                self.assertLess(time.monotonic(), limit)
                time.sleep(0.01)
            self.assertGreaterEqual(connection.value("LASTSAVE"), before)
            connection.value("SET", "by", "something later")
            copy = servers.Server(self.binary, directory=os.path.join(self.server.directory, "checkpoint"))
            copy.start()
            try:
                other = copy.connect()
                self.assertEqual(other.value("GET", "by"), command.encode())
                self.assertEqual(other.value("STRLEN", "large"), 300000)
                self.assertTrue(900 < other.value("TTL", "small") <= 1000)
                self.assertEqual(other.value("DBSIZE"), 3)
                other.close()
            finally:
                self.assertEqual(copy.terminate(), 0)
        self.assertEqual(connection.value("GET", "by"), b"something later")
        connection.close()


if __name__ == "__main__":
    classes = [RedisPy, Password, RedisCli, Idle, SlowReader, LongCommands, Watched, ConfigFile, Durable]
    sys.exit(suite.main(__doc__, classes))
