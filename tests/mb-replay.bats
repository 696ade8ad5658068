#!/usr/bin/env bats
# mb-replay: the batches of a journal, listed, shown, verified, sent again.

load helpers

set_up() {
	printf 'a,b\n1,2\n3,4\n5,6\n' >in.csv
}

# Three batches, all committed to out.
commit_three() {
	mb-collect -j j.mbj --max-records 1 in.csv | mb-commit dir:out
}

@test "a new journal has no batches; no journal is an error" {
	run mb-replay -j j.mbj
	is "$status $output" "64 mb-replay: $PWD/j.mbj: no such journal"
	[ ! -e j.mbj ] && [ ! -e j.mbj.d ]
	run mb-replay
	is "$status $output" "64 mb-replay: no journal: give -j FILE or set MB_JOURNAL"
	: | mb-collect -j j.mbj >/dev/null
	run mb-replay -j j.mbj
	is "$status $output" "0 "
}

@test "the table: a line per batch" {
	mb-collect -j j.mbj --max-records 2 in.csv >frames
	head -n 5 frames | mb-commit dir:out 2>/dev/null || true
	run mb-replay -j j.mbj
	is "$status" 0
	is "$(echo "$output" | tr -s ' ' | sed 's/[0-9-]*T[0-9][0-9:]*/TIME/; s/ [0-9.]*s / LAG /; s/^ //')" \
		"batch state time (UTC) records bytes lag range
0 committed TIME 2 8B LAG in.csv:4-12
1 planned TIME 1 4B LAG in.csv:12-16"
	MB_JOURNAL=j.mbj run mb-replay
	is "${#lines[@]}" 3
}

@test "the table has 80 columns, whatever is in it" {
	name=a-very-long-name-of-a-log-with-an-ü.log
	seq 300000 >"$name"
	seq 5 | tee b.log >c.log
	mb-collect -j j.mbj --max-records 100000 "$name" b.log c.log >/dev/null
	run mb-replay -j j.mbj
	is "$status" 0
	for l in "${lines[@]}"; do
		[ "$(printf %s "$l" | LC_ALL=C.UTF-8 wc -m)" -le 80 ]
	done
	has "${lines[1]}" "~th-an-ü.log:0- +2"
	has "${lines[3]}" "ü.log:1288825-"
	is "$(printf '%s\n' "${lines[@]}" | grep -c ' +')" 1
	has "$(mb-replay -j j.mbj --show 0)" "/$name bytes 0 to 588834"
}

@test "--json: an object a line" {
	commit_three
	is "$(mb-replay -j j.mbj --json | jq -c '[.batch, .state, .records, .bytes, .rows,
		(.ranges[0] | .start, .end, .records), .rejects]')" \
		'[0,"committed",1,4,1,4,8,1,0]
[1,"committed",1,4,1,8,12,1,0]
[2,"committed",1,4,1,12,16,1,0]'
	mb-replay -j j.mbj --json | jq -e '.time < .committed and .lag_ms >= 0 and
		(.digest | length) == 32 and (.ranges[0].hash | length) == 32' >/dev/null
}

@test "--show N: everything of one batch" {
	commit_three
	run mb-replay -j j.mbj --show 1
	has "$output" "batch     1" "state     committed" "records   1" "rows      1" \
		"range     $PWD/in.csv bytes 8 to 12, 1 records"
	is "$(mb-replay -j j.mbj --show 1 --json | jq -c .batch)" 1
}

@test "numbers: their frames, as they were, marked as a replay" {
	mb-collect -j j.mbj --max-records 1 in.csv >frames
	mb-commit dir:out <frames
	mb-replay -j j.mbj 1 0-1 >again
	is "$(grep -c '"hello".*"replay":true' again)" 1
	is "$(grep -v '^.{"mb"' again | xargs)" "3,4 1,2 3,4"
	is "$(grep '"begin".*"batch":1' again | head -n 1 | tr -d '\036' | jq -c 'del(.tag, .crc)')" \
		"$(grep '"begin".*"batch":1' frames | tr -d '\036' | jq -c 'del(.tag, .crc)')"
}

@test "--plain: records, the header once" {
	commit_three
	line 'mb-replay -j j.mbj --plain 0-2'
	is "$output" $'a,b\n1,2\n3,4\n5,6\nstatus 0'
}

