#!/usr/bin/env bats
# mb-agg: filter, group, aggregate; plain streams and frames.

load helpers

set_up() {
	cat >web.csv <<-'END'
		status,country,bytes
		200,de,10
		200,fr,20.50
		404,de,
		200,"de",30
		500,,7
		404,"a, ""b""",1
	END
	cat >web.ndjson <<-'END'
		{"status":200,"user":{"id":1,"name":"ä"},"bytes":10,"ok":true}
		{"status":"200","user":{"id":2},"bytes":"2.5","ok":false}
		{"status":404,"user":{},"tags":["x",{"y":1}],"bytes":null}
	END
}

# What it prints, and then its status if that isn't 0.
agg() {
	local rc=0
	mb-agg "$@" 2>&1 || rc=$?
	[ "$rc" -eq 0 ] || echo "status $rc"
}

# Frames of a file, cut every N records: frames N FILE [OPTION...]
frames() {
	local n=$1
	shift
	rm -rf j.mbj j.mbj.d
	mb-collect -j j.mbj --max-records "$n" "$@"
}

# Frames without what differs from run to run.
brief() {
	sed -E '/^\x1e/ {
		s/^\x1e\{"mb":"([a-z]+)","tag":"[0-9a-f]*"(.*),"crc":"[0-9a-f]*"\}$/<\1\2>/
		s/,"(digest|time|id|journal)":"[^"]*"//g
		s/,"(version|run|record_limit)":[0-9]+//g
		s/"format":"csv","delimiter":",",//
	}'
}

@test "groups stand in the order of their first record" {
	is "$(agg -k status web.csv)" "status,count
200,3
404,2
500,1"
	is "$(agg -k country,status -a count,sum:bytes web.csv)" \
'country,status,count,bytes_sum
de,200,2,40
fr,200,1,20.50
de,404,1,
,500,1,7
"a, ""b""",404,1,1'
}

@test "--sort: numbers by value, then text by byte, null last" {
	printf 'k\n10\nb\n9\n\n""\nB\n9.0\n-1e3\n' >k.csv
	printf '0x1\n' >>k.csv
	is "$(agg -k k --sort k.csv)" 'k,count
-1e3,1
9,1
9.0,1
10,1
"",1
0x1,1
B,1
b,1'
	printf 'k,l\n,1\nb,\na,2\n,0\na,1\n' >kl.csv
	is "$(agg -k k,l --sort kl.csv)" 'k,l,count
a,1,1
a,2,1
b,,1
,0,1
,1,1'
}

@test "every aggregate, of values and of none" {
	is "$(agg -a count,count:bytes,distinct:country,first:country,last:country,sum:bytes,avg:bytes,min:bytes,max:bytes,var:bytes,stddev:bytes web.csv)" \
'count,bytes_count,country_distinct,country_first,country_last,bytes_sum,bytes_avg,bytes_min,bytes_max,bytes_var,bytes_stddev
6,5,3,de,"a, ""b""",68.50,13.7,1.00,30.00,132.95,11.530394615970435'
	is "$(agg --where 'status = 1' -a count,count:bytes,distinct:country,first:country,last:country,sum:bytes,avg:bytes,min:bytes,max:bytes,var:bytes,stddev:bytes web.csv)" \
'count,bytes_count,country_distinct,country_first,country_last,bytes_sum,bytes_avg,bytes_min,bytes_max,bytes_var,bytes_stddev
0,0,0,,,,,,,,'
	is "$(agg --where 'status = 1' -k status -a avg:bytes web.csv)" \
		"status,bytes_avg"
	# Of one value there is no variance.
	is "$(agg --where 'status = 500' -a var:bytes,stddev:bytes,avg:bytes web.csv)" \
		"bytes_var,bytes_stddev,bytes_avg
,,7"
}

@test "columns are named after field and operation, or as one likes" {
	is "$(agg -k s=status -a 'n=count,{a b}=sum:3' web.csv | head -1)" \
		"s,n,a b"
	is "$(agg -k 1 -a min:3 web.csv | head -1)" "1,3_min"
	is "$(agg -k status,status web.csv)" \
'mb-agg: two columns are called "status" (name one: NAME=…)
status 64'
	is "$(agg --stamp -k batch=status web.csv)" \
'mb-agg: two columns are called "batch" (name one: NAME=…)
status 64'
}

@test "a name in braces may hold anything" {
	printf 'a b,"c,d",e:f\n1,2,3\n' >odd.csv
	is "$(agg -k '{a b},{c,d}' -a 'sum:{e:f}' odd.csv)" \
'a b,"c,d",e:f_sum
1,2,3'
}

@test "only digits are a position, unless a field has that name" {
	printf '2,x\nfirst,second\n' >pos.csv
	is "$(agg -k 1 pos.csv)" "1,count
first,1"
	is "$(agg -k 2 pos.csv)" "2,count
first,1"
	is "$(agg --no-header -k 2 pos.csv)" "2,count
x,1
second,1"
}

@test "--where selects, and is null knows null from empty text" {
	is "$(agg --where 'status = 200 and bytes > 10' web.csv)" \
'status,country,bytes
200,fr,20.50
200,"de",30'
	is "$(agg --where "country is null or country ~ '^a'" web.csv)" \
'status,country,bytes
500,,7
404,"a, ""b""",1'
	printf 'a,b\n1,\n2,""\n3,x\n' >null.csv
	is "$(agg --where 'b is null' null.csv)" "a,b
1,"
	is "$(agg --where "b = ''" null.csv)" 'a,b
2,""'
	is "$(agg --null x --where 'b is null' null.csv)" "a,b
1,
3,x"
	# Neither a test nor its `not` selects what is unknown.
	is "$(agg -a count --where "b > 5 or not b > 5" null.csv)" "count
0"
}

