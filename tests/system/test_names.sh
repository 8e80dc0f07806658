#!/bin/bash
# tests/system/test_names.sh BUILD: whatever name `ops/test --list` shows, `ops/test NAME` can build what it runs and set up
# what it needs: ninja knows a target of that name, and ops/packages the groups, beside the guest, which ops/test makes itself.
# Says every one that is wrong; exit 1 then.
set -uo pipefail
(( $# == 1 )) || { echo 'usage: test_names.sh BUILD' >&2; exit 2; }
build=$1 wrong=0
packages=$(dirname "${BASH_SOURCE[0]}")/../../ops/packages
# from a folder of its own: where ctest only lists it begins its logs anew, and this is itself a test
aside=$(mktemp -d) && trap 'rm -rf "$aside"' EXIT
echo "subdirs(\"$(realpath "$build")\")" > "$aside/CTestTestfile.cmake"
mapfile -t names < <(ctest --test-dir "$aside" -N | sed -n 's/^ *Test *#[0-9]*: //p')
(( ${#names[@]} )) || { echo "ctest lists nothing of $build"; exit 1; }
for name in "${names[@]}"; do  # not `ninja -n`: it would only say that CMake runs again
  said=$(ninja -C "$build" -t query "$name" 2>&1) || { printf '%s: %s\n' "$name" "$(tail -n 1 <<<"$said")"; wrong=1; }
done
for group in $(ctest --test-dir "$aside" --print-labels | sed -n 's/^ *needs_//p'); do
  [[ $group == guest ]] || grep -q "^$group " "$packages" || { echo "there is no group '$group' in ops/packages"; wrong=1; }
done
echo "${#names[@]} tests"
exit $wrong
