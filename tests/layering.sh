#!/bin/sh
# Compiles one-line programs against the include folders that the targets have, and expects the layers to hold.
compiler=$1 layers=$2
try() { # header, layers whose folders are on the include path ...
  header=$1; shift
  flags=""; for layer in "$@"; do flags="$flags -I$layers/$layer"; done
  echo "#include \"$header\"" | "$compiler" -std=c++20 -fsyntax-only $flags -x c++ - 2>/dev/null
}
fail() { echo "$1" >&2; exit 1; }
try encoding/status.h encoding || fail "encoding does not see its own headers"
try server/options.h encoding engine && fail "engine sees headers of server"
try engine/clock.h encoding && fail "encoding sees headers of engine"
try server/options.h encoding && fail "encoding sees headers of server"
echo "the layers hold"