@test "a wrong --where names the byte" {
	is "$(agg --where 'status = 200 AND bytes > 1' web.csv)" \
'mb-agg: --where: byte 14: "AND" is written in lower case
status 64'
	is "$(agg --where 'status = (' web.csv)" \
'mb-agg: --where: byte 10: expected a field, a number or a text, not "("
status 64'
}

@test "decimals are exact, and keep their places" {
	seq 10 | sed 's/.*/0.1/' | sed '1i x' >x.csv
	is "$(agg -a sum:x x.csv)" "x_sum
1.0"
	printf 'x\n0.10\n0.20\n' >x.csv
	is "$(agg -a sum:x,avg:x x.csv)" "x_sum,x_avg
0.30,0.15"
	printf 'x\n9223372036854775807\n1\n' >x.csv
	is "$(agg -a sum:x x.csv)" "x_sum
9223372036854775808"
	# The places are of the group, not of the output.
	printf 'k,x\na,1.5\nb,2\na,1.25\nb,3\n' >x.csv
	is "$(agg -k k -a sum:x,min:x x.csv)" "k,x_sum,x_min
a,2.75,1.25
b,5,2"
}

@test "one double makes the sum a double, rounded once, in any order" {
	printf 'x\n1e16\n1\n-1e16\n0.1\n0.2\n' >x.csv
	is "$(agg -a sum:x x.csv)" "x_sum
1.3"
	(echo x; sed 1d x.csv | tac) >y.csv
	is "$(agg -a sum:x y.csv)" "x_sum
1.3"
	printf 'x\n0.1\n0.2\n0e0\n' >x.csv
	is "$(agg -a sum:x x.csv)" "x_sum
0.3"
}

@test "threads that are ahead of a bad record end before what they look at" {
	{
		echo k,v
		seq -f '%.0f,text that goes on and on' 200000
		echo 'a,b"c'
		seq -f '%.0f,text that goes on and on' 200000
	} >big.csv
	for _ in 1 2 3 4 5; do
		status=0
		mb-agg -T 4 --on-bad fail -o ndjson big.csv >/dev/null 2>err ||
			status=$?
		[ "$status" -eq 65 ]
		grep "record 200001, .*: a quote inside" err
	done
}

@test "what can't be read is named, once, whoever reads it" {
	local threads at

	seq -f '%.0f,text that goes on and on' 200000 >big.csv
	for threads in 1 2; do
		for at in 1 3 9; do
			line "LD_PRELOAD=$BATS_TEST_DIRNAME/../build/tests/fault.so \
				ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
				MB_FAULT_PROG=mb-agg MB_FAULT_CALLS=read \
				MB_FAULT_MODE=EIO MB_FAULT_AT=$at \
				MB_FAULT_STICKY=1 MB_FAULT_FILE=big.csv \
				mb-agg -T $threads --no-header -a count big.csv"
			is "$output" \
"mb-agg: read big.csv: Input/output error
status 75"
		done
	done
}

@test "more than 38 digits fail, and name column and group" {
	printf 'k,x\nde,99999999999999999999999999999999999999\nde,1\n' >x.csv
	is "$(agg -k k -a sum:x x.csv)" \
'mb-agg: x_sum of k=de: the sum has more than 38 digits
status 65'
	# What comes back into range is right.
	printf 'k,x\nde,99999999999999999999999999999999999999\nde,1\nde,-1\n' >x.csv
	is "$(agg -k k -a sum:x x.csv)" "k,x_sum
de,99999999999999999999999999999999999999"
}

@test "a bad record counts nowhere, and the first one is named" {
	printf 'k,x\na,1\nb,NA\nc\na,3\n' >x.csv
	is "$(agg -k k -a count,sum:x x.csv)" \
'mb-agg: 2 bad records rejected; the first: x.csv: record 2, byte 8: x: not a number: "NA"
k,count,x_sum
a,2,4'
	is "$(agg -k k -a count,sum:x --on-bad skip x.csv)" \
'mb-agg: 2 bad records skipped; the first: x.csv: record 2, byte 8: x: not a number: "NA"
k,count,x_sum
a,2,4'
	is "$(agg -k k -a count,sum:x --on-bad fail x.csv)" \
'mb-agg: x.csv: record 2, byte 8: x: not a number: "NA"
status 65'
	# Not every record is looked at.
	is "$(agg -k k -a count,sum:x --where "k = 'a'" --on-bad fail x.csv)" \
'mb-agg: x.csv: record 3, byte 13: 1 field, the header has 2
status 65'
}

@test "--rejects into a directory that isn't there is a wrong command" {
	printf 'k,x\na,1\n' >x.csv
	run mb-agg -k k --rejects none/rejects x.csv
	is "$status $output" "64 mb-agg: --rejects: none/rejects: No such file or directory"
}

@test "--rejects keeps them, with offset and reason" {
	printf 'k,x\na,1\nb,NA\nc\na,3\nd,\377\n' >x.csv
	is "$(agg -k k -a sum:x --rejects rejects x.csv)" 'k,x_sum
a,4'
	is "$(cat rejects)" \
'{"source":"x.csv","offset":8,"record":2,"length":5,"reason":"x: not a number: \"NA\"","data":"b,NA\n"}
{"source":"x.csv","offset":13,"record":3,"length":2,"reason":"1 field, the header has 2","data":"c\n"}
{"source":"x.csv","offset":19,"record":5,"length":4,"reason":"x: not a number: \"\\xff\"","data_hex":"642cff0a"}'
	agg -k k -a count --where "k = 'a'" --rejects rejects x.csv
	is "$(wc -l <rejects)" 1
}