@test "replaying a committed batch changes nothing, and says so" {
	commit_three
	cp -r out before
	line 'mb-replay -j j.mbj 0-2 | mb-commit dir:out'
	is "$output" "mb-commit: batch 0: is committed already; dropped
mb-commit: batch 1: is committed already; dropped
mb-commit: batch 2: is committed already; dropped
status 0 0"
	diff -r before out
	is "$(states j.mbj)" "0 committed 1 committed 2 committed"
}

# The first batch committed, two more planned.
commit_one() {
	mb-collect -j j.mbj --max-records 1 in.csv >frames
	head -n 5 frames | mb-commit dir:out 2>/dev/null || true
	is "$(states j.mbj)" "0 committed 1 planned 2 planned"
}

@test "a planned batch can be committed by a replay, in order" {
	commit_one
	line 'mb-replay -j j.mbj 2 | mb-commit dir:out'
	has "$output" "batch 2: a batch before it is not settled" " 75"
	line 'mb-replay -j j.mbj 1-2 | mb-commit dir:out'
	is "$output" "status 0 0"
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(rows out | xargs)" "1,2 3,4 5,6"
}

@test "before the first commit a replay keeps the order, and finds the target" {
	mb-collect -j j.mbj --max-records 1 in.csv >frames
	line 'mb-replay -j j.mbj 1 | mb-commit dir:out'
	has "$output" "batch 1: a batch before it is not settled" " 75"
	[ ! -e out/batch-000000001.csv ]
	is "$(states j.mbj)" "0 planned 1 planned 2 planned"
	line 'mb-replay -j j.mbj 0-1 | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(states j.mbj)" "0 committed 1 committed 2 planned"
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(rows out | xargs)" "1,2 3,4 5,6"
}

@test "--failed sends what failed" {
	mb-collect -j j.mbj --max-records 2 in.csv >/dev/null
	line 'mb-replay -j j.mbj --failed | mb-commit dir:out'
	is "$output" "status 0 0"
	[ ! -e out ]
	line 'mb-replay -j j.mbj 0 | mb-commit dir:out'
	is "$output" "status 0 0"
	echo mine >out/batch-000000001.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$(states j.mbj)" "0 committed 1 failed"
	has "$(mb-replay -j j.mbj --show 1)" "batch-000000001.csv is there"
	rm out/batch-000000001.csv
	line 'mb-replay -j j.mbj --failed | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(states j.mbj)" "0 committed 1 committed"
}

@test "into another target it is a copy: it settles nothing" {
	commit_one
	line 'mb-replay -j j.mbj 2 0 | mb-commit dir:copy'
	is "$output" "status 0 0"
	is "$(rows copy | xargs)" "1,2 5,6"
	is "$(states j.mbj)" "0 committed 1 planned 2 planned"
	line 'mb-replay -j j.mbj 0-2 | mb-commit dir:copy'
	has "$output" "batch 0: is committed already; dropped" "batch 2: is committed already; dropped" "status 0 0"
	is "$(rows copy | xargs)" "1,2 3,4 5,6"
	line 'mb-replay -j j.mbj 0-1 | mb-commit -'
	is "$output" $'a,b\n1,2\n3,4\nstatus 0 0'
	line 'mb-replay -j j.mbj 0-2 | mb-commit "sqlite:copy.db#t"'
	is "$output" "status 0 0"
	is "$(sqlite3 copy.db 'SELECT sum(a) FROM t')" 9
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(rows out | xargs)" "1,2 3,4 5,6"
}

@test "--verify: ok, gone, differs; only the last is a failure" {
	commit_three
	cp in.csv other.csv
	mb-collect -j j.mbj in.csv other.csv >/dev/null
	run mb-replay -j j.mbj --verify
	is "$status $output" $'0 0 ok\n1 ok\n2 ok\n3 ok'
	run mb-replay -j j.mbj --verify 1-2
	is "$status $output" $'0 1 ok\n2 ok'
	rm other.csv
	run mb-replay -j j.mbj --verify
	is "$status $output" "0 0 ok
1 ok
2 ok
3 gone: $PWD/other.csv: bytes 4 to 16: is gone"
	sed -i s/3/7/ in.csv
	run mb-replay -j j.mbj --verify 0-2
	is "$status $output" "1 0 ok
1 differs: $PWD/in.csv: bytes 8 to 12: not what they were when the batch was planned
2 ok"
	truncate -s 14 in.csv
	run mb-replay -j j.mbj --verify 2
	is "$status $output" "0 2 gone: $PWD/in.csv: bytes 12 to 16: it is shorter now"
	# It changes nothing.
	is "$(states j.mbj)" "0 committed 1 committed 2 committed 3 planned"
}

