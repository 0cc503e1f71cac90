#!/usr/bin/python3
"""What applications do between commands and between clients, with redis-py and redis-cli: transactions, WATCH, locks,
messages, blocking pops, slow subscribers.

    sessions_test.py --server build/release/bin/thermocline-server [-v] [TestName ...]

suite.py says how the tests are run.
"""

import subprocess
import sys
import threading
import time
import uuid

import suite
from lib import resp
from suite import WithServer

try:
    import redis
except ImportError:
    redis = None


class WithRedisPy(WithServer):
    def setUp(self):
        if redis is None:
            self.skipTest("redis-py is not installed (python3-redis)")
        super().setUp()
        self.r = self.client()

    def client(self):
        client = redis.Redis(port=self.server.port, decode_responses=True, socket_timeout=20)
        self.addCleanup(client.close)
        return client

    def in_threads(self, count, work):
        """Runs work(number, a client of its own) in threads; what one raises is raised here."""
        errors = []

        def body(number):
            try:
                work(number, self.client())
            except BaseException as error:  # raised again below
                errors.append(error)

        threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if errors:
            raise errors[0]

    def until_blocked(self, count=1):
        limit = time.monotonic() + 10
        while sum("b" in row["flags"] for row in self.r.client_list()) < count:
            self.assertLess(time.monotonic(), limit, "nobody is blocked")
            time.sleep(0.002)


class Transactions(WithRedisPy):
    def test_pipeline(self):
        with self.r.pipeline() as pipe:
            pipe.set("a", 1).incr("a").lpush("l", "x", "y").hset("h", mapping={"f": "v", "g": "w"}).hgetall("h")
            pipe.zadd("z", {"m": 1.5}).zrange("z", 0, -1, withscores=True).smembers("none").get("none")
            self.assertEqual(pipe.execute(), [True, 2, 2, 2, {"f": "v", "g": "w"}, 1, [("m", 1.5)], set(), None])
            self.assertEqual(pipe.execute(), [])

    def test_errors(self):
        pipe = self.r.pipeline()
        pipe.set("a", "text").incr("a").set("b", 1)
        with self.assertRaisesRegex(redis.ResponseError, "Command # 2 .*not an integer"):
            pipe.execute()
        self.assertEqual(self.r.mget("a", "b"), ["text", "1"])
        pipe.set("a", "later").execute_command("NOSUCHCOMMAND")
        pipe.set("b", "later")
        with self.assertRaisesRegex(redis.ResponseError, "unknown command"):
            pipe.execute()
        self.assertEqual(self.r.mget("a", "b"), ["text", "1"])
        pipe.incr("a").get("b")
        replies = pipe.execute(raise_on_error=False)
        self.assertIsInstance(replies[0], redis.ResponseError)
        self.assertEqual(replies[1], "1")

    def test_large(self):
        pipe = self.r.pipeline()
        for i in range(5000):
            pipe.rpush("l", i).hincrby("h", i % 10, i)
        replies = pipe.execute()
        self.assertEqual(replies[::2], list(range(1, 5001)))
        self.assertEqual(sum(map(int, self.r.hvals("h"))), sum(range(5000)))

    def test_watch(self):
        with self.r.pipeline() as pipe:
            pipe.watch("a")
            self.assertIsNone(pipe.get("a"))
            self.client().set("a", "other")
            pipe.multi()
            pipe.set("a", "mine")
            with self.assertRaises(redis.WatchError):
                pipe.execute()
            self.assertEqual(pipe.get("a") and self.r.get("a"), "other")
            pipe.reset()
            pipe.watch("a")
            pipe.unwatch()
            self.client().set("a", "again")
            pipe.multi()
            pipe.set("a", "mine")
            self.assertEqual(pipe.execute(), [True])

    def test_transaction_call(self):
        """Each of eight threads adds fifty; none is lost, whatever WATCH makes them repeat."""

        def work(_, client):
            for _ in range(50):

                def add(pipe):
                    value = int(pipe.get("n") or 0)
                    pipe.multi()
                    pipe.set("n", value + 1)
                    return value + 1

                client.transaction(add, "n", value_from_callable=True)

        self.in_threads(8, work)
        self.assertEqual(self.r.get("n"), "400")

    def test_expired_watched_key(self):
        self.r.set("a", 1, px=30)
        with self.r.pipeline() as pipe:
            pipe.watch("a")
            time.sleep(0.1)
            pipe.multi()
            pipe.set("a", 2)
            with self.assertRaises(redis.WatchError):
                pipe.execute()


