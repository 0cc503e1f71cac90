"""What tools/bench measures, beside its own harness."""

import sys


def say(text):
    print(text, file=sys.stderr, flush=True)
