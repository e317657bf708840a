# Ends a process group, everything in it and its directory: when the owner closes this script's standard
# input, or when the owner is gone, however that came about (ctrl-C, a panic, SIGKILL).
# `kill -s` is the one form that every shell takes with a group.
#
# $1: the process group, which is also the number of its first process   $2: the directory
group=$1
directory=$2

# Waits until the group is empty, for at most $1 times 50 ms.
wait_until_empty() {
    tries=$1
    while kill -s 0 -- "-$group" 2>/dev/null; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        sleep 0.05
    done
}

read -r order
[ "$order" = keep ] && exit

kill -s TERM -- "-$group" 2>/dev/null
if ! wait_until_empty 40; then
    # The first process alone: its helper then ends the functions' processes, which have groups of their own.
    kill -s KILL "$group" 2>/dev/null
    if ! wait_until_empty 60; then
        kill -s KILL -- "-$group" 2>/dev/null
    fi
fi
rm -rf -- "$directory"
