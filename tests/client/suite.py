"""Test classes that run once per server: ours, and redis-server, so that a test which asks for more than Redis gives
is seen as such. Without --server only redis-server is tested."""

import argparse
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402


class WithServer:
    """Starts the server once per class. `binary` and `options` come from the class that make_suite() derives."""

    binary = None
    options = ()
    own_options = ()

    @classmethod
    def setUpClass(cls):
        options = list(cls.own_options) + list(cls.options)
        if servers.is_redis(cls.binary):
            options = servers.ORACLE_OPTIONS + list(cls.own_options)
        cls.server = servers.Server(cls.binary, options).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        connection = self.server.connect()
        if self.server.password:
            connection.value("AUTH", self.server.password)
        connection.value("FLUSHALL")
        connection.close()


def make_suite(args, classes):
    """Each test class once per server."""
    loader, suite = unittest.TestLoader(), unittest.TestSuite()
    options = servers.split_options(args.option)
    for label, binary in [("Ours", args.server), ("Redis", servers.REDIS_SERVER)]:
        if binary is None or (label == "Redis" and args.server and args.ours_only):
            continue
        for base in classes:
            derived = type(f"{label}{base.__name__}", (base, unittest.TestCase), {"binary": binary, "options": options})
            for name in loader.getTestCaseNames(derived):
                if not args.names or any(part in f"{derived.__name__}.{name}" for part in args.names):
                    suite.addTest(derived(name))
    return suite


def main(description, classes):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only tests whose name contains one of these")
    parser.add_argument("--server", help="our server's program")
    parser.add_argument("--option", action="append", help="option for our server, as in --option='--maxmemory 1mb'")
    parser.add_argument("--ours-only", action="store_true", help="leave redis-server out")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    result = unittest.TextTestRunner(verbosity=2 if args.verbose else 1).run(make_suite(args, classes))
    return 0 if result.wasSuccessful() else 1
