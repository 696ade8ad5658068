#!/usr/bin/env bats
# mb as cron runs it: again and again, with nobody there.

load helpers

set_up() {
	seq 30 >in.log
	bin=$(dirname "$(command -v mb-collect)")
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
}

tear_down() {
	cd "$BATS_TEST_TMPDIR"
	! mountpoint -q disk 2>/dev/null || umount disk
}

# What a crontab's line does, with a clock that stands at $1 seconds.
run_at() { # SECONDS [OPTION...]
	[ -e "$so" ]
	line "export LD_PRELOAD=$so MB_FAULT_TIME=$1 ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
		mb-collect -j j.mbj --max-records 10 ${*:2} in.log | mb-commit dir:out"
}

@test "a good run says nothing, so that cron sends no mail; nothing new, nothing done" {
	line 'mb-collect -j j.mbj in.log | mb-agg -a count | mb-commit dir:out'
	is "$output" "status 0 0 0"
	cp -r out before
	line 'mb-collect -j j.mbj in.log | mb-agg -a count | mb-commit dir:out'
	is "$output" "status 0 0 0"
	diff -r before out
	is "$(states j.mbj)" "0 committed"
}

@test "two runs overlap: the second one says one line, ends with 75, and has changed nothing" {
	# More than the pipe to its reader, who takes his time, can hold.
	seq 500000 >in.log
	mkfifo slow
	start "mb-collect -j j.mbj in.log >slow"
	exec 8<slow
	eventually grep -q '"mb":"plan"' j.mbj
	journal=$(cksum <j.mbj)
	line 'mb-collect -j j.mbj --wait 100ms in.log 2>said | mb-commit dir:out'
	has "$output" "mb-commit: standard input is empty: what is upstream has died
status 75 75"
	[[ $(cat said) =~ ^mb-collect:\ $PWD/j.mbj:\ in\ use\ by\ process\ $(pid_of mb-collect)\ on\ .*,\ since\ [^$'\n']*$ ]]
	# The default waits two seconds, and not much longer.
	began=$EPOCHSECONDS
	line 'mb-collect -j j.mbj in.log >/dev/null'
	has "$output" "in use" "status 75"
	[ $((EPOCHSECONDS - began)) -ge 1 ]
	is "$(cksum <j.mbj)" "$journal"
	mb-commit dir:out <&8
	exec 8<&-
	finished
	same_records in.log out j.mbj
}

@test "two runs overlap: with --wait the second one waits for the first, and does what is left" {
	seq 500000 >in.log
	mkfifo slow
	start "mb-collect -j j.mbj in.log >slow"
	first=$leader
	exec 8<slow
	eventually grep -q '"mb":"plan"' j.mbj
	seq 500001 500010 >>in.log
	start 'mb-collect -j j.mbj --wait 1m in.log | mb-commit dir:out'
	sleep 0.5
	is "$(grep -c '"role":"collect"' j.mbj)" 1
	# If the second one is there before it is done, it leaves that to it.
	mb-commit dir:out <&8 || is $? 75
	exec 8<&-
	finished "$first"
	finished
	silent
	same_records in.log out j.mbj
	is "$(counts j.mbj)" "500000 10"
}

@test "many runs at the same moment: each record once, and every one ends with 0 or 75" {
	for i in 1 2 3 4 5 6; do
		start 'mb-collect -j j.mbj --wait 20s in.log | mb-commit dir:out; echo ${PIPESTATUS[*]} >>ends'
	done
	ended() { [ "$(wc -l <ends)" -eq 6 ]; }
	eventually ended
	# 75: a later one has started before its mb-commit had joined.
	grep -qx '0 0' ends
	! grep -vxE '(0|75) (0|75)' ends
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	same_records in.log out j.mbj
}

@test "a run after a week: all that has come, and times that are true" {
	run_at 1795435200
	is "$output" "status 0 0"
	seq 31 300 >>in.log
	run_at $((1795435200 + 7 * 86400)) --retain 5
	is "$output" "status 0 0"
	is "$(mb-replay -j j.mbj --json | jq -r .time | sort -u | tail -n 1)" "2026-11-30T12:00:00.000Z"
	same_records in.log out j.mbj
	is "$(rows out | xargs)" "$(xargs <in.log)"
}

