#!/usr/bin/env bats
# A command per batch: mb-collect ... -- CMD.

load helpers

set_up() {
	printf 'a,b\n1,2\n3,4\n5,6\n' >in.csv
	seq 30 >in.log
	here=$PWD
}

@test "a command gets the records with their header, and the batch in its environment" {
	line "mb-collect -j j.mbj --max-records 2 in.csv -- sh -c 'cat; env | grep -v -e MB_B[UI] -e MB_SEED -e MB_FAULT | grep ^MB_ | sort'"
	tokens=($(grep -ao '"digest":"[0-9a-f]*"' j.mbj | cut -d'"' -f4))
	times=($(mb-replay -j j.mbj --json | jq -r .time))
	is "$output" "a,b
1,2
3,4
MB_BATCH=0
MB_FORMAT=csv
MB_HEADER=a,b
MB_JOURNAL=$here/j.mbj
MB_TIME=${times[0]}
MB_TOKEN=${tokens[0]}
a,b
5,6
MB_BATCH=1
MB_FORMAT=csv
MB_HEADER=a,b
MB_JOURNAL=$here/j.mbj
MB_TIME=${times[1]}
MB_TOKEN=${tokens[1]}
status 0"
	is "$(states j.mbj)" "0 committed 1 committed"
	line 'mb-collect -j j.mbj in.csv -- false'
	is "$output" "status 0"
	# Without a header; what others have set is not passed on.
	line 'MB_HEADER=old MB_FORMAT=old mb-collect -j k.mbj in.log -- sh -c '\''head -n 1; echo "<$MB_HEADER> $MB_FORMAT"'\'
	is "$output" $'1\n<> lines\nstatus 0'
}

@test "the arguments go to exec as they are; no shell sees them or a record" {
	printf '$(touch pwned)\n`touch pwned`\n; touch pwned\n' >in.log
	line "mb-collect -j j.mbj in.log -- printf '%s|' '\$(touch pwned)' '*' '' '-j' '--' 'a b'"
	is "$output" '$(touch pwned)|*||-j|--|a b|status 0'
	line "mb-collect -j k.mbj in.log -- cat"
	is "$output" "$(cat in.log)
status 0"
	[ ! -e pwned ]
}

@test "a header that is hostile or too long for an environment" {
	printf '$(x),"a\nb"\n1,2\n' >in.csv
	line "mb-collect -j j.mbj in.csv -- sh -c 'printf \"<%s>\\\\n\" \"\$MB_HEADER\"; cat'"
	is "$output" $'<$(x),"a\nb">\n$(x),"a\nb"\n1,2\nstatus 0'
	{ printf 'x%.0s' $(seq 70000); printf ',b\n1,2\n'; } >long.csv
	line "mb-collect -j k.mbj long.csv -- sh -c 'echo \${MB_HEADER-unset}; wc -c'"
	is "$output" $'unset\n70007\nstatus 0'
}

@test "a command that doesn't read commits; one that leaves half unread, too" {
	seq 300000 >in.log
	for cmd in true 'head -n 1' 'sh -c "exec <&-; exit 0"'; do
		rm -rf j.mbj*
		line "mb-collect -j j.mbj in.log -- $cmd"
		[[ $output == *"status 0" ]]
		is "$(states j.mbj)" "0 committed"
	done
}

@test "a command that fails is run again, with the same token, then we stop; the next start tries once more" {
	cmd='sh -c '\''echo "$MB_BATCH $MB_TOKEN" >>tries; [ -e fine ]'\'
	line "mb-collect -j j.mbj --max-retries 2 --max-records 20 in.log -- $cmd"
	has "$output" "batch 0: sh: exit status 1; trying again" "mb-collect: batch 0: sh: exit status 1
status 75"
	is "$(wc -l <tries) $(sort -u tries | wc -l)" "3 1"
	is "$(states j.mbj)" "0 failed"
	is "$(mb-replay -j j.mbj --json | jq -c '[.fails, .reason]')" '[3,"sh: exit status 1"]'
	line "mb-collect -j j.mbj --max-retries 2 --max-records 20 in.log -- $cmd"
	is "$output" "mb-collect: batch 0: sh: exit status 1
status 75"
	is "$(wc -l <tries)" 4
	touch fine
	line "mb-collect -j j.mbj --max-records 20 in.log -- $cmd"
	is "$output" "status 0"
	is "$(states j.mbj)" "0 committed 1 committed"
	is "$(sort -u tries | wc -l)" 2
}