@test "--null makes a text null" {
	printf 'x\n1\nNA\n-\n3\n' >x.csv
	is "$(agg --null NA --null - -a count,count:x,avg:x x.csv)" \
		"count,x_count,x_avg
4,2,2"
}

@test "a field of which no value is a number exits 65" {
	printf 'k,x\na,yes\nb,\n' >x.csv
	is "$(agg -a count,sum:x --on-bad skip x.csv)" \
'mb-agg: 1 bad record skipped; the first: x.csv: record 1, byte 4: x: not a number: "yes"
mb-agg: x: there were values, but none is a number
status 65'
	# A number in a record that is bad for another field is one.
	printf 'x,y\nno,5\n3,no\n' >x.csv
	is "$(agg -a count,sum:x,sum:y --on-bad skip x.csv)" \
'mb-agg: 2 bad records skipped; the first: x.csv: record 1, byte 4: x: not a number: "no"
count,x_sum,y_sum
0,,'
	# Without values nothing is wrong.
	printf 'k,x\na,\nb,""\n' >x.csv
	is "$(agg -a count,sum:x x.csv)" "count,x_sum
2,"
}

@test "a field missing from the header exits 64, with the list" {
	is "$(agg -k stat web.csv)" \
'mb-agg: web.csv: no field "stat"; the header has status, country, bytes
status 64'
	is "$(agg -k status --no-header web.csv)" \
'mb-agg: web.csv: no field "status"; without header the fields are 1, 2, 3 …
status 64'
	is "$(agg -k status <web.csv)" \
'mb-agg: standard input: read as lines (for csv give -F csv): no field "status"; the header has line
status 64'
}

@test "ndjson: paths, texts that are numbers, 1 and \"1\" are one group" {
	is "$(agg -k status -a count,sum:bytes web.ndjson)" \
'{"status":200,"count":2,"bytes_sum":12.5}
{"status":404,"count":1,"bytes_sum":null}'
	is "$(agg -k user.id,ok web.ndjson -o csv)" "user.id,ok,count
1,true,1
2,false,1
,,1"
	is "$(agg -k tags.0 -a first:user,last:tags.1 web.ndjson)" \
'{"tags.0":null,"user_first":{"id":1,"name":"ä"},"tags.1_last":null}
{"tags.0":"x","user_first":{},"tags.1_last":{"y":1}}'
}

@test "of equal keys the last counts, also in records like those before" {
	seq 2000 | sed 's/.*/{"o":{"k":"first"},"n":&,"o":{}}\
{"o":{"k":"first"},"o":{"k":"last"},"n":&}\
{"n":&,"o":{"k":"first"},"o":{}}/' >log.ndjson
	run mb-agg -k o.k -a count log.ndjson
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = '{"o.k":null,"count":4000}' ]
	[ "${lines[1]}" = '{"o.k":"last","count":2000}' ]
	[ "${#lines[@]}" -eq 2 ]
}

@test "a field in no ndjson record is a warning" {
	is "$(agg -k stat web.ndjson)" \
'mb-agg: warning: no record has the field "stat"
{"stat":null,"count":3}'
}

@test "records pass through with their own bytes" {
	printf 'a,b\r\n"1",  2 \r\n\r\n3,"x\ny"' >odd.csv
	mb-agg odd.csv >out
	printf 'a,b\r\n"1",  2 \r\n3,"x\ny"\n' | cmp - out
	printf '{ "a" : 1.0 , "a":2}\n\n{"b":[ ]}' >odd.ndjson
	mb-agg odd.ndjson >out
	printf '{ "a" : 1.0 , "a":2}\n{"b":[ ]}\n' | cmp - out
	printf 'a\tb\n1\\t\t\n' >odd.tsv
	mb-agg odd.tsv | cmp - odd.tsv
	printf 'x\n\n  y "\n' >odd.txt
	mb-agg odd.txt | cmp - odd.txt
	is "$(agg --no-header --where '{1} = 3' odd.csv | od -c | head -1)" \
		"$(printf '3,"x\ny"\n' | od -c | head -1)"
}

@test "formats turn into one another" {
	printf 'a,b\n1,x y\n,"q"""\n007,\n' >x.csv
	is "$(agg -o ndjson x.csv)" '{"a":1,"b":"x y"}
{"a":null,"b":"q\""}
{"a":"007","b":null}'
	is "$(agg -o tsv x.csv | cat -A)" 'a^Ib$
1^Ix y$
^Iq"$
007^I$'
	is "$(agg -o csv web.ndjson)" \
'mb-agg: 1 bad record rejected; the first: web.ndjson: record 3, byte 122: the batch'"'"'s first record has no "tags"
status,user,bytes,ok
200,"{""id"":1,""name"":""ä""}",10,true
200,"{""id"":2}",2.5,false'
	is "$(printf 'one\ntwo, 2\n' | agg -k line)" 'line,count
one,1
"two, 2",1'
	is "$(agg -d ';' -k 1 -a count -F csv --no-header <<<'a;b')" \
		"1;count
a;1"
	is "$(agg -d '\t' -F csv -k b <<<$'a\tb\n1\t2')" $'b\tcount\n2\t1'
}