class Locks(WithRedisPy):
    """Locks as applications write them without scripts."""

    def test_by_watch(self):
        """The lock is a key that is made under WATCH; inside it a counter is changed without any care."""

        def work(number, client):
            for i in range(10):
                token = f"{number}/{i}"
                while True:
                    with client.pipeline() as pipe:
                        try:
                            pipe.watch("lock")
                            if pipe.get("lock") is None:
                                pipe.multi()
                                pipe.set("lock", token, px=20000)
                                pipe.execute()
                                break
                        except redis.WatchError:
                            continue
                    time.sleep(0.001)
                client.set("n", int(client.get("n") or 0) + 1)
                self.assertEqual(client.get("lock"), token)
                client.delete("lock")

        self.in_threads(6, work)
        self.assertEqual(self.r.get("n"), "60")

    @staticmethod
    def release(client, token):
        """Deletes the lock if it is still ours. Returns whether it was."""
        with client.pipeline() as pipe:
            try:
                pipe.watch("lock")
                if pipe.get("lock") != token:
                    return False
                pipe.multi()
                pipe.delete("lock")
                pipe.execute()
                return True
            except redis.WatchError:
                return False

    def test_by_set_nx(self):
        def work(_, client):
            for _ in range(10):
                token = uuid.uuid4().hex
                while not client.set("lock", token, nx=True, px=20000):
                    time.sleep(0.001)
                client.set("n", int(client.get("n") or 0) + 1)
                self.assertTrue(self.release(client, token))

        self.in_threads(6, work)
        self.assertEqual(self.r.get("n"), "60")

    def test_lost_lock_is_not_freed(self):
        self.assertTrue(self.r.set("lock", "mine", nx=True, px=50))
        self.assertFalse(self.r.set("lock", "yours", nx=True, px=50))
        time.sleep(0.1)
        other = self.client()
        self.assertTrue(other.set("lock", "yours", nx=True, px=20000))
        self.assertFalse(self.release(self.r, "mine"))
        self.assertEqual(self.r.get("lock"), "yours")
        self.assertTrue(self.release(other, "yours"))


class Messages(WithRedisPy):
    def next_message(self, pubsub):
        limit = time.monotonic() + 10
        while time.monotonic() < limit:
            message = pubsub.get_message(timeout=1)
            if message:
                return message["type"], message["pattern"], message["channel"], message["data"]
        self.fail("no message")

    def test_subscribe(self):
        pubsub = self.r.pubsub()
        self.addCleanup(pubsub.close)
        pubsub.subscribe("news", "sport")
        pubsub.psubscribe("n*")
        self.assertEqual([self.next_message(pubsub) for _ in range(3)],
                         [("subscribe", None, "news", 1), ("subscribe", None, "sport", 2),
                          ("psubscribe", None, "n*", 3)])  # fmt: skip
        other = self.client()
        self.assertEqual(other.publish("news", "hello"), 2)
        self.assertEqual([self.next_message(pubsub) for _ in range(2)],
                         [("message", None, "news", "hello"), ("pmessage", "n*", "news", "hello")])  # fmt: skip
        self.assertEqual(other.publish("nobody listens", "x"), 1)
        self.assertEqual(self.next_message(pubsub), ("pmessage", "n*", "nobody listens", "x"))
        self.assertEqual(other.publish("weather", "x"), 0)
        self.assertEqual(sorted(other.pubsub_channels()), ["news", "sport"])
        self.assertEqual(other.pubsub_numsub("news", "weather"), [("news", 1), ("weather", 0)])
        self.assertEqual(other.pubsub_numpat(), 1)
        pubsub.unsubscribe("news")
        self.assertEqual(self.next_message(pubsub), ("unsubscribe", None, "news", 2))
        pubsub.ping()
        self.assertEqual(self.next_message(pubsub)[0], "pong")

    def test_handlers_in_a_thread(self):
        got, done = [], threading.Event()

        def handle(message):
            got.append(message["data"])
            if message["data"] == "end":
                done.set()

        pubsub = self.r.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(news=handle)
        pubsub.get_message(timeout=5)
        thread = pubsub.run_in_thread(sleep_time=0.1)
        other = self.client()
        pipe = other.pipeline()
        for i in range(1000):
            pipe.publish("news", i)
        self.assertEqual(pipe.execute(), [1] * 1000)
        other.publish("news", "end")
        self.assertTrue(done.wait(10))
        thread.stop()
        thread.join(10)
        self.assertEqual(got, [str(i) for i in range(1000)] + ["end"])

    def test_keyspace_notifications(self):
        self.r.config_set("notify-keyspace-events", "Ex$")
        self.addCleanup(self.r.config_set, "notify-keyspace-events", "")
        pubsub = self.r.pubsub(ignore_subscribe_messages=True)
        self.addCleanup(pubsub.close)
        pubsub.psubscribe("__keyevent@0__:*")
        pubsub.get_message(timeout=5)
        self.r.set("session", 1, px=50)
        self.assertEqual(self.next_message(pubsub)[2:], ("__keyevent@0__:set", "session"))
        self.assertEqual(self.next_message(pubsub)[2:], ("__keyevent@0__:expired", "session"))

    def test_reconnect(self):
        """redis-py tells once that the server has closed its connection, and then subscribes anew."""
        pubsub = self.r.pubsub()
        self.addCleanup(pubsub.close)
        pubsub.subscribe("news")
        self.next_message(pubsub)
        other = self.client()
        for row in other.client_list(_type="pubsub"):
            other.client_kill_filter(_id=row["id"])
        with self.assertRaises(redis.ConnectionError):
            self.next_message(pubsub)
        self.assertEqual(self.next_message(pubsub)[0], "subscribe")
        self.assertEqual(other.publish("news", "x"), 1)
        self.assertEqual(self.next_message(pubsub), ("message", None, "news", "x"))