@test "64 and 65 of a command are passed on, all else is 75" {
	for pair in 64:64 65:65 1:75 70:75 75:75 127:75; do
		rm -rf j.mbj*
		line "mb-collect -j j.mbj --max-retries 0 in.log -- sh -c 'exit ${pair%:*}'"
		is "$output" "mb-collect: batch 0: sh: exit status ${pair%:*}
status ${pair#*:}"
	done
	rm -rf j.mbj*
	line "mb-collect -j j.mbj --max-retries 0 in.log -- sh -c 'kill -SEGV \$\$'"
	has "$output" "sh: killed by signal 11" "status 75"
}

@test "--park-after sets a batch aside, over runs, and the next ones go on; unparked it comes again" {
	cmd='sh -c '\''echo "$MB_BATCH" >>tries; [ "$MB_BATCH" != 1 ] || [ -e fine ]; r=$?; [ $r = 1 ] || cat >>out; exit $r'\'
	for run in 1 2; do
		line "mb-collect -j j.mbj --max-retries 0 --park-after 3 --max-records 10 in.log -- $cmd"
		has "$output" "mb-collect: batch 1: sh: exit status 1" "status 75"
		is "$(states j.mbj)" "0 committed 1 failed"
	done
	line "mb-collect -j j.mbj --max-retries 0 --park-after 3 --max-records 10 in.log -- $cmd"
	is "$output" "mb-collect: batch 1: sh: exit status 1; parked
status 0"
	is "$(states j.mbj)" "0 committed 1 parked 2 committed"
	is "$(xargs <tries)" "0 1 1 1 2"
	touch fine
	line "mb-replay -j j.mbj --unpark 1; mb-collect -j j.mbj in.log -- $cmd"
	is "$(states j.mbj)" "0 committed 1 committed 2 committed"
	sort -n out | cmp - in.log
}

@test "75 of a command means try again, and doesn't count for parking" {
	line "mb-collect -j j.mbj --max-retries 4 --park-after 2 in.log -- sh -c 'echo >>tries; [ \$(wc -l <tries) -gt 3 ] && cat || exit 75'"
	has "$output" "trying again" "$(cat in.log)
status 0"
	is "$(wc -l <tries)" 4
}

@test "a program that isn't there is 64 before anything is planned" {
	touch plain
	for cmd in nosuchprogram ./nosuch ./plain /; do
		line "mb-collect -j j.mbj in.log -- $cmd"
		has "$output" "mb-collect: -- $cmd: no such program" "status 64"
	done
	[ ! -e j.mbj ]
	line 'mb-collect -j j.mbj in.log --'
	has "$output" "--: no command behind it" "status 64"
	line 'mb-collect -j j.mbj --timeout 1s in.log'
	has "$output" "--timeout: needs -- CMD" "status 64"
	# One that goes away later has not failed a batch.
	printf '#!/no/such/interpreter\n' >broken
	chmod +x broken
	line 'mb-collect -j j.mbj in.log -- ./broken'
	has "$output" "batch 0: -- ./broken: No such file or directory" "status 64"
	is "$(states j.mbj)" "0 planned"
	line 'mb-collect -j j.mbj in.log -- cat'
	is "$(states j.mbj)" "0 committed"
}

@test "--timeout ends the whole group, with TERM, then with KILL" {
	# A loaded machine may take longer than that to start it.
	for ms in 300 3000 30000; do
		line "mb-collect -j j.mbj --timeout ${ms}ms --max-retries 0 in.log -- sh -c 'trap \"echo told; exit 0\" TERM; sleep 200 & wait'"
		has "$output" "mb-collect: batch 0: sh: not done after $ms ms" "status 75"
		[[ $output != *told* ]] || break
	done
	has "$output" told
	is "$(states j.mbj)" "0 failed"
	# One that won't hear, and its child.
	for ms in 200 2000 20000; do
		start "mb-collect -j j.mbj --timeout ${ms}ms --max-retries 0 in.log -- sh -c 'trap \"\" TERM; echo \$\$ >pid; sleep 201 & echo \$! >pid2; wait; sleep 202'"
		finished "$leader" 75
		has "$(cat err)" "not done after $ms ms"
		[ ! -s pid2 ] || break
	done
	eventually gone "$(cat pid)"
	eventually gone_or_zombie "$(cat pid2)"
}

gone_or_zombie() {
	gone "$1" || [[ $(ps -o stat= "$1") == Z* ]]
}

@test "what a command leaves behind keeps nobody waiting, and holds no lock" {
	line "mb-collect -j j.mbj --max-records 10 in.log -- sh -c 'sleep 1000 & echo \$! >>pids; cat >>out' >said 2>&1"
	is "$output" "status 0"
	is "$(cat said)" ""
	cmp in.log out
	# They still live, and a later run does not wait for them.
	for pid in $(cat pids); do
		kill -0 "$pid"
	done
	echo 31 >>in.log
	line 'timeout 200 mb-collect -j j.mbj in.log -- cat'
	is "$output" $'31\nstatus 0'
	kill $(cat pids)
	# After a failure they don't.
	rm pids
	line "mb-collect -j k.mbj --max-retries 0 in.log -- sh -c 'sleep 1000 & echo \$! >>pids; exit 1' >said 2>&1"
	is "$output" "status 75"
	eventually gone_or_zombie "$(cat pids)"
}

@test "a command inherits standard streams, a lock, and nothing else" {
	line "exec 3>&- 4>&-; mb-collect -j j.mbj in.log -- bash -c 'ls -l /proc/\$\$/fd | sed -n \"s/.* \\\\([0-9]*\\\\) -> /\\\\1 /p\"; grep SigIgn /proc/\$\$/status; ulimit -n'"
	# bats and bash have descriptors of their own, from 10 on; ours are low.
	mine=$(grep -c "$PWD/j.mbj" <<<"$output")
	is "$mine" 2
	has "$output" "j.mbj.d/lock" "(deleted)" "$(ulimit -n)" "status 0"
	# SIGPIPE is 13; we ignore it, the command doesn't.
	[[ $output =~ SigIgn:[[:space:]]*([0-9a-f]+) ]]
	is "$((0x${BASH_REMATCH[1]} & 0x1000))" 0
}

@test "killed, its command goes on, and the next mb-collect waits for it" {
	mkfifo go
	cmd='sh -c '\''echo begin >>log; read x <go; cat >>out; echo end >>log'\'
	start "mb-collect -j j.mbj in.log -- $cmd"
	eventually test -s log
	kill -KILL "$(pid_of mb-collect)"
	finished "$leader" 137
	old=$leader
	start "mb-collect -j j.mbj in.log -- $cmd"
	eventually grep -q "waiting for the former pipeline" err
	is "$(cat log)" begin
	echo >go
	again() { [ "$(grep -c begin log)" = 2 ]; }
	eventually again
	# at-least-once: it runs again.
	echo >go
	finished
	is "$(xargs <log)" "begin end begin end"
	is "$(sort -n out | uniq -c | awk '{ print $1 }' | sort -u)" 2
	is "$(states j.mbj)" "0 committed"
}

@test "SIGTERM lets the command finish, and commits; a second one goes to it, too" {
	mkfifo go
	start "mb-collect -j j.mbj -f -i 0 in.log -- sh -c 'echo \$\$ >pid; read x <go; cat >out'"
	eventually test -s pid
	collector=$(pid_of mb-collect)
	kill -TERM "$collector"
	eventually took "$collector"
	kill -0 "$(cat pid)"
	echo >go
	finished
	is "$(states j.mbj)" "0 committed"
	echo more >>in.log
	rm pid
	start "mb-collect -j j.mbj -f -i 0 in.log -- sh -c 'trap \"echo heard >said2; exit 1\" TERM; echo \$\$ >pid; sleep 300 & wait'"
	eventually test -s pid
	collector=$(pid_of mb-collect)
	kill -TERM "$collector"
	eventually took "$collector"
	kill -TERM "$collector"
	finished "$leader" 143
	eventually test -s said2
	is "$(states j.mbj)" "0 committed 1 planned"
}

@test "following: each batch is a run; a failing one is tried again while the file grows" {
	start "mb-collect -j j.mbj -f -i 0 in.log -- sh -c '[ \"\$MB_BATCH\" != 1 ] || [ -e fine ] && cat >>out'"
	eventually settled j.mbj 1
	echo 31 >>in.log
	failed() { [[ $(states j.mbj) == *failed* ]]; }
	eventually failed
	echo 32 >>in.log
	touch fine
	eventually settled j.mbj 2
	kill -TERM "$(pid_of mb-collect)"
	finished
	sort -n out | cmp - in.log
}

@test "bytes of a planned batch that are gone: the command is not run; 65, or parked" {
	mb-collect -j j.mbj --max-records 10 in.log >/dev/null
	seq 101 130 >in.log
	line 'mb-collect -j j.mbj --wait 1s in.log -- sh -c "echo ran >>ran; cat >>out"'
	has "$output" "mb-collect: batch 0: $here/in.log: bytes 0 to " "status 65"
	[ ! -e ran ]
	line 'mb-collect -j j.mbj --park-after 1 in.log -- sh -c "echo ran >>ran; cat >>out"'
	has "$output" "parked" "status 0"
	has "$(states j.mbj)" "0 parked" "committed"
	grep -q 130 out
}

@test "no room for the input of a command: 75, and it is not run" {
	mkdir disk
	mount -t tmpfs -o size=1m none disk
	seq 200000 >in.log
	line 'mb-collect -j disk/j.mbj in.log -- sh -c "echo ran >ran"'
	umount disk
	has "$output" "No space left on device" "status 75"
	[ ! -e ran ]
}

tear_down() {
	[ ! -s pids ] || kill $(cat pids) 2>/dev/null || true
	! mountpoint -q disk 2>/dev/null || umount disk
}

@test "a pipe is a source of commands, too" {
	line 'seq 25 | mb-collect -j j.mbj --max-records 10 -- sh -c "cat; echo --"'
	is "$output" "$(seq 10)
--
$(seq 11 20)
--
$(seq 21 25)
--
status 0 0"
	is "$(ls j.mbj.d/spool | wc -l)" 1
}

@test "mb-commit as the command, or in it, commits each batch once, however often it is run" {
	printf 'a,b\n1,2\n3,4\n' >in.csv
	for target in dir:out 'sqlite:x.db#t'; do
		rm -rf j.mbj* tries
		# The first attempt of each batch fails behind the commit.
		line "mb-collect -j j.mbj --max-records 1 in.csv -- sh -c 'mb-commit \"$target\" || exit; echo \$MB_BATCH >>tries; [ \$(grep -cx \$MB_BATCH tries) = 2 ]'"
		is "$output" "mb-collect: batch 0: sh: exit status 1; trying again
mb-commit: batch 0: is committed already; dropped
mb-collect: batch 1: sh: exit status 1; trying again
mb-commit: batch 1: is committed already; dropped
status 0"
		is "$(states j.mbj)" "0 committed 1 committed"
		# It has left the journal to mb-collect.
		is "$(grep -c '"mb":"commit"' j.mbj) $(grep -c '"role":"commit"' j.mbj)" "2 0"
	done
	is "$(rows out | xargs)" "1,2 3,4"
	is "$(sqlite3 x.db 'SELECT a, b FROM t')" $'1|2\n3|4'
	is "$(sqlite3 x.db 'SELECT first, last, holes FROM mb_commits')" "0|1|"
	# By itself, two targets, and rows that another tool has made.
	line 'mb-collect -j k.mbj in.csv -- mb-commit dir:out2'
	is "$output" "status 0"
	is "$(rows out2 | xargs)" "1,2 3,4"
	line "mb-collect -j l.mbj in.csv -- sh -c 'cat >all.csv && mb-agg -a sum:a all.csv >agg && mb-commit dir:sums <agg && mb-commit dir:all <all.csv'"
	is "$output" "status 0"
	is "$(cat sums/* all/* | xargs)" "a_sum 4 a,b 1,2 3,4"
	# No rows: nothing to commit, and the batch is done.
	line "mb-collect -j m.mbj in.csv -- sh -c ': >none && mb-commit dir:none.out <none'"
	is "$output" "status 0"
	is "$(states m.mbj)" "0 committed"
}

@test "in a command mb-commit takes no pipe, which may end early, no other token, and no old target" {
	line "mb-collect -j j.mbj --max-retries 0 in.csv -- sh -c 'cat | mb-commit dir:out'"
	has "$output" "mb-commit: standard input: a pipe may end early unnoticed" "status 64"
	[ ! -e out ]
	line "mb-collect -j j.mbj --max-retries 0 in.csv -- sh -c 'MB_TOKEN=x mb-commit dir:out'"
	has "$output" 'has no open batch 0 with this $MB_TOKEN' "status 64"
	line "mb-collect -j j.mbj --max-retries 0 in.csv -- sh -c 'cat >/dev/null; mb-commit dir:out'"
	has "$output" "standard input: another program has read it" "status 64"
	line "mb-collect -j j.mbj --max-retries 0 in.csv -- sh -c 'cat | mb-commit --plain -'"
	is "$output" "a,b
1,2
3,4
5,6
status 0"
	# A target that a copy of the journal has filled.
	cp -r j.mbj copy.mbj
	cp -r j.mbj.d copy.mbj.d
	printf 'a,b\n7,8\n' >other.csv
	line "mb-collect -j copy.mbj other.csv -- mb-commit dir:out"
	is "$output" "status 0"
	echo 9,9 >>in.csv
	line "mb-collect -j j.mbj --max-retries 0 in.csv -- mb-commit dir:out"
	has "$output" "the journal is a copy or was restored from an older one" "status 65"
}