@test "a batch whose bytes differ is not sent" {
	mb-collect -j j.mbj in.csv >/dev/null
	sed -i s/3/7/ in.csv
	line 'mb-replay -j j.mbj 0 | mb-commit dir:out'
	has "$output" "$PWD/in.csv: bytes 4 to 16: not what they were" \
		"mb-commit: batch 0: " " 65"
	[ ! -e out ]
}

@test "a batch that is gone can't be sent, nor shown" {
	mb-collect -j j.mbj in.csv >/dev/null
	rm in.csv
	line 'mb-replay -j j.mbj --plain 0'
	has "$output" "in.csv: bytes 4 to 16: is gone" "status 65"
}

@test "usage errors name the batch or the option and end with 64" {
	commit_three
	for wrong in 3:'batch 3: not planned yet; the next will be 3' \
		0-3:'batch 3: not planned yet' 2-1:'"2-1"' x:'"x"' 1-:'"1-"' \
		99999999999999999999:'"99999999999999999999"' ''; do
		run mb-replay -j j.mbj "${wrong%%:*}"
		is "$status" 64
		has "$output" "mb-replay: " "${wrong#*:}"
	done
	for wrong in '--show x' '--show 9' '--show 1 2' '--failed 1' \
		'--show 1 --verify' '--nonsense' '--progress x'; do
		run mb-replay -j j.mbj $wrong
		is "$wrong $status" "$wrong 64"
	done
	run mb-replay -h
	has "$output" --failed --verify --show
}

@test "a torn tail is cut, kept, and told of" {
	commit_three
	before=$(stat -c %s j.mbj)
	printf '{"mb":"commit","batch":2,"ru' >>j.mbj
	run mb-replay -j j.mbj
	is "$status" 0
	has "$output" "mb-replay: $PWD/j.mbj: cut a torn tail of 28 bytes at byte $before (kept in $PWD/j.mbj.d/cut)"
	is "$(tail -c 28 j.mbj.d/cut/*)" '{"mb":"commit","batch":2,"ru'
	run mb-replay -j j.mbj
	is "${#lines[@]}" 4
	is "$(stat -c %s j.mbj)" "$before"
}

@test "a reader that goes away ends it quietly" {
	seq 300000 >big.log
	mb-collect -j j.mbj big.log >/dev/null
	line 'mb-replay -j j.mbj 0 | head -n 2 >/dev/null'
	is "$output" "status 75 0"
	line 'mb-replay -j j.mbj --plain 0 | head -n 2'
	is "$output" $'1\n2\nstatus 75 0'
}

@test "control characters of a name don't reach the terminal" {
	name=$'\e[2Jx.log'
	echo 1 >"$name"
	mb-collect -j j.mbj "$name" >/dev/null
	has "$(mb-replay -j j.mbj)" '\x1b[2Jx.log:0-2'
	has "$(mb-replay -j j.mbj --show 0)" '/\x1b[2Jx.log bytes'
	rm "$name"
	has "$(mb-replay -j j.mbj --verify)" 'gone: ' '/\x1b[2Jx.log: bytes'
	mb-replay -j j.mbj --json | jq -e . >/dev/null
}

# Three batches of two lines in the journal, none of them committed.
three_planned() {
	seq 6 >in.log
	mb-collect -j j.mbj --max-records 2 in.log >/dev/null
}

@test "--park, --unpark: aside and back, and nothing twice" {
	three_planned
	line 'mb-replay -j j.mbj --park 0-1'
	is "$output" $'batch 0: parked\nbatch 1: parked\nstatus 0'
	line 'mb-replay -j j.mbj --park 1'
	is "$output" $'batch 1: was parked\nstatus 0'
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(states j.mbj)" "0 parked 1 parked 2 committed"
	is "$(ls out)" batch-000000002.txt
	line 'mb-replay -j j.mbj --park 2'
	is "$output" $'mb-replay: --park: batch 2: is committed, not planned\nstatus 64'
	line 'mb-replay -j j.mbj --unpark 1'
	is "$output" $'batch 1: planned\nstatus 0'
	is "$(states j.mbj)" "0 parked 1 planned 2 committed"
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	line 'mb-replay -j j.mbj --failed | mb-commit dir:out'
	is "$output" "status 0 0"
	same_records in.log out j.mbj
	line 'mb-replay -j j.mbj --unpark 3'
	has "$output" "--unpark: batch 3: not planned yet; the next will be 3" "status 64"
}