@test "gzip is known by content, and a damaged file is told" {
	gzip -c web.csv >web.csv.gz
	is "$(agg -k status web.csv.gz)" "$(agg -k status web.csv)"
	is "$(agg -F csv -k status <web.csv.gz)" "$(agg -k status web.csv)"
	gzip -c web.ndjson | (cat web.ndjson | gzip; cat) >two.gz
	is "$(agg -a count two.gz)" '{"count":6}'
	head -c 60 web.csv.gz >cut.csv.gz
	is "$(agg -k status cut.csv.gz)" \
'mb-agg: cut.csv.gz: gzip: the file ends in the middle of its data
status 65'
}

@test "several files are one batch; columns go by name" {
	printf 'bytes,status\n5,200\n' >more.csv
	is "$(agg -k status -a sum:bytes web.csv more.csv)" "status,bytes_sum
200,65.50
404,1
500,7"
	is "$(agg web.csv more.csv | tail -2 | head -1)" \
		"mb-agg: more.csv: other columns than what came before"
	cp web.csv again.csv
	is "$(agg --where 'status = 500' web.csv again.csv)" \
"status,country,bytes
500,,7
500,,7"
	is "$(agg -a count web.csv - <web.csv)" 'mb-agg: standard input: lines behind csv; give -F or -o
status 64'
	is "$(agg -F csv -a count web.csv - <web.csv)" 'count
12'
}

@test "files that aren't there, directories, and nothing at all" {
	is "$(agg -a count nope.csv)" "mb-agg: nope.csv: no such file
status 64"
	is "$(agg -a count .)" "mb-agg: .: a directory
status 64"
	: >empty.csv
	is "$(agg -a count,sum:x empty.csv)" "count,x_sum
0,"
	is "$(agg -k x empty.csv)" "x,count"
	is "$(agg -k x </dev/null)" "x,count"
	is "$(agg empty.csv)" ""
	printf 'a,b\n' >head.csv
	is "$(agg -k a head.csv)" "a,count"
	is "$(agg head.csv)" "a,b"
}

@test "a byte order mark is dropped" {
	printf '\357\273\277a,b\n1,2\n' >bom.csv
	is "$(agg -k a bom.csv)" "a,count
1,1"
	printf '\357\273\277{"a":1}\n' | agg -k a >out
	is "$(cat out)" '{"a":1,"count":1}'
}

@test "options that aren't there yet, or don't go together" {
	is "$(agg --running -k a web.csv | head -1)" \
"mb-agg: --running: no such option, or not the only one that begins so (see mb-agg --help)"
	is "$(agg --sort -a count web.csv)" \
"mb-agg: --sort: sorts by keys; give -k
status 64"
	is "$(agg -T 0 web.csv)" "mb-agg: -T: from 1 to 256, not 0
status 64"
	is "$(agg --on-bad maybe web.csv)" \
'mb-agg: --on-bad: reject, skip or fail, not "maybe"
status 64'
	is "$(agg -F xml web.csv | tail -1)" "status 64"
	is "$(agg -a p50:bytes web.csv)" \
'mb-agg: -a: "p50": no such aggregate (there are count distinct first last sum avg min max var stddev)
status 64'
}

@test "--stamp on plain records: source and offset" {
	is "$(agg --stamp --where 'status = 404' web.csv)" \
'batch,batch_time,source,offset,status,country,bytes
,,web.csv,44,404,de,
,,web.csv,71,404,"a, ""b""",1'
	is "$(agg --stamp --where 'status = 404' web.ndjson)" \
'{"batch":null,"batch_time":null,"source":"web.ndjson","offset":122,"status":404,"user":{},"tags":["x",{"y":1}],"bytes":null}'
	is "$(MB_BATCH=7 MB_TIME=2026-01-02T03:04:05.000Z agg --stamp -a count web.csv)" \
"batch,batch_time,count
7,2026-01-02T03:04:05.000Z,6"
	is "$(printf 'x\ny\n' | agg --stamp)" "batch,batch_time,source,offset,line
,,-,0,x
,,-,2,y"
}

@test "the same bytes for every number of threads" {
	awk 'BEGIN { srand(1); print "k,s,x"
		for (i = 0; i < 150000; i++)
			printf "%d,\"t\n%d\",%s\n", rand() * 100, rand() * 9,
			    i % 997 == 0 ? "NA" : i % 10 == 0 ? rand() * 1e-3 "e0" :
			    int(rand() * 1e6) / 100 }' >big.csv
	for q in '-k k -a count,sum:x,avg:x,var:x,min:x,first:s,last:s,distinct:s' \
		'--where k<50' '-a sum:x,stddev:x'; do
		mb-agg -T 1 $q --rejects r1 big.csv >one
		for n in 2 3 8; do
			mb-agg -T $n $q --rejects rn big.csv >many
			cmp one many
			cmp r1 rn
		done
		# from a pipe nobody reads at a place of his own
		for n in 1 2; do
			cat big.csv | mb-agg -F csv -T $n $q --rejects rn >many
			cmp one many
			cmp <(sed 's/"big.csv"/"-"/' r1) rn
		done
	done
	[ "$(wc -c <big.csv)" -gt 2000000 ]
}

@test "without a header all threads know the first record's width" {
	seq 0 600000 | awk '{ print ($1 % 5 == 0 && NR > 1) ? "1,2" : "1,2,3" }' >n.csv
	for n in 1 2 3 7; do
		is "$(agg -T $n --no-header -k 1 -a count --on-bad skip n.csv)" \
"mb-agg: 120000 bad records skipped; the first: n.csv: record 6, byte 30: 2 fields, the first record has 3
1,count
1,480001"
	done
}

