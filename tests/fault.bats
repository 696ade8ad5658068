#!/usr/bin/env bats
# The fault library, on programs that are known to work.

setup() {
	cd "$BATS_TEST_TMPDIR"
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
	[ -e "$so" ]
	export MB_FAULT_REPORT=$PWD/report
}

teardown() {
	# One that is stopped would stay.
	[ -z "${pid-}" ] || kill -KILL "$pid" 2>/dev/null || true
}

# broken NAME=VALUE... PROGRAM ARG...
broken() {
	env LD_PRELOAD="$so" "$@"
}

sql='PRAGMA journal_mode = wal; PRAGMA synchronous = full;
	CREATE TABLE t (a); INSERT INTO t VALUES (1), (2);'

@test "die: the process is killed before the Nth call" {
	# open, write, write, write
	run broken MB_FAULT_MODE=die MB_FAULT_AT=3 \
		dd if=/dev/zero of=file bs=100 count=3
	[ "$status" -eq 137 ]
	[ "$(stat -c %s file)" -eq 100 ]
	grep -q '^fired dd [0-9]* 3 write ' report
}

@test "stop: the process waits before the Nth call until it is told to go on" {
	env LD_PRELOAD="$so" MB_FAULT_MODE=stop MB_FAULT_AT=3 \
		dd if=/dev/zero of=file bs=100 count=3 status=none 3>&- &
	pid=$!
	timeout 120 sh -c "until grep -q '^State:.T' /proc/$pid/status; do
		sleep 0.01; done"
	[ "$(stat -c %s file)" -eq 100 ]
	kill -CONT "$pid"
	wait "$pid"
	pid=
	[ "$(stat -c %s file)" -eq 300 ]
}

@test "a run with fewer calls than N is not disturbed, and is counted" {
	broken MB_FAULT_MODE=die MB_FAULT_AT=5 \
		dd if=/dev/zero of=file bs=100 count=3 status=none
	[ "$(cat report)" = "count dd $(cut -d' ' -f3 report) 4 - -" ]
}

@test "only the program that is named is broken" {
	export MB_FAULT_PROG=dd MB_FAULT_MODE=die MB_FAULT_AT=1
	export MB_FAULT_CALLS=pipe
	broken sh -c 'echo 1 | cat | dd status=none | cat' >out 2>/dev/null
	[ ! -s out ]
	[ "$(grep -c fired report)" -eq 1 ]
	grep -q '^fired dd' report
}

@test "tear: half of a write is done" {
	run broken MB_FAULT_MODE=tear MB_FAULT_AT=2 \
		dd if=/dev/zero of=file bs=100 count=3
	[ "$status" -eq 137 ]
	[ "$(stat -c %s file)" -eq 150 ]
}

@test "a call fails once, or from the Nth on" {
	run broken MB_FAULT_MODE=EIO MB_FAULT_AT=2 MB_FAULT_CALLS=write \
		dd if=/dev/zero of=file bs=100 count=3
	[ "$status" -eq 1 ]
	[[ "$output" == *"Input/output error"* ]]
	for sticky in NOTHING=1 MB_FAULT_STICKY=1; do
		broken $sticky MB_FAULT_MODE=ENOSPC MB_FAULT_AT=2 			MB_FAULT_CALLS=write python3 -c '
import os, sys
said = []
fd = os.open("file", os.O_CREAT | os.O_WRONLY)
for i in range(3):
    try:
        os.write(fd, b"x")
        said += ["done"]
    except OSError as e:
        said += [e.strerror]
print(", ".join(said), file=sys.stderr)' 2>>said
	done
	[ "$(cat said)" = "done, No space left on device, done
done, No space left on device, No space left on device" ]
}

@test "a sync that failed once succeeds the next time" {
	run broken MB_FAULT_MODE=EIO MB_FAULT_AT=1 MB_FAULT_CALLS=sync python3 -c '
import os
fd = os.open("file", os.O_CREAT | os.O_WRONLY)
os.write(fd, b"x")
try:
    os.fsync(fd)
except OSError as e:
    print(e.strerror)
os.fsync(fd)
print("fine")'
	[ "$output" = $'Input/output error\nfine' ]
}

@test "programs that try again do not notice eintr-all and short-all" {
	sqlite3 good "$sql"
	for mode in eintr-all short-all; do
		rm -f db report
		run broken MB_FAULT_MODE=$mode \
			MB_FAULT_CALLS=open,write,pipe,sync,name,size,read,wait \
			sqlite3 db "$sql SELECT sum(a) FROM t;"
		[ "$output" = $'wal\n3' ]
		cmp good db
		[ "$(cut -d' ' -f4 report)" -gt 20 ]
	done
}

@test "programs that do not try again notice" {
	run broken MB_FAULT_MODE=short-all MB_FAULT_CALLS=write python3 -c '
import os
fd = os.open("file", os.O_CREAT | os.O_WRONLY)
print(os.write(fd, b"x" * 10) < 10, os.write(fd, b"x" * 10))'
	[ "$output" = "True 10" ]
}

@test "the log has every change in order, with its bytes" {
	printf abc >old
	# sync FILE is fsync; mv is a rename, ln a link.
	for line in 'dd if=old of=new status=none' 'sync new' 'ln new other' \
		'mv other third' 'truncate -s 1 new' 'unlink third' 'mkdir d'; do
		broken MB_FAULT_LOG="$PWD/log" $line
	done
	here=$(stat -c %i .) new=$(stat -c %i new) d=$(stat -c %i d)
	run sed 's/:[0-9]*//' log
	[ "$output" = "dd create $here $new new
dd write $new 0 3
abc
sync sync $new
ln link $here $new other
mv rename $here $here $new other	third
truncate size $new 1
unlink unlink $here $new third
mkdir mkdir $here $d d" ]
}

@test "the clock stands still" {
	run broken MB_FAULT_TIME=86400 date -u +%F
	[ "$output" = 1970-01-02 ]
}

@test "a mistake in the setting is told" {
	run broken MB_FAULT_MODE=nonsense true
	[ "$status" -eq 99 ]
	[ "$output" = "fault: MB_FAULT_MODE: nonsense" ]
}