@test "--requeue: the ranges of a parked batch under a new number" {
	three_planned
	line 'mb-replay -j j.mbj --requeue 0'
	is "$output" $'mb-replay: --requeue: batch 0: is planned, not parked\nstatus 64'
	mb-replay -j j.mbj --park 0
	line 'mb-replay -j j.mbj --requeue 0'
	is "$output" $'batch 0: requeued as 3\nstatus 0'
	line 'mb-replay -j j.mbj --requeue 0'
	is "$output" $'batch 0: was requeued as 3\nstatus 0'
	# After a kill one doesn't know how far it came.
	line 'mb-replay -j j.mbj --requeue 0-1'
	is "$output" $'batch 0: was requeued as 3\nmb-replay: --requeue: batch 1: is planned, not parked\nstatus 64'
	seq 7 8 >>in.log
	line 'mb-collect -j j.mbj in.log | mb-commit --ordered dir:out'
	is "$output" "status 0 0"
	is "$(states j.mbj)" "0 void 1 committed 2 committed 3 committed 4 committed"
	is "$(rows out | xargs)" "3 4 5 6 1 2 7 8"
	has "$(mb-replay -j j.mbj --show 0)" "requeued  as batch 3"
	has "$(mb-replay -j j.mbj --show 3)" "requeued  from batch 0"
	is "$(mb-replay -j j.mbj --json | jq -c '[.batch, .requeued_as, .requeued_from]' |
		xargs)" "[0,3,null] [1,null,null] [2,null,null] [3,null,0] [4,null,null]"
	line 'mb-replay -j j.mbj 0 | mb-commit dir:out'
	has "$output" "batch 0: is " "dropped" "status 0 0"
	same_records in.log out j.mbj
}

@test "--requeue plans what is left, and says what is lost" {
	seq 4 >a.log
	seq 5 8 >b.log
	mb-collect -j j.mbj a.log b.log >/dev/null
	mb-replay -j j.mbj --park 0
	rm b.log
	line 'mb-replay -j j.mbj --requeue 0'
	has "$output" "batch 0: lost 4 records: $PWD/b.log: bytes 0 to 8: " \
		"batch 0: requeued as 1, without 4 records" "status 0"
	line 'mb-collect -j j.mbj a.log | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(rows out | xargs)" "1 2 3 4"
	has "$(mb-replay -j j.mbj --show 1)" "lost      4 records in 8 bytes"
	is "$(mb-replay -j j.mbj --json | jq -c 'select(.lost) | [.batch, .lost]')" "[1,4]"
}

@test "--requeue of a batch that is all gone: an empty one takes its place" {
	printf 'k,v\na,1\n' >in.csv
	mb-collect -j j.mbj in.csv >/dev/null
	mb-replay -j j.mbj --park 0
	printf 'k,v\nb,2\nc,3\nd,4\n' >in.csv
	line 'mb-replay -j j.mbj --requeue 0'
	has "$output" "batch 0: lost 1 records" "status 0"
	line 'mb-collect -j j.mbj in.csv | mb-agg -k k -a sum:v | mb-commit dir:out'
	has "$output" "status 0 0 0"
	is "$(states j.mbj)" "0 void 1 committed 2 committed"
	is "$(rows out | xargs)" "b,2 c,3 d,4"
}

@test "a pipeline that runs takes in what is requeued beside it" {
	start 'mb-collect -j j.mbj -f -i 20ms in.log | mb-commit --park-after 1 dir:out'
	seq 2 >in.log
	eventually settled j.mbj 1
	kill -STOP "$(pid_of mb-commit)"
	seq 3 4 >>in.log
	planned() { [ "$(mb-replay -j j.mbj | grep -c planned)" -eq 1 ]; }
	eventually planned
	mb-replay -j j.mbj --park 1
	kill -CONT "$(pid_of mb-commit)"
	mb-replay -j j.mbj --requeue 1
	come() { [ "$(states j.mbj)" = "0 committed 1 void 2 committed" ]; }
	eventually come
	seq 5 6 >>in.log
	eventually settled j.mbj 3
	kill -TERM "$(pid_of mb-collect)"
	finished
	same_records in.log out j.mbj
}