@test "many groups come in the order of their first records, whoever found them" {
	awk 'BEGIN { srand(3); print "k,x"
		for (i = 0; i < 300000; i++)
			print int(rand() * 200000) "," i }' >keys.csv
	awk -F, 'NR > 1 { if (!($1 in n)) k[++m] = $1; n[$1]++; s[$1] += $2 }
		END { print "k,count,x_sum"
			for (i = 1; i <= m; i++)
				print k[i] "," n[k[i]] "," s[k[i]] }' \
		OFMT=%.0f CONVFMT=%.0f keys.csv >want
	for n in 1 2 3 7; do
		mb-agg -T $n -k k -a count,sum:x keys.csv >got
		cmp got want
	done
	[ "$(wc -l <want)" -gt 100000 ]
}

@test "a large file as standard input is read from where it stands, to its end" {
	seq 3000000 >n
	head -c 1000002 n >start
	rest=$(($(wc -l <n) - $(wc -l <start)))
	{ head -c 1000002 >/dev/null
	  mb-agg -T 2 -F lines -a count >out
	  wc -c >left; } <n
	is "$(cat out)" "count
$rest"
	is "$(cat left)" 0
}

@test "a control line far behind in a file is named by its line" {
	{ seq 1000000; printf '\036{"mb":"end"}\n'; seq 10; } >n
	for n in 1 2; do
		is "$(agg -T $n -F lines -a count n)" \
"mb-agg: n: line 1000001: a control line in a plain stream: a filter took or changed control lines
status 65"
	done
}

@test "a control line is seen in every format, and no other line taken for one" {
	csv() { echo k,l; seq 300000 | sed 's/$/,"a""b"/; 7,250000s/".*/c/'; }
	json() { seq 300000 | sed 's/.*/{"k":&,"l":"c"}/'; }
	end() { printf '\036{"mb":"end"}\n'; }
	{ csv; end; csv; } >a.csv
	{ csv; printf '5,"x\n'; end; printf '"\n'; csv; } >b.csv
	{ csv; printf '\036{mb,x\n\036,x\n1\036\036,x\n'; csv | sed 1d; } >c.csv
	csv | tr , '\t' >a.tsv
	end >>a.tsv
	{ json; end; json; } >a.ndjson
	for f in a.csv b.csv a.tsv a.ndjson; do
		line=$(grep -an '^.{"mb":' $f | cut -d : -f 1)
		for query in "-k l -a count,sum:k" "--where k>299000" "-a count:k"; do
			is "$(agg -T 1 $query $f | tail -n 2)" \
"mb-agg: $f: line $line: a control line in a plain stream: a filter took or changed control lines
status 65"
		done
	done
	is "$(mb-agg -T 1 -k l -a count c.csv)" 'l,count
"a""b",100012
c,499988
x,3'
}

@test "the same answers as sqlite3 and mawk" {
	awk 'BEGIN { srand(7); print "k,l,x,y"
		for (i = 0; i < 100000; i++)
			printf "%d,%s,%d,%.2f\n", rand() * 300, substr("abcdefgh",
			    1 + rand() * 8, 1), rand() * 100000 - 50000, rand() * 1000 }' >t.csv
	mb-agg --sort -k k,l -a count,sum:x,min:x,max:x,distinct:y \
		--where 'x > -40000 and l != '"'c'" t.csv >ours
	sqlite3 :memory: -cmd '.mode csv' -cmd '.headers on' \
		-cmd '.separator , "\n"' -cmd '.import t.csv t' \
		"SELECT CAST(k AS INTEGER) AS k, l, count(*) AS count,
			sum(CAST(x AS INTEGER)) AS x_sum,
			min(CAST(x AS INTEGER)) AS x_min,
			max(CAST(x AS INTEGER)) AS x_max,
			count(DISTINCT y) AS y_distinct
		FROM t WHERE CAST(x AS INTEGER) > -40000 AND l <> 'c'
		GROUP BY 1, 2 ORDER BY 1, 2" >theirs
	cmp ours theirs
	# Cents add up exactly in awk's doubles.
	mb-agg --sort -k k -a sum:y t.csv | sed 1d >ours
	mawk -F, 'NR > 1 { s[$1] += int($4 * 100 + .5) } END {
		for (k in s) printf "%d,%d.%02d\n", k, s[k] / 100, s[k] % 100 }' \
		t.csv | sort -n >theirs
	cmp ours theirs
}

@test "a terminal-safe message: record content is escaped" {
	printf 'x\n\033[31mred\n1\n' >x.csv
	is "$(agg -a sum:x x.csv | head -1)" \
'mb-agg: 1 bad record rejected; the first: x.csv: record 1, byte 2: x: not a number: "\x1b[31mred"'
}

@test "when its reader goes, it ends quietly with 75" {
	yes '1,2,3' | (rc=0; mb-agg -F csv --no-header 2>err || rc=$?; echo $rc >rc) |
		head -1 >/dev/null
	is "$(cat rc)" 75
	is "$(cat err)" ""
	# Also while it waits for input.
	mkfifo in
	sleep 1000 >in 3>&- &
	sleeper=$!
	(rc=0; mb-agg -F csv -k 1 <in 2>err || rc=$?; echo $rc >rc) | true
	kill $sleeper
	is "$(cat rc)" 75
	is "$(cat err)" ""
}