@test "a clock that jumps, forth and back: nothing is skipped, and times never go back" {
	run_at 1795435200
	seq 31 35 >>in.log
	run_at 4102444800
	seq 36 40 >>in.log
	run_at 1000000000
	is "$output" "status 0 0"
	is "$(mb-replay -j j.mbj --json | jq -r '.time[:4]' | xargs)" "2026 2026 2026 2100 2100"
	same_records in.log out j.mbj
	# Intervals are measured by another clock: this one stands still.
	start "export LD_PRELOAD=$so MB_FAULT_TIME=1000000000 ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
		mb-collect -j j.mbj -f -i 100ms in.log | mb-commit dir:out"
	for n in 6 7 8; do
		echo "more $n" >>in.log
		eventually settled j.mbj "$n"
	done
	kill -TERM "$(pid_of mb-collect)"
	finished
	same_records in.log out j.mbj
}

@test "a full disk in between: 75, and with room again all is there, once" {
	mkdir disk
	mount -t tmpfs -o size=2m none disk
	cd disk
	seq 20000 >in.log
	line 'mb-collect -j j.mbj --max-records 5000 in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	seq 20001 60000 >>in.log
	# From no room at all to nearly enough, in steps.
	dd if=/dev/zero of=filler bs=4k status=none 2>/dev/null || true
	for room in 0 8 32 128 256; do
		truncate -s -$((room * 1024)) filler
		line 'mb-collect -j j.mbj --max-records 5000 in.log | mb-commit --retry-for 0 dir:out'
		[[ $output == *"No space left on device"*"status "*75 || $output == *"status 0 0" ]] ||
			is "$output" "No space left on device"
	done
	rm filler
	line 'mb-collect -j j.mbj --max-records 5000 in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	same_records in.log out j.mbj
}

@test "cron's environment: hardly any PATH, another HOME, no locale, no terminal, no standard input" {
	here=$PWD
	cat >job <<-END
		cd $here && $bin/mb-collect -j web.mbj in.log | $bin/mb-agg -a count | $bin/mb-commit 'sqlite:web.db#t'
		cd $here && $bin/mb-collect -v -j cmd.mbj in.log -- sh -c 'sort -n >"out.\$MB_BATCH"'
	END
	run env -i PATH=/usr/bin:/bin HOME=/nonexistent SHELL=/bin/sh LOGNAME=nobody \
		setsid -w /bin/sh <job
	is "$status" 0
	# -v asks for a line a batch; without a terminal it is one.
	[[ $output =~ ^mb-collect:\ [^$'\r'$'\n']*$ ]]
	is "$(sqlite3 web.db 'SELECT count FROM t')" 30
	cmp in.log out.0
	# No PATH at all: the system's own is searched.
	echo 31 >>in.log
	run env -i "$bin/mb-collect" -j cmd.mbj in.log -- sh -c 'cat' </dev/null
	is "$status $output" "0 31"
	# Standard input that is nothing is an empty stream.
	run env -i "$bin/mb-collect" -j null.mbj </dev/null
	is "$status" 0
	# A program that cron doesn't find is told before anything is planned.
	run env -i PATH=/nowhere "$bin/mb-collect" -j cmd.mbj in.log -- sort
	is "$status $output" '64 mb-collect: -- sort: no such program in $PATH'
}

@test "a machine that went down in the middle: the next run is the recovery" {
	seq 2000 >in.log
	for ((i = 0; i < 8; i++)); do
		start 'mb-collect -j j.mbj --max-records 100 in.log | mb-agg | mb-commit dir:out'
		sleep "0.0$((i % 5))"
		killed
	done
	line 'mb-collect -j j.mbj --max-records 100 in.log | mb-agg | mb-commit dir:out'
	has "$output" "status 0 0 0"
	same_records in.log out j.mbj
	is "$(rows out | cksum)" "$(cksum <in.log)"
}