@test "--prune drops what is settled; what is parked stays and comes in" {
	three_planned
	mb-replay -j j.mbj --park 0 >/dev/null
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	seq 7 8 >>in.log
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	line 'mb-replay -j j.mbj --prune'
	is "$output" $'dropped what is settled of 4 batches\nstatus 0'
	is "$(states j.mbj)" "0 parked 3 committed"
	line 'mb-replay -j j.mbj --prune'
	is "$output" $'nothing to drop\nstatus 0'
	line 'mb-replay -j j.mbj --failed | mb-commit dir:out'
	is "$output" "status 0 0"
	seq 9 10 >>in.log
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	same_records in.log out j.mbj
	start 'mb-collect -j j.mbj -f in.log | cat >/dev/null'
	busy() { mb-replay -j j.mbj --prune; [ $? -eq 75 ]; }
	eventually busy
	kill -TERM "$(pid_of mb-collect)"
}

@test "--prune takes away what lies beside the journal of what it drops" {
	printf 'a,b\n1\n3\n5\n' >in.csv
	for i in 0 1 2; do
		mb-collect -j j.mbj --max-records 1 --once in.csv |
			mb-agg | mb-commit dir:out 2>/dev/null
		printf '{"torn' >>j.mbj
	done
	mb-replay -j j.mbj >/dev/null
	is "$(states j.mbj)" "0 committed 1 committed 2 committed"
	is "$(ls j.mbj.d/cut | wc -l)" 3
	ls j.mbj.d/rejects >before
	is "$(wc -l <before)" 3
	: >j.mbj.d/rejects/mine-000000000.txt
	line 'mb-replay -j j.mbj --prune'
	has "$output" "dropped what is settled of 3 batches" "removed " " files with rejected records or torn tails" "status 0"
	is "$(states j.mbj)" "2 committed"
	is "$(ls j.mbj.d/rejects | xargs)" "$(grep -e -000000002 before | xargs) mine-000000000.txt"
	is "$(ls j.mbj.d/cut | wc -l)" 1
	line 'mb-replay -j j.mbj --prune'
	is "$output" $'nothing to drop\nstatus 0'
}