@test "a plain run dies of a signal as other filters do" {
	mkfifo in
	sleep 1000 >in 3>&- &
	sleeper=$!
	mb-agg -F csv -k 1 <in >out 3>&- &
	pid=$!
	eventually grep -qx mb-agg "/proc/$pid/comm"
	kill -TERM $pid
	rc=0
	wait $pid || rc=$?
	kill $sleeper
	is "$rc" 143
}

@test "frames: each batch by itself" {
	frames 3 web.csv | mb-agg -k status -a count,sum:bytes >out
	is "$(brief <out)" \
'<hello,"replay":false>
<begin,"batch":0,"records":3,"fields":[{"name":"status"},{"name":"count","type":"int","agg":"count"},{"name":"bytes_sum","agg":"sum"}]>
200,2,30.50
404,1,
<end,"batch":0,"records":2>
<begin,"batch":1,"records":3,"fields":[{"name":"status"},{"name":"count","type":"int","agg":"count"},{"name":"bytes_sum","agg":"sum"}]>
200,1,30
500,1,7
404,1,1
<end,"batch":1,"records":3>
<done,"status":0>'
	# Tag, digest and time are passed on.
	frames 3 web.csv >in
	mb-agg -a count <in >out
	for what in tag digest time; do
		is "$(grep -a -o "\"$what\":\"[^\"]*\"" out | sort -u)" \
			"$(grep -a -o "\"$what\":\"[^\"]*\"" in | sort -u)"
	done
	# Two stages: what the first computed is a field of the second.
	is "$(frames 3 web.csv | mb-agg -k status | mb-agg -a sum:count --plain)" \
		"count_sum
3
3"
}

@test "frames: --plain gives rows, the header once" {
	is "$(frames 3 web.csv | mb-agg -k status --plain)" "status,count
200,2
404,1
200,1
500,1
404,1"
	frames 3 web.csv >in
	is "$(mb-agg -a count --plain in)" "count
3
3"
	is "$(agg -a count web.csv in | tail -2)" \
"mb-agg: in: frames are not joined with other input
status 64"
}

@test "frames: --stamp names batch and time, of records source and offset" {
	frames 3 web.csv | mb-agg --stamp -a count --plain >out
	is "$(sed -E 's/,[-0-9T:.]+Z,/,TIME,/' out)" "batch,batch_time,count
0,TIME,3
1,TIME,3"
	frames 3 web.csv | mb-agg --stamp --where 'status = 404' --plain >out
	is "$(sed -E -e 's/,[-0-9T:.]+Z,/,TIME,/' -e "s|$PWD/||" out)" \
'batch,batch_time,source,offset,status,country,bytes
0,TIME,web.csv,44,404,de,
1,TIME,web.csv,71,404,"a, ""b""",1'
	# The bytes have changed in between: only the number is left.
	frames 3 web.csv | sed -u '/^\x1e/!s/de/germany/' |
		mb-agg --stamp --where 'status = 404' --plain >out
	is "$(sed -E -e 's/,[-0-9T:.]+Z,/,TIME,/' out | head -2)" \
'batch,batch_time,source,offset,status,country,bytes
0,TIME,,3,404,germany,'
}

@test "frames: a reject is kept whole, for a pipe's bytes are nowhere else" {
	long=$(printf '%0100000d' 7)
	line "printf '{\"v\":\"%s\",\"n\":\"x\"}\n' $long |
		mb-collect -j j.mbj -F ndjson | mb-agg -a sum:n | mb-commit -"
	has "$output" "1 bad record rejected" "status 0 0 0 0"
	is "$(sed 1d j.mbj.d/rejects/agg-* | jq -r .data)" "{\"v\":\"$long\",\"n\":\"x\"}"
}

@test "frames: rejects are kept beside the journal, the same after a replay" {
	printf 'k,x\na,1\nb,NA\nc\na,3\n' >x.csv
	frames 2 x.csv | mb-agg -k k -a sum:x >out 2>err
	is "$(sed "s|$PWD/||" err)" \
'mb-agg: batch 0: 1 bad record rejected; the first: x.csv: byte 8: x: not a number: "NA"
mb-agg: batch 1: 1 bad record rejected; the first: x.csv: byte 13: 1 field, the header has 2'
	is "$(ls j.mbj.d/rejects | sed 's/-[0-9a-f]\{8\}-/-STAGE-/')" \
"agg-STAGE-000000000.ndjson
agg-STAGE-000000001.ndjson"
	is "$(sed -e 1d -e "s|$PWD/||" j.mbj.d/rejects/*0.ndjson)" \
'{"batch":0,"source":"x.csv","offset":8,"record":2,"length":5,"reason":"x: not a number: \"NA\"","data":"b,NA\n"}'
	head -1 j.mbj.d/rejects/*0.ndjson | grep -q '"journal":"[0-9a-f]*"'
	cp -r j.mbj.d/rejects before
	mb-collect -j j.mbj --max-records 2 x.csv | mb-agg -k k -a sum:x >again 2>/dev/null
	diff -r before j.mbj.d/rejects
	is "$(grep -av '^.{' again)" "$(grep -av '^.{' out)"
	is "$(agg --rejects r <out)" \
"mb-agg: --rejects: for plain streams; those of frames are kept beside the journal
status 64"
}

@test "frames: under --on-bad fail the batch goes out as abort" {
	printf 'k,x\na,1\nb,NA\na,3\na,4\n' >x.csv
	rc=0
	frames 2 x.csv | (rc=0; mb-agg -a sum:x --on-bad fail 2>err || rc=$?; echo $rc >rc) >out
	is "$(cat rc)" 65
	is "$(sed "s|$PWD/||" err)" \
'mb-agg: batch 0 failed: x.csv: byte 8: x: not a number: "NA"'
	is "$(brief <out | sed -e "s|$PWD/||" -e '/^<begin/s/,"records".*/>/')" \
'<hello,"replay":false>
<begin,"batch":0>
<abort,"batch":0,"status":65,"error":"x.csv: byte 8: x: not a number: \"NA\"">
<begin,"batch":1>
7
<end,"batch":1,"records":1>
<done,"status":0>'
	# So does a sum that is too large.
	printf 'x\n99999999999999999999999999999999999999\n1\n5\n' >x.csv
	frames 2 x.csv | mb-agg -a sum:x 2>/dev/null | brief >out || true
	grep -a '^<abort,"batch":0,"status":65,"error":"x_sum: the sum has more than 38 digits">' out
	grep -a '^<end,"batch":1,' out
	# Rows of groups before the one that fails are not written.
	printf 'k,x\na,5\nb,99999999999999999999999999999999999999\nb,1\n' >x.csv
	frames 3 x.csv | mb-agg -k k -a sum:x 2>/dev/null | brief >out || true
	is "$(sed -n '3s/,"status".*//p' out)" '<abort,"batch":0'
}

