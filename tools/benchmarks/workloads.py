"""The workloads: what redis-benchmark sends, and what must be there before it does."""

RAND = "__rand_int__"  # redis-benchmark puts a random 12-digit number here


class Group:
    """Workloads that share servers and a key space. `fill`: value bytes of the keys `key:<number>` that are loaded
    first, or a function `fill(server, keys)` that loads something else. `requests`: how many per run, by pipeline
    depth."""

    def __init__(self, fill, keys, requests, workloads):
        self.fill = fill
        self.keys = keys
        self.requests = requests
        self.workloads = workloads


class Workload:
    """One row of the table. `args`: the command; {v} becomes a value of `value` bytes. `cost`: how many times a
    plain SET one request is, to keep runs equally long. `hits`: every GET must find its key. `before(server,
    requests)` prepares each run."""

    def __init__(self, name, args, value, cost=1, hits=False, before=None):
        self.name = name
        self.args = args.replace("{r}", RAND).split()
        self.value = value
        self.cost = cost
        self.hits = hits
        self.before = before


def make_value(size):
    """`size` letters and digits without a pattern that a compressor would find. The same in every run."""
    state, letters = 12345, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    out = []
    for _ in range(size):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out.append(letters[(state >> 33) % 62])
    return "".join(out)


def fill(server, keys, size, prefix=b"key:"):
    """Sets `keys` keys of `size` bytes each, numbered as redis-benchmark numbers them. Each has another value."""
    pool = make_value(size + 4096).encode()

    def sets():
        for number in range(keys):
            at = number * 61 % 4096
            yield [b"SET", b"%s%012d" % (prefix, number), pool[at : at + size]]

    send_all(server, sets())


def send_all(server, commands):
    """Sends commands (lists of bytes) in pipelines of about 64 KiB; none may fail."""
    connection = server.connect(timeout=120)
    data, count = bytearray(), 0

    def flush():
        nonlocal count
        connection.send_raw(bytes(data))
        for _ in range(count):
            reply = connection.read_reply()
            if reply.is_error():
                raise SystemExit(f"{server.name}: filling failed: {reply.raw[:200]!r}")
        data.clear()
        count = 0

    for args in commands:
        data += b"*%d\r\n" % len(args)
        for arg in args:
            data += b"$%d\r\n%s\r\n" % (len(arg), arg)
        count += 1
        if len(data) > 65536:
            flush()
    flush()
    connection.close()


def batches(name, key, rows, per_command=100):
    """Commands `name key row row ...` of all rows (each a list of bytes)."""
    args = [name, key]
    for row in rows:
        args += row
        if len(args) >= per_command:
            yield args
            args = [name, key]
    if len(args) > 2:
        yield args


# ---- Collections


def member(number):
    return b"element:%012d" % number


def fill_collections(server, keys):
    """One large collection of each type, with `keys` rows; small ones that are read whole; many small hashes."""
    def commands():
        numbers = range(keys)
        yield from batches(b"HSET", b"hash", ([member(i), b"value:%d" % i] for i in numbers))
        yield from batches(b"ZADD", b"zset", ([b"%d" % (i * 7919 % keys), member(i)] for i in numbers))
        yield from batches(b"SADD", b"set", ([member(i)] for i in numbers))
        yield from batches(b"HSET", b"hash100", ([b"field:%d" % i, b"value:%d" % i] for i in range(100)))
        yield from batches(b"RPUSH", b"list100", ([b"element:%d" % i] for i in range(100)))
        for i in numbers:
            yield [b"HSET", b"user:%012d" % i] + [word for f in range(10) for word in (b"f%d" % f, b"value:%d" % f)]

    send_all(server, commands())


def before_pops(key, name, row):
    """Makes the key hold as many elements as the run will take, so that each takes one."""

    def prepare(server, requests):
        send_all(server, [[b"DEL", key]])
        send_all(server, batches(name, key, (row(i) for i in range(requests))))

    return prepare


def before_pushes(key):
    return lambda server, requests: send_all(server, [[b"DEL", key]])


# The table. A new data type is a new row here; its keys get a prefix of their own.
GROUPS = [
    Group(64, 1000000, {1: 200000, 16: 1500000, 64: 3000000}, [
        Workload("GET 64B", "GET key:{r}", 64, hits=True),
        Workload("SET 64B", "SET key:{r} {v}", 64),
        Workload("INCR", "INCR counter:{r}", 0),
        Workload("MSET 10x64B", "MSET" + " mset:{r} {v}" * 10, 64, cost=6),
        Workload("SETEX 64B", "SETEX setex:{r} 10000 {v}", 64),
    ]),
    Group(1024, 1000000, {1: 200000, 16: 800000, 64: 1200000}, [
        Workload("GET 1K", "GET key:{r}", 1024, hits=True),
        Workload("SET 1K", "SET key:{r} {v}", 1024),
    ]),
    Group(16384, 100000, {1: 50000, 16: 80000, 64: 80000}, [
        Workload("GET 16K", "GET key:{r}", 16384, hits=True),
        Workload("SET 16K", "SET key:{r} {v}", 16384),
    ]),
    Group(fill_collections, 100000, {1: 200000, 16: 800000, 64: 1500000}, [
        Workload("LPUSH", "LPUSH queue {v}", 16, before=before_pushes(b"queue")),
        Workload("RPOP", "RPOP queue", 0, before=before_pops(b"queue", b"LPUSH", lambda i: [b"element:%07d" % i])),
        Workload("LRANGE_100", "LRANGE list100 0 99", 0, cost=10),
        Workload("SADD", "SADD myset element:{r}", 0, before=before_pushes(b"myset")),
        Workload("SPOP", "SPOP myset", 0, before=before_pops(b"myset", b"SADD", lambda i: [member(i)])),
        Workload("HSET", "HSET hash element:{r} {v}", 16),
        Workload("HSET small", "HSET user:{r} f3 {v}", 8),
        Workload("HGET", "HGET hash element:{r}", 0),
        Workload("HGET small", "HGET user:{r} f5", 0),
        Workload("HGETALL 100", "HGETALL hash100", 0, cost=15),
        Workload("ZADD", "ZADD zset {r} element:{r}", 0),
        Workload("ZRANGE 10", "ZRANGE zset 0 9", 0, cost=3),
        Workload("ZREVRANGE 10", "ZREVRANGE zset 0 9 WITHSCORES", 0, cost=4),
        Workload("ZRANGEBYSCORE", "ZRANGEBYSCORE zset {r} +inf LIMIT 0 10", 0, cost=3),
        Workload("ZPOPMIN", "ZPOPMIN delay", 0,
                 before=before_pops(b"delay", b"ZADD", lambda i: [b"%d" % (i * 7919 % 1000003), member(i)])),
    ]),
]  # fmt: skip
