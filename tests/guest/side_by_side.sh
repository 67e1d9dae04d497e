#!/bin/sh
# Several pytests at the same time: side_by_side.sh PYTEST SUITES... runs PYTEST with each SUITES, which are words.
# Namespaces, control sockets and the like have fixed names under /run, so each has a /run of its own.
pytest=$1
shift
output=/run/shared/of
for suites; do
    number=$((number + 1))
    unshare --mount --propagation private \
        sh -c "mount -t tmpfs tmpfs /run && exec $pytest --basetemp=/tmp/pytest-$number $suites" >"$output-$number" 2>&1 &
    running="$running $!"
done
status=0
for process in $running; do
    wait "$process" || status=$?
done
cat "$output"-*
exit "$status"