class Blocking(WithRedisPy):
    def test_timeouts(self):
        begin = time.monotonic()
        self.assertIsNone(self.r.blpop(["a", "b"], timeout=0.1))
        self.assertIsNone(self.r.brpoplpush("a", "b", timeout=0.1))
        self.assertIsNone(self.r.bzpopmin("z", timeout=0.1))
        self.assertIsNone(self.r.blmove("a", "b", 0.1))
        self.assertIsNone(self.r.blmpop(0.1, 1, "a", direction="LEFT"))
        self.assertTrue(0.5 <= time.monotonic() - begin < 3)

    def test_served(self):
        self.r.rpush("b", "x", "y")
        self.assertEqual(self.r.blpop(["a", "b"], timeout=5), ("b", "x"))
        got = []
        thread = threading.Thread(target=lambda: got.append(self.client().brpop(["a", "c"], timeout=20)))
        thread.start()
        self.until_blocked()
        self.assertEqual(self.r.lpush("c", "v"), 1)
        thread.join(20)
        self.assertEqual(got, [("c", "v")])
        self.assertEqual(self.r.exists("c"), 0)

    def test_reliable_queue(self):
        """Workers take a job into a list of their own and drop it there when it is done; one of them dies."""
        jobs = [f"job{i}" for i in range(200)]
        done = []

        def work(number, client):
            while True:
                job = client.blmove("jobs", f"doing:{number}", 0.5, "LEFT", "RIGHT")
                if job is None:
                    return
                if number == 0 and len(done) > 20:
                    return  # dies with the job in its list
                with client.pipeline() as pipe:
                    pipe.lrem(f"doing:{number}", 1, job).rpush("done", job)
                    self.assertEqual(pipe.execute()[0], 1)
                done.append(job)

        pusher = threading.Thread(target=lambda: [self.client().rpush("jobs", job) for job in jobs])
        pusher.start()
        self.in_threads(4, work)
        pusher.join()
        left = self.r.lrange("doing:0", 0, -1)
        self.assertLessEqual(len(left), 1)
        self.assertEqual(sorted(self.r.lrange("done", 0, -1) + left), sorted(jobs))

    def test_pool(self):
        """More threads than connections, of which some block: at most six at once, so that a pusher finds one free."""
        pool = redis.BlockingConnectionPool(port=self.server.port, max_connections=8, timeout=20, decode_responses=True)
        self.addCleanup(pool.disconnect)
        client = redis.Redis(connection_pool=pool)
        got = []

        def work(number, _):
            for i in range(20):
                if number % 2:
                    client.rpush("q", f"{number}/{i}")
                else:
                    got.append(client.blpop("q", timeout=10)[1])

        self.in_threads(12, work)
        self.assertEqual(len(set(got)), 120)
        self.assertEqual(client.llen("q"), 0)


