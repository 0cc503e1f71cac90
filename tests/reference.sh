#!/bin/sh
# The README's table of options is what the program prints.
table=$("$1" --help-config) || exit 1
case "$(cat "$2")" in
  *"$table"*) echo "the table of options is current" ;;
  *) echo "README.md does not hold what 'thermocline-server --help-config' prints" >&2; exit 1 ;;
esac