# Other bytes in a file, from an offset on: put FILE OFFSET TEXT
put() {
	printf %s "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Where the Nth line of a kind begins: where_is FILE KIND N
where_is() {
	grep -abo "{\"mb\":\"$2\"" "$1" | sed -n "$3p" | cut -d: -f1
}

# Four batches; the plan of the last vouches for all before.
commit_four() {
	commit_three
	echo 7,8 >>in.csv
	mb-collect -j j.mbj in.csv | mb-commit dir:out
}

@test "--repair: nothing to mend; a torn tail is for the next tool" {
	commit_three
	line 'mb-replay -j j.mbj --repair'
	is "$output" $'nothing to mend\nstatus 0'
	printf '{"mb":"commit","batch":2,"ru' >>j.mbj
	cp j.mbj before
	for option in '' --yes; do
		line "mb-replay -j j.mbj --repair $option"
		has "$output" "line 11 at byte " ": an unfinished end, which was never synced" \
			"nothing to mend" "status 0"
		cmp j.mbj before
	done
	for wrong in '--yes' '--repair 1' '--repair --prune' '--repair --json'; do
		run mb-replay -j j.mbj $wrong
		is "$wrong $status" "$wrong 64"
	done
}

@test "--repair: one wrong bit is explained, and put back with --yes" {
	commit_four
	cp j.mbj good
	start=$(where_is j.mbj plan 2)
	at=$((start + 21))
	put j.mbj $at 0
	is "$(cmp -l j.mbj good | wc -l)" 1
	cp j.mbj bad
	run mb-replay -j j.mbj
	has "$output" "j.mbj: damaged at byte $start: "
	line 'mb-replay -j j.mbj --repair'
	is "$output" "line $(head -c $at j.mbj | wc -l | awk '{ print $1 + 1 }') at byte $start: one bit is wrong: byte $at is 0x30, was 0x31
mb-replay: j.mbj: is damaged, and nothing was changed: --repair --yes mends it, and keeps a copy
status 65"
	cmp j.mbj bad
	line 'mb-replay -j j.mbj --repair --yes'
	kept=$(echo j.mbj.damaged-*)
	has "$output" "mended; the journal as it was is $PWD/$kept" "status 0"
	cmp "$kept" bad
	is "$(stat -c %a "$kept" j.mbj | xargs)" "600 600"
	cmp -n "$(stat -c %s good)" j.mbj good
	has "$(tail -n 1 j.mbj)" '"role":"replay"' '"--repair","--yes"'
	echo 9,10 >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(rows out | xargs)" "1,2 3,4 5,6 7,8 9,10"
}

@test "--repair: a commit that can't be read is left out, and told again" {
	commit_four
	at=$(where_is j.mbj commit 1)
	put j.mbj $((at + 30)) 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
	line 'mb-replay -j j.mbj --repair'
	has "$output" "at byte $at: damaged (commit)" "no plan is missing" \
		"not settled by what is left: batch 0;" "status 65"
	line 'mb-replay -j j.mbj --repair --yes'
	has "$output" "status 0"
	is "$(states j.mbj)" "0 planned 1 committed 2 committed 3 committed"
	echo 9,10 >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	has "$output" "batch 0: is committed already; dropped" "status 0 0"
	is "$(states j.mbj)" "0 committed 1 committed 2 committed 3 committed 4 committed"
	is "$(rows out | xargs)" "1,2 3,4 5,6 7,8 9,10"
	line 'mb-replay -j j.mbj --repair'
	is "$output" $'nothing to mend\nstatus 0'
}

@test "--repair: where a plan is missing, the target has to tell" {
	commit_four
	at=$(where_is j.mbj plan 1)
	put j.mbj $((at + 30)) 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
	cp j.mbj bad
	for option in '' --yes; do
		line "mb-replay -j j.mbj --repair $option"
		has "$output" "at byte $at: damaged (plan)" \
			"start the pipeline once with mb-collect --adopt dir:$PWD/out" \
			"can't be mended; nothing was changed" "status 65"
		cmp j.mbj bad
	done
	mv j.mbj j.mbj.old
	echo 9,10 >>in.csv
	line "mb-collect -j j.mbj --adopt dir:$PWD/out in.csv | mb-commit dir:out"
	has "$output" "status 0 0"
	is "$(rows out | xargs)" "1,2 3,4 5,6 7,8 9,10"
}

@test "--repair --yes waits for nobody: a collector that lives is left alone" {
	start 'mb-collect -j j.mbj -f in.csv | cat >/dev/null'
	busy() { mb-replay -j j.mbj --repair --yes; [ $? -eq 75 ]; }
	eventually busy
	kill -TERM "$(pid_of mb-collect)"
}

@test "--repair --yes that is killed or fails anywhere: as it was, or mended" {
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
	[ -e "$so" ]
	commit_four
	cp j.mbj good
	put j.mbj $(($(where_is j.mbj plan 2) + 21)) 0
	cp j.mbj bad
	size=$(stat -c %s good)
	for mode in die tear EIO ENOSPC; do
		n=1
		while :; do
			cp bad j.mbj
			rm -f j.mbj.damaged-* fired
			env LD_PRELOAD="$so" ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
				MB_FAULT_REPORT=fired MB_FAULT_MODE=$mode MB_FAULT_AT=$n \
				mb-replay -j j.mbj --repair --yes >/dev/null 2>&1 || true
			# As it was; or what is mended, and then perhaps a run behind it.
			cmp -s j.mbj bad || {
				cmp -n "$size" j.mbj good
				cmp j.mbj.damaged-* bad
			}
			grep -q fired fired 2>/dev/null || break
			mb-replay -j j.mbj --repair --yes >/dev/null
			cmp -n "$size" j.mbj good
			cmp j.mbj.damaged-* bad
			n=$((n + 1))
		done
		[ $n -gt 3 ]
	done
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
}

@test "who waits for another process says so" {
	printf '1\n2\n' >x.log
	mb-collect -j j.mbj x.log >/dev/null
	mkfifo go
	# What a stopped process holds: the append lock, byte 3.
	start 'python3 -c "
import fcntl, struct
f = open(\"j.mbj.d/lock\", \"r+b\")
fcntl.fcntl(f, 37, struct.pack(\"hhqqi4x\", fcntl.F_WRLCK, 0, 3, 1, 0))
open(\"held\", \"w\").close()
open(\"go\").read()"'
	eventually test -e held
	start 'mb-replay -j j.mbj'
	eventually grep -qx 'mb-replay: j.mbj: waiting for another process that writes there, or was stopped while it did; fuser j.mbj.d/lock names them' err
	[ ! -s said ]
	echo >go
	finished
	has "$(cat said)" " planned "
}
