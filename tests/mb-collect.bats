#!/usr/bin/env bats
# mb-collect: batches are cut, journalled, and written as frames.

load helpers

set_up() {
	printf 'a,b\n1,2\n3,4\n5,6\n' >in.csv
	seq 10 >in.log
}

# collect ARGS: the records that come, a line per batch, without control lines;
# then what it says, and its status if that isn't 0.
collect() {
	local rc=0

	mb-collect -j j.mbj "$@" 2>said >frames || rc=$?
	records <frames
	sed 's/^/! /' said
	[ "$rc" -eq 0 ] || echo "status $rc"
}

# The batches of a stream, each as one line, records joined by blanks.
records() {
	awk '/^\036\{"mb":"begin"/ { n = 0; next }
		/^\036\{"mb":"end"/ { print ""; next }
		/^\036\{"mb":"abort"/ { print " abort"; next }
		/^\036\{"mb":/ { next }
		{ printf "%s%s", n++ ? " " : "", $0 }'
}

# A member of the begin lines.
begin() { # [-r] PATH
	grep -a '^.{"mb":"begin"' frames | tr -d '\036' | jq -c "$@"
}

@test "a file becomes a batch; what was appended becomes the next" {
	is "$(collect in.csv)" "1,2 3,4 5,6"
	is "$(begin '[.batch, .records, .format, .delimiter, [.fields[].name]]')" \
		'[0,3,"csv",",",["a","b"]]'
	is "$(begin '.ranges[0] | [.source, .start, .end, .records]')" \
		"[\"$PWD/in.csv\",4,16,3]"
	mb-commit dir:out <frames
	printf '7,8\n' >>in.csv
	is "$(collect in.csv)" "7,8"
	is "$(begin .batch)" 1
	is "$(collect in.csv | mb-commit dir:out; cat frames | wc -l)" 5
}

@test "no data, no batch: an empty file, a header alone, nothing new" {
	: >empty.log
	printf 'a,b\n' >header.csv
	is "$(collect empty.log header.csv)" ""
	is "$(mb-replay -j j.mbj)" ""
	collect in.log >/dev/null
	mb-commit dir:out <frames
	is "$(collect in.log empty.log)" ""
	is "$(states j.mbj)" "0 committed"
}

@test "what isn't committed comes again, the same, before anything new" {
	collect --max-records 2 in.csv >/dev/null
	printf '7,8\n' >>in.csv
	is "$(collect --max-records 100 in.csv)" "1,2 3,4
5,6
7,8"
	is "$(begin .batch)" "0
1
2"
}

@test "--max-records and --max-bytes cut earlier, but never within a record" {
	is "$(collect --max-records 4 in.log)" "1 2 3 4
5 6 7 8
9 10"
	rm -r j.mbj*
	# Never more than SIZE, but a single record is never too much.
	is "$(collect --max-bytes 4B in.log)" "1 2
3 4
5 6
7 8
9
10"
	rm -r j.mbj*
	is "$(collect --max-bytes 1B in.csv)" "1,2
3,4
5,6"
	rm -r j.mbj*
	is "$(collect --max-records 3 --max-bytes 4B in.csv)" "1,2
3,4
5,6"
}

@test "--once makes one new batch after what is uncommitted" {
	is "$(collect --once --max-records 2 in.csv)" "1,2 3,4"
	is "$(collect --once --max-records 2 in.csv)" "1,2 3,4
5,6"
	# It leaves the rest for later, and says nothing of it.
	rm -r j.mbj*
	is "$(collect --once --max-bytes 6B in.csv)" "1,2"
}

@test "a last line without newline waits, and counts with --final" {
	printf '7,8' >>in.csv
	is "$(collect in.csv)" "1,2 3,4 5,6
! mb-collect: $PWD/in.csv: 3 bytes after the last whole record wait for their end (--final takes them now)"
	mb-commit dir:out <frames
	is "$(collect --final in.csv)" "7,8"
	is "$(begin '.ranges[0] | [.start, .end, .partial]')" "[16,19,true]"
	mb-commit dir:out <frames
	is "$(cat out/batch-000000001.csv)" $'a,b\n7,8'
}

@test "an interval of zero needs no unit, others do; sizes likewise" {
	is "$(collect -i 0 --max-bytes 1G in.csv)" "1,2 3,4 5,6"
	is "$(collect -i 2 in.csv)" '! mb-collect: --interval: not a duration: "2" (try 500ms, 10s, 5m)
status 64'
	is "$(collect --max-bytes 5 in.csv)" '! mb-collect: --max-bytes: not a size: "5" (try 100B, 64K, 16M)
status 64'
}

@test "usage errors name the option and end with 64" {
	for wrong in '--max-records 0' '--max-records -1' '--max-bytes 0' \
		'--record-limit 0' '--stdin maybe' '--retain some' '--wait 1' \
		'--interval 1x' '--format xml' '--delimiter ab' \
		'--progress dots'; do
		run mb-collect -j j.mbj $wrong in.csv
		is "$status" 64
		has "$output" "mb-collect: ${wrong%% *}: "
	done
	run mb-collect -j j.mbj -d $'\xff' in.csv
	is "$status $output" "64 mb-collect: --delimiter: not an ASCII character"
	run mb-collect in.csv
	is "$status $output" "64 mb-collect: no journal: give -j FILE or set MB_JOURNAL"
	run mb-collect -j j.mbj --no-such-option in.csv
	is "$status" 64
	has "$output" --no-such-option
	run mb-collect -j no/such/j.mbj in.csv
	is "$status $output" "64 mb-collect: no/such/j.mbj: no such directory"
	# Nothing was made by any of them.
	[ ! -e j.mbj ]
}

@test "-h and -V answer on standard output" {
	run mb-collect -h
	has "$output" "mb-collect -j FILE" --record-limit --max-bytes
	run mb-collect -V
	[[ $output =~ ^mb-collect\ [0-9]+\. ]]
}

@test "MB_JOURNAL names the journal, and -j goes before it" {
	MB_JOURNAL=e.mbj mb-collect in.csv >frames
	[ -e e.mbj ]
	MB_JOURNAL=e2.mbj mb-collect -j j.mbj in.csv >frames
	[ -e j.mbj ] && [ ! -e e2.mbj ]
}

@test "the journal and what lies beside it are private" {
	umask 0
	collect in.csv >/dev/null
	is "$(stat -c %a j.mbj j.mbj.d j.mbj.d/lock | tr '\n' ' ')" "600 700 600 "
}

@test "a FILE that never existed is an error, one that has gone is not" {
	is "$(collect nosuch.csv)" "! mb-collect: $PWD/nosuch.csv: no such file
status 64"
	has "$(cat frames)" '"status":64'
	collect in.csv >/dev/null
	mb-commit dir:out <frames
	mv in.csv away
	has "$(collect in.csv)" "! mb-collect: $PWD/in.csv: is not there now"
	mkfifo pipe
	has "$(collect pipe)" "pipe: not a regular file" "status 64"
}

@test "several sources: ranges follow the operands, then the names" {
	mkdir dir dir/sub
	echo b1 >dir/b.log
	echo a1 >dir/a.log
	echo hidden >dir/.hidden.log
	echo below >dir/sub/c.log
	echo z1 >z.log
	echo y1 >y.log
	is "$(collect z.log dir 'y*.log')" "z1 a1 b1 y1"
	is "$(begin '[.ranges[].source | split("/")[-1]]')" \
		'["z.log","a.log","b.log","y.log"]'
}

@test "a file is read once, by however many names and ways it is given" {
	mkdir d
	mv in.csv d/in.csv
	ln d/in.csv hard.csv
	ln -s d/in.csv soft.csv
	ln -s d way
	is "$(collect d d/in.csv 'd/*.csv' hard.csv soft.csv)" "1,2 3,4 5,6"
	mb-commit dir:out <frames
	for way in ./d/in.csv d//in.csv "$PWD/d/in.csv" way/in.csv d/. d/ \
		way 'way/../d/i*' "../${PWD##*/}/d/in.csv"; do
		is "$way: $(collect "$way")" "$way: "
	done
	cd d
	is "$(mb-collect -j ../j.mbj . in.csv | wc -l)" 2
}

@test "two headers make two batches" {
	printf 'x,y\n8,9\n' >other.csv
	printf 'a,b\n10,11\n' >same.csv
	is "$(collect in.csv other.csv same.csv)" "1,2 3,4 5,6 10,11
8,9"
	is "$(begin '[.fields[].name]')" '["a","b"]
["x","y"]'
	mb-commit - <frames >out
	is "$(cat out)" $'a,b\n1,2\n3,4\n5,6\n10,11\nx,y\n8,9'
}

@test "a fast source does not keep out one with another header" {
	printf 'x,y\n8,9\n' >other.csv
	printf 'p\n7\n' >third.csv
	# Always something new.
	start 'echo a,b >fast.csv; while :; do echo 1,2; done >>fast.csv'
	eventually test -s fast.csv
	start 'exec mb-collect -j j.mbj -f -i 20ms fast.csv other.csv third.csv'
	eventually grep -aq '"name":"x"' said
	eventually grep -aq '"name":"p"' said
}

@test "CRLF, a BOM and a CR alone in csv" {
	printf '\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r5,"6\r\n"\r\n' >crlf.csv
	collect --max-records 1 crlf.csv >/dev/null
	is "$(begin '[.records, .fields[].name]')" '[1,"a","b"]
[1,"a","b"]
[1,"a","b"]'
	is "$(begin .ranges[0].start)" "8
13
17"
	printf '\xef\xbb\xbfx\r\n' >bom.log
	is "$(collect bom.log | tail -n 1 | od -An -c | tr -d ' ')" 'x\r\n'
}

@test "blank lines are records of lines alone" {
	printf '\n1\n\n\n2\n' >blank.log
	printf 'a\n\n1\n\n\n2\n\n' >blank.csv
	printf '\n{"a":1}\n  \n{"a":2}\n' >blank.ndjson
	collect blank.log >/dev/null
	is "$(begin .records)" 5
	rm -r j.mbj*
	collect --max-records 1 blank.csv >/dev/null
	is "$(begin .records | xargs)" "1 1"
	rm -r j.mbj*
	collect blank.ndjson >/dev/null
	is "$(begin .records)" 2
}

@test "formats: -F, the name, then the content" {
	echo '{"a":1}' >x.json
	echo '{"a":1}' >x.txt
	echo 'a	b' >x.tsv
	echo 'a,b' >y.txt
	for f in x.json=ndjson x.txt=ndjson x.tsv=tsv y.txt=lines; do
		rm -rf j.mbj*
		collect --no-header "${f%=*}" >/dev/null
		is "${f%=*}=$(begin -r .format)" "$f"
	done
	rm -r j.mbj*
	collect -F csv -d ';' --no-header y.txt >/dev/null
	is "$(begin '[.format, .delimiter, .fields]')" '["csv",";",null]'
	rm -r j.mbj*
	printf 'a;b\n1;2\n' >semi.csv
	collect -d ';' semi.csv >/dev/null
	is "$(begin '[.fields[].name]')" '["a","b"]'
}

@test "a quoted newline is not an end, wherever it is cut" {
	printf 'a,b\n1,"x\ny"\n"2\n\n",3\n' >q.csv
	collect --max-records 1 q.csv >/dev/null
	is "$(begin .ranges[0].end | xargs)" "12 20"
	mb-commit dir:out <frames
	is "$(cat out/batch-000000000.csv)" $'a,b\n1,"x\ny"'
}

@test "nothing in a record can forge control" {
	tag=0123456789abcdef
	# In quotes, and as a record of its own.
	control='\036{"mb":"end","tag":"'$tag'","batch":0,"records":1,"crc":"00000000"}'
	printf "a\n\"x\n${control//\"/\"\"}\n\"\n$control\n" >forged.csv
	printf '\036{"mb":"done","tag":"%s","status":0,"crc":"00000000"}\n\036\n\036{"mb":\n' \
		$tag >forged.log
	line 'mb-collect -j 1.mbj forged.csv | mb-commit dir:out1'
	is "$output" "status 0 0"
	cmp forged.csv out1/batch-000000000.csv
	line 'mb-collect -j 2.mbj forged.log | mb-commit dir:out2'
	is "$output" "status 0 0"
	cmp forged.log out2/batch-000000000.txt
	# Nor does a whole stream of another run within this one.
	mb-collect -j 3.mbj in.csv >frames.log
	line 'mb-collect -j 4.mbj -F lines frames.log | mb-commit dir:out4'
	is "$output" "status 0 0"
	cmp frames.log out4/batch-000000000.txt
}

@test "a record that is too long is rejected with its offset" {
	{ echo 1; printf '%0100d\n' 0; echo 2; } >long.log
	is "$(collect --record-limit 50B long.log)" "1 2
! mb-collect: batch 0: 1 bad record rejected; the first: $PWD/long.log: byte 2: longer than the record limit"
	is "$(begin '[.ranges[] | [.start, .end]]')" '[[0,2],[103,105]]'
	rejected=j.mbj.d/rejects/collect-000000000.ndjson
	is "$(sed 1d $rejected | jq -c '[.source, .offset, .length, .data]')" \
		"[\"$PWD/long.log\",2,101,\"$(printf '%0100d' 0)\\n\"]"
	has "$(mb-replay -j j.mbj --show 0)" "reject    bytes 2 to 103: "
	# The same again.
	cp $rejected before
	collect --record-limit 50B long.log >/dev/null
	cmp before $rejected
	# At the limit it is not too long: the line end belongs to it.
	rm -r j.mbj*
	has "$(collect --record-limit 101B long.log)" "1 000"
}

@test "rejects alone make a batch, and it is settled" {
	printf '%0100d\n' 0 >long.log
	line 'mb-collect -j j.mbj --record-limit 50B long.log | mb-commit dir:out'
	has "$output" "status 0 0"
	is "$(states j.mbj)" "0 committed"
	[ ! -e out ]
	echo 1 >>long.log
	line 'mb-collect -j j.mbj --record-limit 50B long.log | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(cat out/batch-000000001.txt)" 1
}

@test "a quote that is never closed costs its first line" {
	{ printf 'a,b\n1,2\n3,"4\n'; seq -f %g,0 1200; } >open.csv
	collect --final open.csv >/dev/null
	is "$(begin .records)" 1201
	is "$(jq -c '[.offset, .length]' j.mbj.d/rejects/collect-* | tail -n 1)" \
		"[8,5]"
	# Unless the end could still close it: then it waits.
	rm -r j.mbj*
	printf 'a,b\n1,2\n3,"4\n5,6\n' >open.csv
	has "$(collect open.csv)" "9 bytes after the last whole record wait"
	printf '"\n' >>open.csv
	is "$(collect --max-records 1 open.csv | tail -n 1)" '3,"4 5,6 "'
}

@test "a stray quote makes no record longer than its line" {
	printf 'a,b\n1,2"\n3,"4"x\n5,6\n' >stray.csv
	collect --max-records 1 stray.csv >/dev/null
	is "$(begin .ranges[0].end | xargs)" "9 16 20"
}

@test "names that are no text, and names with newlines, are shown harmlessly" {
	name=$'f\xff\n\e[31m.log'
	echo 1 >"$name"
	line "mb-collect -j j.mbj \$'f\\xff\\n\\e[31m.log' | mb-commit dir:\$'o\\xff'"
	is "$output" "status 0 0"
	# The table keeps to 80 columns, and cuts names at their beginning.
	has "$(mb-replay -j j.mbj)" '\x1b[31m.log:0-2'
	[[ $(mb-replay -j j.mbj) != *$'\e'* ]]
	has "$(mb-replay -j j.mbj --show 0)" 'f\xff\x0a\x1b[31m.log'
	is "$(mb-replay -j j.mbj --verify)" "0 ok"
	rm "$name"
	run mb-replay -j j.mbj --verify
	is "$status $output" "0 0 gone: $PWD/"'f\xff\x0a\x1b[31m.log: bytes 0 to 2: is gone'
}

@test "a header is no text, but travels" {
	printf '"x\ny",\xff,"q""q"\n1,2,3\n' >odd.csv
	line 'mb-collect -j j.mbj odd.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	cmp odd.csv out/batch-000000000.csv
}

@test "a thousand small files in a directory, with few descriptors" {
	mkdir many
	for i in {1..1000}; do echo "$i" >many/$i.log; done
	line 'ulimit -Sn 100; mb-collect -j j.mbj many | mb-commit dir:out'
	is "$output" "status 0 0"
	seq 1000 >expected
	same_records expected out j.mbj
	is "$(counts j.mbj)" "500 500"
	# Too few for all of them at once: one after the other, in more batches.
	line 'ulimit -n 100; mb-collect -j k.mbj many | mb-commit dir:out2'
	is "$output" "status 0 0"
	same_records expected out2 k.mbj
	is "$(counts k.mbj | tr ' ' '\n' | sort -n | tail -n 1)" 34
}

@test "a closed standard stream is not mistaken for a file" {
	line 'mb-collect -j k.mbj <&-'
	has "$output" "mb-collect: read standard input: Bad file descriptor" "status 75"
	for closed in '>&-' '<&- >&-' '>&- 2>&-' '<&- >&- 2>&-'; do
		line "mb-collect -j j.mbj in.csv $closed"
		has "$output" "status 75"
	done
	line "mb-collect -j j.mbj in.csv 2>&- <&- | mb-commit dir:out"
	is "$output" "status 0 0"
	is "$(mb-replay -j j.mbj --verify)" "0 ok"
}

# Following.

@test "-f waits for a FILE that isn't there, and sees it grow" {
	start 'mb-collect -j j.mbj -f -i 0 new.log "later/*.log" | mb-commit dir:out'
	eventually test -e j.mbj
	echo 1 >new.log
	eventually settled j.mbj 1
	echo 2 >>new.log
	eventually settled j.mbj 2
	mkdir later
	echo 3 >later/a.log
	eventually settled j.mbj 3
	printf 4 >>new.log
	printf '4\n' >>new.log
	eventually settled j.mbj 4
	kill -TERM "$(pid_of mb-collect)"
	finished
	is "$(cat out/batch-*)" $'1\n2\n3\n44'
	silent
}

@test "-i is a grid: no more batches than ticks, and all ticks with data" {
	start 'while echo; do sleep 0.01; done >>grow.log'
	eventually test -s grow.log
	began=$(date +%s%N)
	start 'mb-collect -j j.mbj -f -i 500ms grow.log | mb-commit dir:out'
	# Each was cut at a tick of the epoch's grid or, on a loaded machine,
	# after it.
	on_time() {
		[ "$(mb-replay -j j.mbj --json | jq -r '.time | .[20:23]' |
			awk '$1 % 500 < 50' | wc -l)" -ge 4 ]
	}
	eventually on_time
	kill -TERM "$(pid_of mb-collect)"
	finished
	ticks=$((($(date +%s%N) - began) / 500000000 + 1))
	[ "$(mb-replay -j j.mbj --json | wc -l)" -le "$ticks" ]
}

@test "a full batch does not wait for the grid" {
	start 'mb-collect -j j.mbj -f -i 1h --max-records 4 in.log | mb-commit dir:out'
	eventually settled j.mbj 2
	is "$(counts j.mbj)" "4 4"
	seq 11 14 >>in.log
	eventually settled j.mbj 3
	is "$(rows out | xargs)" "$(seq 12 | xargs)"
}

@test "SIGTERM and SIGINT end cleanly after the batch in hand" {
	for signal in TERM INT; do
		start "mb-collect -j $signal.mbj -f -i 0 in.log | mb-commit dir:$signal"
		eventually settled $signal.mbj 1
		kill -$signal "$(pid_of mb-collect)"
		finished
		is "$(states $signal.mbj)" "0 committed"
		silent
	done
}

@test "a second signal ends at once" {
	seq 1000000 >big.log
	mkfifo held
	start 'exec mb-collect -j j.mbj big.log >held'
	# A reader that doesn't read: mb-collect is in the middle of its batch.
	exec 7<held
	eventually grep -q '"plan"' j.mbj
	kill -INT "$leader"
	eventually took "$leader"
	kill -0 "$leader"
	kill -INT "$leader"
	finished "$leader" 130
	exec 7<&-
	line 'mb-collect -j j.mbj big.log | mb-commit dir:out'
	is "$output" "status 0 0"
	same_records big.log out j.mbj
}

@test "an idle mb-collect notices that its reader has gone" {
	start 'mb-collect -j j.mbj -f -i 1h nosuch.log | head -n 1'
	finished "$leader" 0
	start 'exec 3<in.log; sleep 1000 | mb-collect -j k.mbj -i 1h | head -n 1 3<&-'
	# It may be gone before anyone could see it; its journal tells.
	eventually grep '"role":"collect"' k.mbj
	left() { [ -z "$(pid_of mb-collect)" ]; }
	eventually left
}

@test "a collector whose committer has gone ends with 75" {
	line 'mb-collect -j j.mbj -f -i 10ms in.log | head -n 3 >/dev/null'
	is "$output" "status 75 0"
}

@test "a file that is truncated is read anew, a file that is replaced too" {
	start 'mb-collect -j j.mbj -f -i 0 in.log | mb-commit dir:out'
	eventually settled j.mbj 1
	printf 'x\n' >in.log
	eventually settled j.mbj 2
	printf 'y\nz\n' >fresh
	mv fresh in.log
	eventually settled j.mbj 3
	is "$(rows out | xargs)" "$(seq 10 | xargs) x y z"
	has "$(cat err)" "in.log: was replaced or truncated; it is read anew"
	kill -TERM "$(pid_of mb-collect)"
	finished
}

@test "a file that was rewritten while we were away is read anew" {
	collect in.log >/dev/null
	mb-commit dir:out <frames
	sed -i s/1/7/ in.log
	has "$(collect in.log)" "7 2 3 4 5 6 7 8 9 70" "was replaced or truncated"
}

@test "a file with another header that is replaced is read to its end first" {
	printf 'x,y\n8,9\n' >other.csv
	start 'mb-collect -j j.mbj -f -i 300ms in.csv other.csv | mb-commit dir:out'
	eventually test -e j.mbj.d/lock
	eventually settled j.mbj 2
	echo 7,8 >>in.csv
	printf '10,11\n' >>other.csv
	printf 'x,y\n12,13\n' >fresh
	mv fresh other.csv
	eventually settled j.mbj 4
	arrived() { rows out | grep -q 12,13; }
	eventually arrived
	is "$(rows out | sort -n | xargs)" "1,2 3,4 5,6 7,8 8,9 10,11 12,13"
}

@test "a changed source goes out as abort, and the pipeline stops" {
	collect in.csv >/dev/null
	sed -i s/3/9/ in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	has "$output" "batch 0: $PWD/in.csv: bytes 4 to 16: not what they were when the batch was planned" "65"
	is "$(states j.mbj | cut -c 1-8)" "0 failed"
	[ ! -e out ]
	rm in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	has "$output" "in.csv: bytes 4 to 16: is gone"
	has "$(mb-replay -j j.mbj --show 0)" "attempts  2 failed, the last: "
}

@test "a changed source doesn't matter to a batch that the sink has" {
	collect in.csv >/dev/null
	cp j.mbj before
	mb-commit dir:out <frames
	cp before j.mbj		# mb-commit died before its line
	rm in.csv
	line 'mb-collect -j j.mbj in.csv 2>/dev/null | mb-commit dir:out'
	has "$output" "status 0 0"
	is "$(states j.mbj)" "0 committed"
}

# Standard input.

@test "a pipe is cut on the grid until it ends, and then at once" {
	line 'seq 5 | mb-collect -j j.mbj -i 1h | mb-commit dir:out'
	is "$output" "status 0 0 0"
	is "$(rows out | xargs)" "1 2 3 4 5"
	start '{ seq 6 10; sleep 1000; } | mb-collect -j j.mbj -i 100ms | mb-commit dir:out'
	eventually settled j.mbj 2
	is "$(rows out | xargs)" "$(seq 10 | xargs)"
}

@test "-f ends with a pipe, if that is all there is" {
	line 'seq 5 | mb-collect -j j.mbj -f -i 1h | mb-commit dir:out'
	is "$output" "status 0 0 0"
	is "$(rows out | xargs)" "1 2 3 4 5"
}

@test "a pipe's half last line is a record, and is never glued to the next run" {
	line 'printf "1\n2" | mb-collect -j j.mbj -i 1h | mb-commit dir:out'
	line 'printf "3\n4\n" | mb-collect -j j.mbj -i 1h | mb-commit dir:out'
	is "$output" "status 0 0 0"
	is "$(rows out | xargs)" "1 2 3 4"
	is "$(mb-replay -j j.mbj --json | jq -c '[.ranges[] | .source, .generation, .start]' | xargs)" \
		"[-,0,0] [-,1,0]"
}

@test "the header of a pipe's later runs: the same, one that shares a name, none" {
	for input in 'a,b\n1,2\n' 'a,b\n3,4\n' '5,6\n' 'b,c\n7,8\n'; do
		line "printf '$input' | mb-collect -j j.mbj -i 1h -F csv | mb-commit dir:out"
		is "$output" "status 0 0 0"
	done
	is "$(cat out/*)" $'a,b\n1,2\na,b\n3,4\na,b\n5,6\nb,c\n7,8'
}

@test "what a pipe has brought is planned by the next run" {
	mkfifo p
	start 'exec mb-collect -j j.mbj -i 1h <p >/dev/null'
	exec 8>p
	seq 5 >&8
	spooled() { cat j.mbj.d/spool/* | grep -qx 5; }
	eventually spooled
	kill -TERM "$leader"
	exec 8>&-
	finished
	is "$(states j.mbj)" ""
	line 'seq 6 7 | mb-collect -j j.mbj -i 1h | mb-commit dir:out'
	is "$output" "status 0 0 0"
	is "$(rows out | xargs)" "1 2 3 4 5 6 7"
	# Not once more, and then nothing of it is kept.
	line ': | mb-collect -j j.mbj -i 1h | mb-commit dir:out'
	is "$output" "status 0 0 0"
	is "$(states j.mbj)" "0 committed 1 committed"
	is "$(ls j.mbj.d/spool)" ""
}

@test "--stdin again verifies and skips, and takes what is new" {
	for n in 3 3 5 2000 2001; do
		line "seq $n | mb-collect -j j.mbj -i 1h --stdin again | mb-commit dir:out"
		is "$n $output" "$n status 0 0 0"
	done
	seq 2001 >expected
	same_records expected out
	is "$(counts j.mbj)" "3 2 1995 1"
}

@test "--stdin again notices what is not as it was, or is missing" {
	line "seq 2000 | mb-collect -j j.mbj -i 1h --stdin again --max-records 1000 | mb-commit dir:out"
	line "seq 2000 | sed s/^5\$/6/ | mb-collect -j j.mbj -i 1h --stdin again | mb-commit dir:out"
	has "$output" "mb-collect: standard input: is not what it was before byte 3893 (--stdin again)" "65 65"
	line "seq 2000 | sed s/^1500\$/1600/ | mb-collect -j j.mbj -i 1h --stdin again | mb-commit dir:out"
	has "$output" "before byte 8893" "65 65"
	# In the middle of a long batch that was settled long ago.
	line "seq 9000 | mb-collect -j j.mbj -i 1h --stdin again | mb-commit dir:out"
	line "seq 9000 | sed s/^5000\$/5001/ | mb-collect -j j.mbj -i 1h --stdin again | mb-commit dir:out"
	has "$output" "is not what it was before byte" "65 65"
	line "seq 1999 | mb-collect -j j.mbj -i 1h --stdin again | mb-commit dir:out"
	has "$output" "it ends too early" "65 65"
	line "seq 9001 | mb-collect -j j.mbj -i 1h --stdin again | mb-commit dir:out"
	is "$output" "status 0 0 0"
}

@test "standard input that is a regular file is that file" {
	line 'mb-collect -j j.mbj <in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	line 'mb-collect -j j.mbj in.csv - <in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(states j.mbj)" "0 committed"
	is "$(ls j.mbj.d)" lock
}

@test "a here-document is read like a pipe" {
	exec 6<in.csv
	rm in.csv
	line 'mb-collect -j j.mbj -F csv <&6 | mb-commit dir:out'
	exec 6<&-
	is "$output" "status 0 0"
	is "$(cat out/*)" $'a,b\n1,2\n3,4\n5,6'
}

@test "- stands for standard input, beside files, and once" {
	line 'seq 3 | mb-collect -j j.mbj in.log - | mb-commit dir:out'
	is "$output" "status 0 0 0"
	is "$(rows out | xargs)" "$(seq 10 | xargs) 1 2 3"
	line 'seq 3 | mb-collect -j k.mbj - - | cat >/dev/null'
	has "$output" "mb-collect: -: named twice" "0 64 0"
}

@test "a record of a pipe that is longer than what is read ahead" {
	line '{ head -c 70000000 /dev/zero | tr "\0" x; echo; echo 1; } |
		mb-collect -j j.mbj --record-limit 100M -i 1h | grep -a -c "^1\$"'
	is "$output" $'1\nstatus 0 0 0'
}

@test "rejects at a pipe's start, longer than a segment of the spool" {
	line 'long() { head -c 40000000 /dev/zero | tr "\0" x; echo; }
		{ long; sleep 0.2; long; sleep 0.2; echo 1; sleep 0.2; echo 2; } |
		mb-collect -j j.mbj --record-limit 1K -i 0 | mb-commit dir:out'
	has "$output" "the first: standard input: byte 0: longer" "status 0 0 0"
	is "$(rows out | xargs)" "1 2"
}

# Everything else.

@test "the time of a plan is never before that of the last one" {
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
	[ -e "$so" ]
	LD_PRELOAD=$so ASAN_OPTIONS=verify_asan_link_order=0 MB_FAULT_PROG=- \
		MB_FAULT_TIME=4000000000 mb-collect -j j.mbj in.log >/dev/null
	seq 11 12 >>in.log
	collect in.log >/dev/null
	is "$(mb-replay -j j.mbj --json | jq -r .time)" "2096-10-02T07:06:40.000Z
2096-10-02T07:06:40.000Z"
}

@test "a second collector is refused, and told who the first one is" {
	start 'mb-collect -j j.mbj -f in.log | mb-commit dir:out'
	eventually settled j.mbj 1
	pid=$(pid_of mb-collect)
	run mb-collect -j j.mbj --wait 0 in.log
	is "$status" 75
	has "$output" "mb-collect: $PWD/j.mbj: in use by process $pid on $(uname -n), since 20"
}

@test "--wait waits for the other collector" {
	start 'mb-collect -j j.mbj -f in.log | mb-commit dir:out'
	first=$leader
	eventually settled j.mbj 1
	pid=$(pid_of mb-collect)
	start 'mb-collect -j j.mbj --wait 1m in.log | mb-commit dir:out'
	sleep 0.3
	kill -TERM "$pid"
	finished "$first"
	finished "$leader"
	is "$(states j.mbj)" "0 committed"
}

@test "a terminal gets records, the header once" {
	run python3 -c '
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp("mb-collect", ["mb-collect", "-j", "j.mbj", "--max-records", "2", "in.csv"])
out = b""
try:
    while True:
        piece = os.read(fd, 65536)
        if not piece:
            break
        out += piece
except OSError:
    pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out)'
	is "$output" "0 b'a,b\\r\\n1,2\\r\\n3,4\\r\\n5,6\\r\\n'"
}

@test "--progress json: one object per batch, with the fields of Spark" {
	mb-collect -j j.mbj --progress json --max-records 2 in.csv 2>progress |
		mb-commit --progress json dir:out 2>progress2
	is "$(jq -c '[.batchId, .numInputRows, .name, (.id | length)]' progress)" \
		'[0,2,"mb-collect",32]
[1,1,"mb-collect",32]'
	jq -e '.timestamp and .runId == 0 and .inputRowsPerSecond >= 0 and
		.processedRowsPerSecond >= 0 and .durationMs.triggerExecution >= 0 and
		.durationMs.walCommit >= 0 and (.sources[0] |
		.description and .startOffset and .endOffset and .numInputRows)' \
		progress >/dev/null
	is "$(jq -c '[.batchId, .numInputRows, .sink.numOutputRows, .sink.description]' progress2)" \
		"[0,2,2,\"dir:$PWD/out\"]
[1,1,1,\"dir:$PWD/out\"]"
	is "$(jq -c '.sources[0] | [.startOffset, .endOffset]' progress2)" '[4,12]
[12,16]'
}

@test "-v: a line per batch where standard error is no terminal" {
	is "$(collect -v --max-records 2 in.csv | sed -n 's/: .*//p' | sort | uniq -c | xargs)" \
		"2 ! mb-collect"
	has "$(cat said)" "batch 0: " "records/s" "MB/s" "lag"
}

@test "--retain keeps the journal small, and others notice the rewrite" {
	seq 150 >many.log
	start "mb-collect -j j.mbj -f -i 0 --max-records 1 --retain 5 many.log | mb-commit dir:out"
	eventually settled j.mbj 1
	reached() { [ "$(ls out | wc -l)" -ge "$1" ]; }
	eventually reached 150
	echo 151 >>many.log
	eventually reached 151
	kill -TERM "$(pid_of mb-collect)"
	finished
	seq 151 >expected
	same_records expected out j.mbj
	n=$(mb-replay -j j.mbj | wc -l)
	[ "$n" -ge 6 ] && [ "$n" -lt 120 ]
	run mb-replay -j j.mbj 0
	is "$status" 64
	has "$output" "batch 0: is not in the journal any more (mb-collect --retain)"
	line 'mb-collect -j j.mbj --retain 5 many.log | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(ls -A . | grep tmp)" ""
}

@test "killed at any moment, started again: nothing lost, nothing twice" {
	seq 3000 >many.log
	for i in {1..12}; do
		start "mb-collect -j j.mbj --max-records 20 many.log | mb-commit dir:out"
		sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
		killed
	done
	line "mb-collect -j j.mbj --max-records 20 many.log | mb-commit dir:out"
	has "$output" "status 0 0"
	same_records many.log out j.mbj
	is "$(rows out | head -n 25 | xargs)" "$(seq 25 | xargs)"
}

@test "killed at any moment, fed by a pipe that starts over each time" {
	for i in {1..10}; do
		start "seq 3000 | mb-collect -j j.mbj --stdin again --max-records 20 | mb-commit dir:out"
		sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
		killed
	done
	line "seq 3000 | mb-collect -j j.mbj --stdin again --max-records 20 | mb-commit dir:out"
	has "$output" "status 0 0"
	seq 3000 >expected
	same_records expected out j.mbj
	line "seq 3000 | mb-collect -j j.mbj --stdin again --max-records 20 | mb-commit dir:out"
	is "$(ls j.mbj.d/spool)" ""
}

@test "a large batch leaves whole, whatever the pipe does" {
	seq 700000 >many.log
	for mode in none eintr-all short-all; do
		rm -rf j.mbj* out
		line "LD_PRELOAD=$BATS_TEST_DIRNAME/../build/tests/fault.so ASAN_OPTIONS=verify_asan_link_order=0 \
			MB_FAULT_PROG=mb-collect MB_FAULT_CALLS=pipe,read \
			MB_FAULT_MODE=${mode/none/} mb-collect -j j.mbj many.log | cat | mb-commit dir:out"
		is "$output" "status 0 0 0"
		same_records many.log out j.mbj
	done
}

@test "killed while a large batch leaves: again, whole" {
	seq 700000 >many.log
	for n in 1 2 5 12; do
		line "LD_PRELOAD=$BATS_TEST_DIRNAME/../build/tests/fault.so ASAN_OPTIONS=verify_asan_link_order=0 \
			MB_FAULT_PROG=mb-collect MB_FAULT_CALLS=pipe \
			MB_FAULT_MODE=die MB_FAULT_AT=$n mb-collect -j j.mbj many.log | mb-commit dir:out"
		has "$output" "status 137 "
	done
	line "mb-collect -j j.mbj many.log | mb-commit dir:out"
	has "$output" "status 0 0"
	same_records many.log out j.mbj
	is "$(counts j.mbj)" 700000
}

@test "a journal that is a directory is refused, and nothing is made beside it" {
	mkdir j
	run mb-collect -j j </dev/null
	[ "$status" -eq 64 ]
	[[ "$output" == *"/j: not a regular file" ]]
	[ ! -e j.d ]
}

@test "what can't be a stream of records, or its reader, is told by its name" {
	line 'mb-collect -j j.mbj in.csv | mb-collect -j k.mbj | mb-commit dir:o'
	has "$output" "mb-collect: standard input: is frames, of a pipeline that another tool has begun" " 64 64"
	[ ! -e o ]
	line 'mb-collect -j l.mbj in.csv >&-'
	is "$output" "mb-collect: write standard output: Bad file descriptor
status 75"
}

@test "a journal that may not be written to is refused: trying again won't help" {
	mkdir -m 755 ro
	mkdir -m 777 rw
	chmod 711 . .. ../.. ../../..
	mb-collect -j rw/j.mbj in.csv >/dev/null
	chmod 644 in.csv
	for args in 'mb-collect -j ro/j.mbj' 'mb-collect -j rw/j.mbj' 'mb-replay -j rw/j.mbj'; do
		line "setpriv --reuid 65534 --clear-groups $args </dev/null"
		is "$output" "${args%% *}: $PWD/${args##* }: may not be written to: Permission denied
status 64"
	done
	line "setpriv --reuid 65534 --clear-groups mb-replay -j ro/j.mbj"
	is "$output" "mb-replay: $PWD/ro/j.mbj: no such journal
status 64"
	is "$(ls ro)" ""
	line "setpriv --reuid 65534 --clear-groups mb-collect -j rw/k.mbj in.csv | grep -ac 3,4"
	is "$output" $'1
status 0 0'
	chmod 0 in.csv
	line "setpriv --reuid 65534 --clear-groups mb-agg -a count in.csv"
	is "$output" $'mb-agg: in.csv: Permission denied
status 64'
	line "setpriv --reuid 65534 --clear-groups mb-agg --rejects ro/x -a count </dev/null"
	is "$output" $'mb-agg: --rejects: ro/x: Permission denied
status 64'
}

@test "a file that is no journal is refused, and nothing is made beside it" {
	: >empty
	for file in in.csv empty; do
		line "mb-collect -j $file in.log"
		is "$output" "mb-collect: $PWD/$file: is not a journal
status 64"
		line "mb-replay -j $file"
		has "$output" "is not a journal" "status 64"
		[ ! -e "$file.d" ]
	done
	is "$(cat in.csv)" $'a,b\n1,2\n3,4\n5,6'
	line "mb-collect -j '' in.log"
	has "$output" "mb-collect: the journal's name is empty" "status 64"
}

@test "a limit on the size of files is a full disk, not a death" {
	line 'seq 1000 >big; ulimit -f 1; mb-collect -j j.mbj --max-records 10 big | mb-commit dir:o'
	has "$output" "File too large" "75"
	line 'mb-collect -j j.mbj big | mb-commit dir:o'
	has "$output" "status 0 0"
	is "$(cat o/*.txt)" "$(seq 1000)"
}

@test "a record that is rejected is told, with its place" {
	printf 'a,b\n1,2\n3,"4\n5,6\n' >in.csv
	line 'mb-collect -j j.mbj --final in.csv | mb-commit dir:o'
	is "$output" "mb-collect: batch 0: 1 bad record rejected; the first: $PWD/in.csv: byte 8: a quote is opened and not closed
status 0 0"
	is "$(cat o/*.csv)" $'a,b\n1,2\n5,6'
}