class Cli(WithServer):
    """redis-cli and redis-benchmark, beyond what user_test.py asks of them."""

    def cli(self, *args, stdin=None):
        result = subprocess.run(["redis-cli", "-p", str(self.server.port), *args], input=stdin, capture_output=True,
                                timeout=60, check=False)  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.decode(errors="replace")

    def fill(self):
        connection = self.server.connect()
        for i in range(50):
            connection.value("SET", f"string{i}", "x" * i)
            connection.value("RPUSH", f"list{i}", *range(i + 1))
            connection.value("SADD", f"set{i}", *range(i + 1))
            connection.value("HSET", f"hash{i}", *[part for n in range(i + 1) for part in (n, n)])
            connection.value("ZADD", f"zset{i}", *[part for n in range(i + 1) for part in (n, n)])
        connection.close()

    def test_transaction(self):
        out = self.cli(stdin=b"MULTI\nSET a 1\nINCR a\nLRANGE l 0 -1\nEXEC\nWATCH a\nMULTI\nDISCARD\nGET a\n")
        self.assertEqual(out.split("\n"), ["OK", "QUEUED", "QUEUED", "QUEUED", "OK", "2", "", "OK", "OK", "OK", "2", ""])
        out = self.cli("--no-raw", "-3", stdin=b"MULTI\nHSET h f v\nHGETALL h\nZADD z 1.5 m\nZSCORE z m\nEXEC\n")
        self.assertEqual(out.split("\n")[5:], ["1) (integer) 1", '2) 1# "f" => "v"', "3) (integer) 1", "4) (double) 1.5", ""])
        self.assertIn("EXECABORT", self.cli(stdin=b"MULTI\nNOSUCHCOMMAND\nEXEC\n"))

    def test_bigkeys_of_all_types(self):
        self.fill()
        out = self.cli("--bigkeys")
        for kind, what, count in (("string", "bytes", 49), ("list", "items", 50), ("set", "members", 50),
                                  ("hash", "fields", 50), ("zset", "members", 50)):  # fmt: skip
            self.assertIn(f"Biggest {kind:>6} found '\"{kind}49\"' has {count} {what}", out)
        out = self.cli("--memkeys")
        self.assertIn("Sampled 250 keys in the keyspace!", out)
        for kind in ("string", "list", "set", "hash", "zset"):
            self.assertRegex(out, rf"Biggest {kind:>6} found '\"{kind}\d+\"' has \d\d+ bytes")

    def test_scan_pattern(self):
        self.fill()
        keys = self.cli("--scan", "--pattern", "*st4?").split()
        self.assertEqual(sorted(keys), sorted(f"list4{i}" for i in range(10)))
        self.assertEqual(set(self.cli("--scan", "--pattern", "[hz]*9").split()),
                         {f"{kind}{i}" for kind in ("hash", "zset") for i in (9, 19, 29, 39, 49)})  # fmt: skip

    def test_mass_insertion(self):
        commands = []
        for i in range(3000):
            commands += [["RPUSH", f"l{i % 10}", i], ["ZADD", f"z{i % 10}", i, f"m{i}"], ["HSET", "h", f"f{i}", i]]
        out = self.cli("--pipe", stdin=b"".join(resp.encode_command(command) for command in commands))
        self.assertIn("errors: 0, replies: 9000", out)
        self.assertEqual(self.cli("LLEN", "l3"), "300\n")
        self.assertEqual(self.cli("HLEN", "h"), "3000\n")
        result = subprocess.run(["redis-cli", "-p", str(self.server.port), "--pipe"],
                                input=b"SET a text\r\nINCR a\r\nLPUSH a x\r\n", capture_output=True, timeout=60)  # fmt: skip
        self.assertIn(b"errors: 2, replies: 3", result.stdout)

    def lines_of(self, *args, lines):
        """The first lines of a mode that goes on for ever."""
        process = subprocess.Popen(["redis-cli", "-p", str(self.server.port), *args], stdout=subprocess.PIPE, text=True)
        try:
            return [process.stdout.readline() for _ in range(lines)]
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()

    def test_stat(self):
        self.cli("SET", "a", "1")
        lines = self.lines_of("--stat", "-i", "0.1", lines=5)
        self.assertIn("keys       mem      clients blocked requests", lines[1])
        self.assertRegex(lines[2], r"^1 +[\d.]+[KMG] +\d+ +0 +\d+ \(\+0\) +\d+")
        self.assertRegex(lines[4], r"^1 +[\d.]+[KMG] +\d+ +0 +\d+ \(\+\d+\) +\d+")

    def test_latency(self):
        out = self.cli("--latency", "--raw", "-i", "0.2")
        self.assertRegex(out, r"^\d+ \d+ [\d.]+ \d+\n")

    def test_subscribe(self):
        process = subprocess.Popen(["redis-cli", "-p", str(self.server.port), "SUBSCRIBE", "news"],
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        try:
            self.assertEqual([process.stdout.readline() for _ in range(3)], ["subscribe\n", "news\n", "1\n"])
            self.assertEqual(self.cli("PUBLISH", "news", "hello"), "1\n")
            self.assertEqual([process.stdout.readline() for _ in range(3)], ["message\n", "news\n", "hello\n"])
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()

    def benchmark(self, *args):
        result = subprocess.run(["redis-benchmark", "-p", str(self.server.port), "-n", "1000", "-q", *args],
                                capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
        self.assertNotIn("rror", result.stdout + result.stderr)
        self.assertEqual(result.stderr.replace("\n", "").replace("\r", ""), "")
        # The default run has twenty lines: LRANGE needs a list, which is pushed first.
        self.assertEqual(result.stdout.count("requests per second"), 20, result.stdout)

    def test_benchmark(self):
        self.benchmark()
        self.benchmark("-r", "100")

    def test_benchmark_pipelined(self):
        self.benchmark("-P", "16")
        self.benchmark("-P", "16", "-3", "-r", "10000")


class SlowSubscriber(WithServer):
    """A subscriber that does not read is cut off by its limit; others go on and miss nothing."""

    own_options = ("--client-output-buffer-limit", "pubsub 2mb 0 0")
    MESSAGE = b"x" * 20000

    def publish_until_cut_off(self, seconds=30):
        """One subscriber reads, one does not. Returns how many messages were sent until the slow one was gone."""
        publisher, slow, fast = (self.server.connect() for _ in range(3))
        for subscriber in (slow, fast):
            subscriber.value("SUBSCRIBE", "news")
        got = []

        def read():
            while not got or got[-1] != b"end":
                got.append(fast.read_reply().plain()[2])

        reader = threading.Thread(target=read)
        reader.start()
        sent, limit, receivers = 0, time.monotonic() + seconds, 2
        while receivers == 2 and time.monotonic() < limit:
            receivers = publisher.value("PUBLISH", "news", b"%d " % sent + self.MESSAGE)
            sent += 1
            while len(got) < sent - 20:
                time.sleep(0.001)  # the fast one shall not be slow because of Python
        self.assertEqual(receivers, 1, f"still there after {sent} messages")
        self.assertEqual(publisher.value("PUBLISH", "news", "end"), 1)
        reader.join(20)
        self.assertEqual([int(message.split()[0]) for message in got[:-1]], list(range(sent)))
        data, closed = slow.read_available(15.0)
        self.assertTrue(closed)
        self.assertLess(len(data), 60000000)
        self.assertIn(b"sub=0", publisher.value("CLIENT", "LIST", "TYPE", "normal"))
        self.assertEqual(publisher.value("CLIENT", "LIST", "TYPE", "pubsub").count(b"id="), 1)
        for connection in (publisher, slow, fast):
            connection.close()
        return sent

    def test_hard_limit(self):
        self.assertLess(self.publish_until_cut_off() * len(self.MESSAGE), 60000000)

    def test_soft_limit(self):
        """Over the soft limit for more than a second, without ever reaching the hard one."""
        control = self.server.connect()
        control.value("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 200kb 1")
        try:
            begin = time.monotonic()
            self.publish_until_cut_off()
            self.assertGreater(time.monotonic() - begin, 1.0)
        finally:
            control.value("CONFIG", "SET", "client-output-buffer-limit", "pubsub 2mb 0 0")
            control.close()

    def test_other_classes_have_their_own(self):
        connection = self.server.connect()
        connection.value("SET", "large", "x" * 5000000)
        self.assertEqual(len(connection.value("GET", "large")), 5000000)
        connection.close()


if __name__ == "__main__":
    sys.exit(suite.main(__doc__, [Transactions, Locks, Messages, Blocking, Cli, SlowSubscriber]))
