#!/usr/bin/python3
"""Every data command as redis-py offers it, on our server and on redis-server: the results must be equal.

    redis_py_walk.py --server build/release/bin/thermocline-server
    redis_py_walk.py                     redis-server against itself

A script of calls is run on both clients step by step. What Redis leaves open (the order of a hash's fields or a set's
members, which member is random) is compared by what it must be.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402

import redis  # noqa: E402


class Walk:
    """Runs each call on both servers."""

    def __init__(self, oracle, ours):
        self.clients = [redis.Redis(port=server.port) for server in (oracle, ours)]
        self.calls = 0
        self.methods = set()
        self.failures = []

    def __getattr__(self, method):
        def call(*args, as_=lambda result: result, **options):
            self.calls += 1
            self.methods.add(method)
            results = []
            for client in self.clients:
                try:
                    result = getattr(client, method)(*args, **options)
                    if hasattr(result, "__next__"):
                        result = list(result)
                    results.append(as_(result))
                except redis.RedisError as error:
                    results.append((type(error).__name__, str(error)))
            if results[0] != results[1]:
                text = ", ".join([repr(arg)[:60] for arg in args] + [f"{k}={v!r}" for k, v in options.items()])
                self.failures.append(f"{method}({text})\n  redis: {results[0]!r:.400}\n  ours:  {results[1]!r:.400}")
            return results[0]

        return call


def scanned(result):
    """(cursor, elements) of one call that comes whole, without order."""
    cursor, elements = result
    return cursor, elements if isinstance(elements, dict) else sorted(elements)


def strings(w):
    w.set("s", "value")
    w.set("s", "v2", ex=100)
    w.set("s", "v3", px=100000)
    w.set("s", "no", nx=True)
    w.set("s", "yes", xx=True)
    w.set("none", "no", xx=True)
    w.set("s", "got", get=True)
    w.setnx("s", 1)
    w.setnx("s2", 1)
    w.setex("s3", 100, "x")
    w.psetex("s4", 100000, "x")
    w.mset({"m1": 1, "m2": "two", "m3": b"\x00\xff"})
    w.mget("m1", "m2", "m3", "none")
    w.get("m3")
    w.get("none")
    w.getset("m2", "deux")
    w.getrange("s", 0, 1)
    w.getrange("s", -2, -1)
    w.setrange("s", 2, "XYZ")
    w.setbit("b", 7, 1)
    w.setbit("b", 100, 1)
    w.getbit("b", 7)
    w.bitcount("b")
    w.bitcount("b", 0, 0)
    w.bitop("OR", "bo", "b", "m1")
    w.get("bo")
    w.strlen("s")
    w.incr("n")
    w.incr("n", 41)
    w.incrbyfloat("n", 0.5)
    w.incr("s")
    w.set("n", 10)
    w.decr("n", 3)
    w.append("s", "tail")
    w.get("s")


def hashes(w):
    w.hset("h", "f", "v")
    w.hset("h", mapping={"a": 1, "b": "two", b"\x00": b"\xff"})
    w.hmset("h", {"c": 3})
    w.hget("h", "a")
    w.hget("h", "none")
    w.hmget("h", "a", "none", "c")
    w.hgetall("h")
    w.hgetall("none")
    w.hlen("h")
    w.hkeys("h", as_=sorted)
    w.hvals("h", as_=sorted)
    w.hexists("h", "a")
    w.hexists("h", "none")
    w.hdel("h", "f", "none")
    w.hincrby("h", "n", 5)
    w.hincrby("h", "n", -7)
    w.hincrby("h", "b", 1)
    w.hincrbyfloat("h", "x", 1.5)
    w.hscan("h", as_=scanned)
    w.hscan("h", match="[ab]", as_=scanned)
    w.hset("hbig", mapping={f"field:{i}": "x" * (i % 50) for i in range(2000)})
    w.hlen("hbig")
    w.hscan_iter("hbig", as_=sorted)
    w.hscan_iter("hbig", match="field:1*", count=100, as_=sorted)
    w.hgetall("hbig")
    w.get("h")


def lists(w):
    w.lpush("l", 1, 2, 3)
    w.rpush("l", "a", "b")
    w.lpushx("none", 1)
    w.rpushx("l", "c")
    w.lpushx("l", "d")
    w.llen("l")
    w.lrange("l", 0, -1)
    w.linsert("l", "BEFORE", "a", "before")
    w.linsert("l", "AFTER", "a", "after")
    w.linsert("l", "AFTER", "missing", "x")
    w.lset("l", 0, "first")
    w.lset("l", 100, "x")
    w.lrem("l", 1, "b")
    w.lrem("l", 0, "missing")
    w.lindex("l", 0)
    w.lindex("l", -1)
    w.lindex("l", 100)
    w.lpop("l")
    w.rpop("l")
    w.lpop("l", 2)
    w.lpop("none")
    w.rpoplpush("l", "l2")
    w.rpoplpush("none", "l2")
    w.lrange("l2", 0, -1)
    w.ltrim("l", 0, 1)
    w.lrange("l", 0, -1)
    w.ltrim("l", 5, 1)
    w.exists("l")
    w.rpush("long", *range(3000))
    for i in range(0, 3000, 7):
        w.lindex("long", i)
    w.lrange("long", 1000, 1100)
    w.lpush("h", 1)


def sets(w):
    w.sadd("a", 1, 2, 3, "x", b"\x00")
    w.sadd("a", 1, 4)
    w.sadd("b", 3, 4, 5)
    w.scard("a")
    w.scard("none")
    w.sdiff("a", "b")
    w.sdiff("a", "none")
    w.sdiffstore("d", "a", "b")
    w.smembers("d")
    w.sinter("a", "b")
    w.sinter("a", "none")
    w.sinterstore("d", "a", "b")
    w.smembers("d")
    w.sunion("a", "b")
    w.sunionstore("d", "a", "b")
    w.sismember("a", 1)
    w.sismember("a", "none")
    w.smove("a", "b", "x")
    w.smove("a", "b", "missing")
    w.smembers("b")
    w.srem("a", 1, "missing")
    w.sadd("one", "only")
    w.srandmember("one")
    w.srandmember("a", 100, as_=sorted)
    w.srandmember("d", 3, as_=lambda members: len(set(members)))
    w.srandmember("d", -20, as_=len)
    w.spop("one")
    w.exists("one")
    w.spop("d", 100, as_=sorted)
    w.sscan("a", as_=scanned)
    w.sadd("sbig", *[f"member:{i}" for i in range(2000)])
    w.sscan_iter("sbig", as_=sorted)
    w.sscan_iter("sbig", match="*99", as_=sorted)
    w.sadd("h", 1)


def sorted_sets(w):
    w.zadd("z", {"a": 1, "b": 2, "c": 3.5, "d": -1})
    w.zadd("z", {"a": 5}, nx=True)
    w.zadd("z", {"a": 5}, xx=True, ch=True)
    w.zadd("z", {"a": 1}, incr=True)
    w.zcard("z")
    w.zcount("z", 0, 10)
    w.zcount("z", "-inf", "(3.5")
    w.zincrby("z", 2.5, "b")
    w.zrange("z", 0, -1)
    w.zrange("z", 0, -1, withscores=True)
    w.zrange("z", 0, 1, desc=True, withscores=True)
    w.zrevrange("z", 0, -1, withscores=True)
    w.zrangebyscore("z", 0, 5)
    w.zrangebyscore("z", "-inf", "+inf", start=1, num=2, withscores=True)
    w.zrevrangebyscore("z", 10, 0, withscores=True)
    w.zrank("z", "a")
    w.zrank("z", "missing")
    w.zrevrank("z", "a")
    w.zscore("z", "c")
    w.zscore("z", "missing")
    w.zadd("lex", {name: 0 for name in "abcdefg"})
    w.zrangebylex("lex", "[b", "(e")
    w.zrangebylex("lex", "-", "+", start=1, num=3)
    w.zrevrangebylex("lex", "+", "[c")
    w.zremrangebylex("lex", "[a", "[b")
    w.zrem("z", "c", "missing")
    w.zremrangebyrank("lex", 0, 1)
    w.zadd("z2", {"a": 10, "x": 20})
    w.zinterstore("zi", ["z", "z2"])
    w.zrange("zi", 0, -1, withscores=True)
    w.zinterstore("zi", {"z": 2, "z2": 0.5}, aggregate="MAX")
    w.zrange("zi", 0, -1, withscores=True)
    w.zunionstore("zu", ["z", "z2", "b"], aggregate="MIN")
    w.zrange("zu", 0, -1, withscores=True)
    w.zremrangebyscore("zu", "-inf", 5)
    w.zscan("z", as_=scanned)
    w.zadd("zbig", {f"member:{i}": i * 0.5 for i in range(2000)})
    w.zscan_iter("zbig", as_=sorted)
    w.zrank("zbig", "member:1234")
    w.zrange("zbig", 1000, 1010, withscores=True)
    w.zpopmin("zbig", 3)
    w.zpopmax("zbig")
    w.zadd("h", {"a": 1})


def keys(w):
    w.exists("h", "none", "z")
    w.keys("*", as_=sorted)
    w.keys("s?", as_=sorted)
    w.type("h")
    w.type("z")
    w.type("none")
    w.expire("h", 1000)
    w.ttl("h", as_=lambda seconds: 990 < seconds <= 1000)
    w.persist("h")
    w.rename("h", "h2")
    w.rename("none", "h2")
    w.move("h2", 5)
    w.exists("h2")
    w.randomkey(as_=lambda key: key is not None)
    w.scan_iter(as_=sorted)
    w.scan_iter(match="z*", count=3, as_=sorted)
    w.scan_iter(_type="zset", as_=sorted)
    w.sort("long", start=0, num=5, desc=True)
    w.object("encoding", "z")
    w.copy("z", "zcopy")
    w.zrange("zcopy", 0, -1, withscores=True)
    w.delete("z", "l2", "none")
    w.unlink("hbig", "sbig", "zbig")
    w.dbsize()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=servers.REDIS_SERVER)
    args = parser.parse_args()
    oracle = servers.Server(servers.REDIS_SERVER, servers.ORACLE_OPTIONS).start()
    options = servers.ORACLE_OPTIONS if servers.is_redis(args.server) else []
    ours = servers.Server(args.server, options).start()
    try:
        walk = Walk(oracle, ours)
        for part in (strings, hashes, lists, sets, sorted_sets, keys):
            part(walk)
    finally:
        oracle.stop()
        ours.stop()
    for failure in walk.failures:
        print(failure)
    print(f"{walk.calls - len(walk.failures)} passed, {len(walk.failures)} failed  ({len(walk.methods)} methods)")
    return 1 if walk.failures else 0


if __name__ == "__main__":
    sys.exit(main())