@test "frames: an abort from upstream is passed on, without rows" {
	frames 3 web.csv >in
	# Cut the file that the frames come from, and ask for them again.
	printf 'status,country,bytes\n200,de,11\n' >web.csv
	mb-collect -j j.mbj --max-records 3 web.csv 2>/dev/null | mb-agg -k status >out || true
	brief <out >short
	grep -a '^<abort,"batch":0,' short
	! sed '/^<abort/q' short | grep '^200'
}

@test "frames: without done it is 75, and what was whole has been passed on" {
	frames 3 web.csv >in
	head -n -1 in | (rc=0; mb-agg -k status 2>err || rc=$?; echo $rc >rc) >out
	is "$(cat rc)" 75
	is "$(cat err)" \
"mb-agg: standard input: ends without its done line: what is upstream has died"
	is "$(grep -ac '"mb":"end"' out)" 2
	! grep -a '"mb":"done"' out
	# Inside a batch.
	head -n 4 in | (rc=0; mb-agg -k status 2>err || rc=$?; echo $rc >rc) >out
	is "$(cat rc)" 75
	! grep -a '"mb":"end"' out
	# The status of what is upstream is ours.
	mb-collect -j j.mbj --max-records 3 web.csv | mb-agg -a count --plain >/dev/null
}

@test "J13: filters that spoil control lines, and records that look like them" {
	frames 3 web.csv >in
	# awk that drops control lines
	awk '!/^\036/' in >bad
	is "$(agg -F csv -a count --no-header bad)" "count
6" # a plain stream now
	awk '!/^\036{"mb":"begin"/' in >bad
	is "$(agg -a count bad | sed '/^\x1e/d')" \
"mb-agg: bad: line 2: a record outside a batch: a filter took or changed control lines
status 65"
	awk '!/^\036{"mb":"end"/' in >bad
	is "$(agg -a count bad | grep -av '^.{')" \
"mb-agg: bad: line 6: a begin inside a batch: a filter took or changed control lines
status 65"
	awk '!/^\036{"mb":"hello"/' in >bad
	is "$(agg -F csv --no-header -a count bad)" \
"mb-agg: bad: line 1: a control line in a plain stream: a filter took or changed control lines
status 65"
	# sed that changes a number in them
	sed '/"mb":"begin"/s/"batch":0/"batch":5/' in >bad
	is "$(agg -a count bad | sed '/^\x1e/d')" \
"mb-agg: bad: line 2: a control line with a wrong checksum: a filter took or changed control lines
status 65"
	# head -1: the hello, and no done
	head -1 in >bad
	is "$(agg -a count bad | tail -2)" \
"mb-agg: bad: ends without its done line: what is upstream has died
status 75"
	# a record that begins with RS, and a forged line in a quoted field
	printf 'a,b\n\036{mb:end},1\n"x\n\036{""mb"":""end"",""tag"":""0123456789abcdef"",""batch"":0}\n",2\n' >rs.csv
	is "$(frames 9 rs.csv | mb-agg -a count,sum:b --plain)" "count,b_sum
2,3"
	frames 9 rs.csv | mb-agg | mb-agg -a sum:b --plain >out
	is "$(cat out)" "b_sum
3"
	printf '\036{"mb":"end","tag":"0123456789abcdef","batch":0}\nx\n' >rs.txt
	is "$(frames 9 rs.txt | mb-agg | mb-agg -a count --plain)" "count
2"
	# a filter that dies with status 0
	frames 3 web.csv >in
	is "$(head -c 700 in | (agg -a count; true) | tail -1)" "status 75"
}

@test "frames: signals let the stream run out, the second ends at once" {
	mkfifo in
	frames 3 web.csv >all
	mb-agg -k status <in >out 2>err &
	pid=$!
	exec 7>in
	head -n 5 all >&7
	eventually catches $pid 15
	kill -TERM $pid
	eventually took $pid
	tail -n +6 all >&7
	exec 7>&-
	wait $pid
	is "$(grep -ac '"mb":"done"' out)" 1
	mb-agg -k status <in >out 2>err &
	pid=$!
	exec 7>in
	head -n 5 all >&7
	eventually catches $pid 15
	kill -INT $pid 2>/dev/null
	kill -TERM $pid
	eventually took $pid || true
	kill -TERM $pid || true
	rc=0
	wait $pid || rc=$?
	exec 7>&-
	[ "$rc" -eq 143 ] || [ "$rc" -eq 130 ]
}

@test "frames: another journal is refused, with 64" {
	frames 3 web.csv >in
	mb-collect -j other.mbj web.csv >/dev/null
	is "$(agg -j other.mbj -a count in)" \
"mb-agg: other.mbj: not the journal of these frames, which is $PWD/j.mbj
status 64"
	is "$(MB_JOURNAL=other.mbj agg -a count in | tail -1)" "status 64"
	# A wrong field ends the stream with its status.
	is "$(mb-agg -k nope in 2>/dev/null | brief | tail -1)" \
		'<done,"status":64>'
	# A later mb-collect has begun: these batches are its own.
	mb-collect -j j.mbj --max-records 3 web.csv >/dev/null || true
	is "$(agg -a count in | tail -2)" \
"mb-agg: $PWD/j.mbj: a later mb-collect has begun; leaving the batches to it
status 75"
}

@test "frames: formats, and fields in the order that is known" {
	frames 2 web.ndjson | mb-agg -o csv >out 2>/dev/null
	is "$(brief <out)" \
'<hello,"replay":false>
<begin,"batch":0,"records":2,"fields":[{"name":"status"},{"name":"user"},{"name":"bytes"},{"name":"ok"}]>
200,"{""id"":1,""name"":""ä""}",10,true
200,"{""id"":2}",2.5,false
<end,"batch":0,"records":2>
<begin,"batch":1,"records":1,"fields":[{"name":"status"},{"name":"user"},{"name":"tags"},{"name":"bytes"}]>
404,{},"[""x"",{""y"":1}]",
<end,"batch":1,"records":1>
<done,"status":0>'
	is "$(frames 9 web.csv | mb-agg -o ndjson --plain --where 'status = 500')" \
'{"status":500,"country":null,"bytes":7}'
	frames 9 web.csv --no-header >in
	is "$(mb-agg --plain --where '{1} = 500' in)" "500,,7"
}

@test "while following it stays small" {
	case ${MB_BUILD:-} in *san*) return 0 ;; esac # sanitizers don't
	echo a,b >log.csv
	mkfifo frames
	mb-collect -j f.mbj -f -i 50ms log.csv >frames &
	collect=$!
	mb-agg -k a -a count,avg:b <frames >out &
	agg=$!
	for i in 1 2 3 4 5; do
		seq 1 2000 | sed 's/$/,5/' >>log.csv
		summed() { [ "$(grep -ac '"mb":"end"' out)" -ge $i ]; }
		eventually summed
	done
	kib=$(awk '/^VmRSS/ { print $2 }' "/proc/$agg/status")
	kill $collect
	wait $collect $agg
	echo "mb-agg: $kib KiB resident"
	[ "$kib" -lt 8192 ]
	grep -aq '"mb":"done"' out
}

@test "progress" {
	frames 3 web.csv | mb-agg -v -k status >/dev/null 2>err
	grep -q '^mb-agg: batch 1: .* records/s' err
	frames 3 web.csv | mb-agg --progress json -k status >/dev/null 2>err
	is "$(wc -l <err)" 2
	grep -q '"batchId":1.*"numInputRows":3' err
}

@test "frames: a collector waits until the former pipeline's mb-agg has gone" {
	frames 3 web.csv >all
	mkfifo in
	mb-agg -k status <in >out 2>err &
	agg=$!
	exec 7>in
	head -n 2 all >&7
	eventually grep -q '"role":"agg"' j.mbj
	rc=0
	timeout 1 mb-collect -j j.mbj --max-records 3 web.csv >again 2>waits || rc=$?
	is "$rc" 124
	tail -n +3 all >&7
	exec 7>&-
	wait $agg || true
	mb-collect -j j.mbj --max-records 3 web.csv >again
	is "$(grep -ac '"mb":"end"' again)" 2
}

@test "the same answer with 1, 2, 7 threads, from files, pipes and frames, by any instructions" {
	# Enough for many blocks; quotes with newlines, bad records, long keys.
	awk 'BEGIN {
		print "k,n,x"
		for (i = 0; i < 60000; i++) {
			k = (i % 7 ? "k" i % 41 : "k,\n" i % 5) \
			    (i % 3 ? "" : "-with-a-long-name-of-its-own")
			printf "%s,%s,%s\n", i % 7 ? k : "\"" k "\"",
			    i % 10007 ? i * 37 % 1000 / 4 : "no", i % 11 ? i : ""
		}
	}' >in.csv
	query=(-F csv -k k -a count,sum:n,avg:n,stddev:n,distinct:x,first:x,last:x)
	mb-agg -T 1 "${query[@]}" in.csv >expected 2>/dev/null
	[ "$(wc -l <expected)" -gt 80 ]
	for threads in 1 2 7; do
		for isa in none portable neon avx2 avx512; do
			status=0
			MB_ISA=$isa mb-agg -T $threads "${query[@]}" in.csv \
				>out 2>err || status=$?
			# Not every processor has all of them.
			[ "$status" -ne 64 ] || continue
			echo "-T $threads, $isa"
			cmp out expected
		done
		for size in 4093 300001; do
			dd if=in.csv bs=$size status=none |
				mb-agg -T $threads "${query[@]}" 2>err | cmp - expected
		done
		rm -rf j.mbj*
		mb-collect -j j.mbj in.csv 2>>err |
			mb-agg -T $threads --plain "${query[@]}" 2>>err | cmp - expected
	done
}
