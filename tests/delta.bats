#!/usr/bin/env bats
# mb-commit delta:PATH, with a reader of our own (tests/delta_dump); what other
# engines make of it is told by tests/delta-interop.

bats_require_minimum_version 1.5.0
load helpers

set_up() {
	dump=$BATS_TEST_DIRNAME/../${MB_BUILD:-build}/tests/delta_dump
	printf 'id,name\n1,a\n2,b\n3,c\n4,\n5,"e,""e"\n' >in.csv
}

# The rows of the table, as sorted csv.
dumped() { # TABLE FIELD...
	local table=$1

	shift
	"$dump" "$table" | jq -r "[.$(printf '%s,.' "$@" | sed 's/,\.$//')] | @csv" |
		LC_ALL=C sort
}

# Every name and byte of a directory.
print_of() { # DIR
	(cd "$1" && find . -printf '%p %y %m %s %T@\n' | sort &&
		find . -type f -print0 | sort -z | xargs -0 cat) | sha256sum
}

# Write version N of a table's log.
version() { # TABLE N; the actions on standard input
	mkdir -p "$1/_delta_log"
	cat >"$1/_delta_log/$(printf %020d "$2").json"
}

# How the last tool of the line ended, and what was said; those before it may
# have noticed or not.
ended() { # STATUS PART...
	[[ $output == *" $1" ]] || {
		echo "$output" >&2
		return 1
	}
	shift
	has "$output" "$@"
}

# A table that another made.
foreign() { # TABLE [SCHEMA-FIELDS [CONFIGURATION [PROTOCOL]]]
	local fields='{"name":"id","type":"long","nullable":true,"metadata":{}}'
	local protocol='{"minReaderVersion":1,"minWriterVersion":2}'

	fields=${2-$fields}
	protocol=${4-$protocol}
	jq -cn --arg fields "$fields" --argjson conf "{${3-}}" \
		--argjson p "$protocol" \
		'{protocol: $p}, {metaData: {id: "t-1", format: {provider:
		"parquet", options: {}}, schemaString: ("{\"type\":\"struct\",\"fields\":["
		+ $fields + "]}"), partitionColumns: [], configuration: $conf}}' |
		version "$1" 0
}

@test "delta: a table is made, and every batch is one version" {
	line 'mb-collect -j j.mbj --max-records 2 in.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t id name)" $'1,"a"\n2,"b"\n3,"c"\n4,\n5,"e,""e"'
	is "$(cd t/_delta_log && echo *.json)" "$(printf '%020d.json ' 0 1 2 | sed 's/ $//')"
	is "$(states j.mbj)" '0 committed 1 committed 2 committed'
	has "$("$dump" --state t)" 'version 2 from -1' '#first 0'
	# Nothing is left that has no name.
	is "$(ls -A t/_mb | grep -v places)" ''
}

@test "delta: the same line again changes nothing" {
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	before=$(print_of t)
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	line 'mb-replay -j j.mbj 0 | mb-commit delta:t'
	ended 0 'is committed already'
	is "$(print_of t)" "$before"
}

@test "delta: a batch whose commit line was lost is found by the marker" {
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	sed -i '/"mb":"commit"/d' j.mbj
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 0 'is committed already'
	is "$(states j.mbj)" '0 committed'
	is "$(dumped t id | wc -l)" 5
}

@test "delta: types are inferred, given, or mb-agg's" {
	printf '%s\n' '{"a":1,"b":true,"c":1.5,"d":"x","e":null}' \
		'{"a":2,"b":false,"c":2,"d":"1","f":7}' >in.ndjson
	line 'mb-collect -j j.mbj in.ndjson | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$(jq -r 'select(.metaData) | .metaData.schemaString | fromjson.fields[] |
		"\(.name) \(.type)"' t/_delta_log/*0.json | paste -sd,)" \
		'a long,b boolean,c double,d string,e string,f long'
	is "$("$dump" t | LC_ALL=C sort)" '{"a":1,"b":true,"c":1.5,"d":"x","e":null,"f":null}
{"a":2,"b":false,"c":2,"d":"1","e":null,"f":7}'
	line "mb-collect -j k.mbj in.csv | mb-agg --stamp -k name -a count,sum:id,avg:id |
		mb-commit --schema 'id_sum:decimal(20,2)' delta:u"
	is "$output" 'status 0 0 0'
	is "$(jq -r 'select(.metaData) | .metaData.schemaString | fromjson.fields[] |
		"\(.name) \(.type)"' u/_delta_log/*0.json | paste -sd,)" \
		'batch long,batch_time timestamp,name string,count long,id_sum decimal(20,2),id_avg double'
}

@test "delta: a value that doesn't fit goes by --on-bad" {
	foreign t '{"name":"id","type":"byte","nullable":false,"metadata":{}},{"name":"name","type":"string","nullable":true,"metadata":{}}'
	printf 'id,name\n1,ok\n300,wide\n,null\nx,text\n2,\xff\n-128,last\n' >bad.csv
	line 'mb-collect -j j.mbj bad.csv | mb-commit delta:t'
	has "$output" 'mb-commit: batch 0: 4 bad records rejected; the first: record 2: ' 'status 0 0'
	is "$(dumped t id name)" $'-128,"last"\n1,"ok"'
	rejects=$(cat j.mbj.d/rejects/*)
	has "$rejects" 'out of range' 'forbids' 'not a number' 'not UTF-8'
	line 'mb-collect -j k.mbj bad.csv | mb-commit --on-bad fail delta:t'
	ended 65 'out of range'
	is "$(dumped t id name | wc -l)" 2
}

@test "delta: a column that isn't there is refused, or added by --evolve" {
	foreign t
	before=$(print_of t)
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 64 'no column "name"'
	is "$(print_of t)" "$before"
	line 'mb-collect -j j.mbj in.csv | mb-commit --evolve --schema name:text delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t id name | tail -1)" '5,"e,""e"'
	is "$(jq -r 'select(.metaData) | .metaData.id' t/_delta_log/*1.json)" t-1
}

@test "delta: what we don't support is named, and nothing is written" {
	foreign t '{"name":"id","type":"long","nullable":true,"metadata":{}}' \
		'"delta.enableRowTracking":"true"' \
		'{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["rowTracking","domainMetadata"]}'
	before=$(print_of t)
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 65 'delta.enableRowTracking'
	is "$(print_of t)" "$before"
	foreign u '{"name":"id","type":"long","nullable":true,"metadata":{}}' '' \
		'{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["wonders"],"writerFeatures":["wonders"]}'
	line 'mb-collect -j k.mbj in.csv | mb-commit delta:u'
	ended 65 'feature wonders'
	# Also when it comes while we are at work.
	foreign v '{"name":"id","type":"long","nullable":true,"metadata":{}},{"name":"name","type":"string","nullable":true,"metadata":{}}'
	printf 'id,name\n1,a\n' >v.csv
	start 'mb-collect -j l.mbj -i 0 -f v.csv | mb-commit delta:v'
	eventually test -e v/_delta_log/00000000000000000001.json
	jq -c 'if .metaData then .metaData.configuration = {"delta.constraints.x": "id > 0"} | {metaData} else empty end' \
		v/_delta_log/00000000000000000000.json | version v 2
	printf '2,b\n' >>v.csv
	eventually grep -q delta.constraints.x err
	finished "$leader" 65
	is "$(dumped v id)" 1
}

@test "delta: a directory with files, a name with blanks, a codec" {
	mkdir t
	touch t/file
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 64 'is not a Delta table, but has files'
	is "$(ls -A t)" file
	printf 'a b\n1\n' >blank.csv
	line 'mb-collect -j k.mbj blank.csv | mb-commit delta:u'
	ended 64 'column "a b": Delta forbids'
	line 'mb-collect -j l.mbj in.csv | mb-commit --codec lzo delta:u'
	ended 64 '--codec'
	line 'mb-collect -j m.mbj in.csv | mb-commit --codec gzip delta:u'
	is "$output" 'status 0 0'
	ls u/*.gz.parquet
	line 'mb-collect -j n.mbj in.csv | mb-commit --codec gzip dir:out'
	ended 64 '--codec: not for dir:'
}

@test "delta: a table that was dropped and made anew is noticed" {
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	rm -r t
	foreign t
	printf '6,f\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 65 'dropped and made anew'
	rm -r t
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 65 'removed'
	line 'mb-collect -j j.mbj in.csv | mb-commit --new-target delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t id)" 6
}

@test "delta: a journal that was lost is noticed" {
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	rm -r j.mbj j.mbj.d
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 65 'another journal'
	is "$(dumped t id | wc -l)" 5
	line 'mb-collect -j j.mbj in.csv | mb-commit --new-target delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t id | wc -l)" 10
	# Accepted once is accepted.
	printf '6,f\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
}

@test "delta: a lost journal goes on where the table ended, with --adopt" {
	line 'mb-collect -j j.mbj --max-records 2 in.csv | mb-commit delta:t'
	rm -r j.mbj j.mbj.d
	printf '6,f\n' >>in.csv
	for i in 1 2; do
		line 'mb-collect -j j.mbj --adopt delta:t in.csv | mb-commit delta:t'
		ended 0
		is "$(dumped t id | paste -sd' ')" '1 2 3 4 5 6'
	done
	line 'mb-collect -j k.mbj --adopt delta:t in.csv'
	ended 64 'has no batches of a journal at'
	# What was parked is parked again; torn lines count for nothing.
	printf '%s\n' 7,g 8,h 9,i >>in.csv
	mb-collect -j j.mbj --max-records 1 in.csv >/dev/null
	mb-replay -j j.mbj --park 5 >/dev/null
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	is "$(dumped t id | paste -sd' ')" '1 2 3 4 5 6 7 9'
	printf '{"mb":"place","batch":99' >>t/_mb/*.places
	rm -r j.mbj j.mbj.d
	printf '10,j\n' >>in.csv
	line 'mb-collect -j j.mbj --adopt delta:t in.csv | mb-commit delta:t'
	ended 0
	line 'mb-replay -j j.mbj --failed | mb-commit delta:t'
	ended 0
	is "$(dumped t id | sort -n | paste -sd' ')" '1 2 3 4 5 6 7 8 9 10'
	rm -r j.mbj j.mbj.d t/_mb/*.places
	line 'mb-collect -j j.mbj --adopt delta:t in.csv'
	ended 64 '.places is missing'
}

@test "delta: how far sources were read doesn't grow for ever" {
	# Lines as of many batches before, of one file that was read on.
	seq 20 | sed '1i n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	places=$(echo t/_mb/*.places)
	head -1 "$places" >x
	for ((i = 0; i < 200; i++)); do
		tail -n +2 "$places"
	done >y
	cat x y >"$places"
	[ "$(stat -c %s "$places")" -gt 600000 ]
	seq 21 25 >>n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	[ "$(stat -c %s "$places")" -lt 200000 ]
	is "$(ls -A t/_mb | grep -v places)" ''
	# The newest lines are those that were there; before them is one.
	is "$(tail -n +3 "$places" | head -n -5 | md5sum)" \
		"$(tail -n "$(($(wc -l <"$places") - 7))" y | md5sum)"
	is "$(sed -n 2p "$places" | jq -c '[.mb, .batch, (.positions | length)]')" '["place",19,1]'
	# And it is enough to go on from: by all of it, and by the one line.
	seq 26 30 >>n.csv
	cp "$places" all
	for k in 999999 2; do
		rm -rf j.mbj j.mbj.d
		head -n "$k" all >"$places"
		line 'mb-collect -j j.mbj --adopt delta:t n.csv | mb-commit --dry-run delta:t'
		# What the one line says is where the lines before the kept ended.
		[ "$k" = 2 ] && ended 0 'batch 25: ' || ended 0 'batch 25: 5 rows'
	done
	# Whoever dies while writing it anew leaves one that is whole.
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
	rm -rf j.mbj j.mbj.d
	cp all "$places"
	line 'mb-collect -j j.mbj --adopt delta:t n.csv | mb-commit delta:t'
	places=$(echo t/_mb/*.places)
	for ((i = 0; i < 1500; i++)); do
		tail -n 1 "$places"
	done >x
	cat x >>"$places"
	echo 31 >>n.csv
	mb-collect -j j.mbj n.csv >frames
	mkdir was
	cp -a t j.mbj j.mbj.d was
	for ((n = 1; n < 100; n++)); do
		rm -rf t j.mbj j.mbj.d report
		cp -a was/* .
		env LD_PRELOAD="$so" ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
			MB_FAULT_MODE=die MB_FAULT_AT=$n MB_FAULT_REPORT="$PWD/report" \
			mb-commit delta:t <frames >/dev/null 2>&1 || true
		[ "$(grep -ac '^{"mb":"place",.*"crc":"[0-9a-f]*"}$' "$places")" -gt 100 ]
		mb-commit delta:t <frames
		is "$("$dump" t | wc -l)" 31
		grep -q fired report || break
	done
	[ "$n" -gt 8 ]
	[ "$n" -lt 100 ]
	rm -r j.mbj j.mbj.d
	line 'mb-collect -j j.mbj --adopt delta:t n.csv | mb-commit delta:t'
	ended 0
	is "$(dumped t n | wc -l)" 31
	# Nothing that counts is not a beginning.
	rm -rf j.mbj j.mbj.d
	head -n 1 all >"$(echo t/_mb/*.places)"
	line 'mb-collect -j j.mbj --adopt delta:t n.csv'
	ended 64 'nobody knows how far'
}

@test "delta: a table that was restored from an older copy is noticed" {
	line 'mb-collect -j j.mbj --max-records 2 in.csv | mb-commit delta:t'
	rm t/_delta_log/00000000000000000002.json
	printf '6,f\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 65 'restored from an older'
}

@test "delta: a gap in the log, a line that is no action" {
	line 'mb-collect -j j.mbj --max-records 1 in.csv | mb-commit delta:t'
	cp -r t u
	rm t/_delta_log/00000000000000000002.json
	printf '6,f\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit delta:t'
	ended 65 'version 2 is missing'
	echo '{"add"' >>u/_delta_log/00000000000000000002.json
	line 'mb-collect -j k.mbj in.csv | mb-commit delta:u'
	ended 65 '00000000000000000002.json: not an action'
}

@test "delta: checkpoints come in time, and a trimmed log goes on" {
	seq 60 | sed '1i n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	last=$(jq .version t/_delta_log/_last_checkpoint)
	[ "$last" -ge 9 ]
	for ((v = 0; v < last; v++)); do
		rm "t/_delta_log/$(printf %020d $v).json"
	done
	rm t/_delta_log/_last_checkpoint
	echo 61 >>n.csv
	line 'mb-collect -j j.mbj n.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$("$dump" t | jq .n | sort -n | md5sum)" "$(seq 61 | md5sum)"
	has "$("$dump" --state t)" "from $last"
}

@test "delta: checkpoints have statistics and partition values in types where that is asked for" {
	foreign t '{"name":"a","type":"integer","nullable":true,"metadata":{}},{"name":"b","type":"boolean","nullable":true,"metadata":{}},{"name":"p","type":"timestamp","nullable":true,"metadata":{}}' \
		'"delta.checkpoint.writeStatsAsStruct":"true","delta.checkpointInterval":"2"'
	sed -i 's/"partitionColumns":\[\]/"partitionColumns":["p"]/' t/_delta_log/*0.json
	printf 'a,b,p\n7,true,2026-01-01T00:00:00Z\n-7,,\n' >p.csv
	line 'mb-collect -j j.mbj p.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	"$BATS_TEST_DIRNAME/../${MB_BUILD:-build}/tests/parquet" dump t/_delta_log/*1.checkpoint.parquet >dumped
	is "$(sed '/^$/,$d' dumped | jq -r '.path | join(".") | select(test("_parsed"))' | sed 's/^add\.//' | paste -sd' ')" \
		'stats_parsed.numRecords stats_parsed.minValues.a stats_parsed.maxValues.a stats_parsed.nullCount.a stats_parsed.nullCount.b stats_parsed.tightBounds partitionValues_parsed.p'
	# Time of a partition without its zone: nobody knows when that was.  The
	# rows are there, and a checkpoint isn't.
	jq -c 'select(.add) | .add.partitionValues.p = "2026-01-01 00:00:00" | .add.path += "x"' \
		t/_delta_log/*1.json | head -1 | version t 2
	printf '9,,\n' >>p.csv
	line 'mb-collect -j j.mbj p.csv | mb-commit delta:t'
	ended 0 'checkpoint: the value of partition column "p" is not of its type'
	is "$(ls t/_delta_log/*.checkpoint.parquet | wc -l)" 1
	# Nor is there one where not all of it could be in types, or no text.
	for what in '"delta.checkpoint.writeStatsAsStruct":"true"' \
		'"delta.checkpoint.writeStatsAsJson":"false"'; do
		rm -rf u k.mbj*
		foreign u '{"name":"a","type":"integer","nullable":true,"metadata":{}},{"name":"l","type":{"type":"array","elementType":"long","containsNull":true},"nullable":true,"metadata":{}}' \
			"$what,\"delta.checkpointInterval\":\"2\""
		seq 5 | sed '1i a' >u.csv
		line 'mb-collect -j k.mbj --max-records 1 u.csv | mb-commit delta:u'
		is "$output" 'status 0 0'
		[ ! -e u/_delta_log/_last_checkpoint ]
	done
}

@test "delta: a checkpoint that can't be written is told, and nothing else fails" {
	seq 25 | sed '1i n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	last=$(jq .version t/_delta_log/_last_checkpoint)
	# Damaged behind our back: what its commits said is still there.
	sed -i 's/PAR1/XXXX/' "t/_delta_log/$(printf %020d "$last").checkpoint.parquet"
	seq 26 40 >>n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	[[ $output == *'status 0 0' ]]
	is "$("$dump" t | jq .n | sort -n | md5sum)" "$(seq 40 | md5sum)"
	# One that a directory is in the way of.
	foreign u '{"name":"n","type":"long","nullable":true,"metadata":{}}' \
		'"delta.checkpointInterval":"1"'
	mkdir -p u/_delta_log/00000000000000000001.checkpoint.parquet/x
	line 'mb-collect -j k.mbj n.csv | mb-commit delta:u'
	ended 0 'checkpoint: '
	is "$("$dump" u | wc -l)" 40
}

# What each .crc of the table says is wrong, by its log alone; ends with how
# many there are.
check_crcs() { # TABLE
	python3 - "$1" <<-'END'
	import glob, json, sys
	live, txns, meta, n = {}, {}, None, 0
	for v, path in enumerate(sorted(glob.glob(sys.argv[1] +
	                                          "/_delta_log/*[0-9].json"))):
	    txn_id = None
	    for line in open(path):
	        (kind, a), = json.loads(line).items()
	        if kind == "add":
	            live[a["path"]] = a["size"]
	        elif kind == "remove":
	            live.pop(a["path"], None)
	        elif kind == "txn":
	            txns[a["appId"]] = a
	        elif kind == "metaData":
	            meta = a
	        elif kind == "commitInfo":
	            txn_id = a.get("txnId")
	    try:
	        text = open(path[:-4] + "crc").read()
	    except FileNotFoundError:
	        continue
	    crc = json.loads(text)
	    n += 1
	    got = (crc["numFiles"], crc["tableSizeBytes"], crc["metadata"],
	           {t["appId"]: t for t in crc["setTransactions"]}, crc["txnId"],
	           crc["numMetadata"], crc["numProtocol"])
	    want = len(live), sum(live.values()), meta, txns, txn_id, 1, 1
	    if got != want:
	        print("version", v, got, "not", want)
	print(n)
	END
}

@test "delta: every version has its .crc, and it is right" {
	seq 130 | sed 's/.*/&,p/; 1i n,p' >n.csv
	line 'mb-collect -j j.mbj --max-records 2 n.csv | mb-commit --compact-to 1M --partition-by p delta:t'
	is "$(check_crcs t)" "$(ls t/_delta_log/*[0-9].json | wc -l)"
	line "mb-replay -j j.mbj 64 | mb-agg --where 'n = 130' | mb-commit --redo delta:t"
	is "$output" 'status 0 0 0'
	is "$(check_crcs t)" "$(ls t/_delta_log/*[0-9].json | wc -l)"
	# One that is torn, or of another table, is as good as none; there is one
	# again with the next checkpoint.
	last=$(ls t/_delta_log/*.crc | tail -1)
	head -c 100 "$last" >x && mv x "$last"
	seq 131 150 | sed 's/$/,p/' >>n.csv
	line 'mb-collect -j j.mbj --max-records 20 n.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	rm "$last"
	n=$(check_crcs t)
	seq 151 300 | sed 's/$/,p/' >>n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	[ "$(check_crcs t)" -gt "$n" ]
	# There are never more than a hundred of them.
	[ "$(ls t/_delta_log/*.crc | wc -l)" -le 100 ]
	is "$("$dump" t | jq .n | sort -n | md5sum)" "$( (seq 128; seq 130 300) | md5sum)"
}

@test "delta: the .crc of another's commit that can't be counted waits for a checkpoint" {
	seq 5 | sed '1i n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	path=$(jq -r 'select(.add).add.path' t/_delta_log/*3.json)
	jq -cn --arg p "$path" '{remove: {path: $p, deletionTimestamp: 1, dataChange: true, size: 5}}' | version t 5
	seq 6 8 >>n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$(check_crcs t)" 5
	seq 9 40 >>n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	first=$(ls t/_delta_log/*.checkpoint.parquet | sed -n '1s/.*log.0*\([0-9]*\)[.].*/\1/p')
	is "$(check_crcs t)" $((5 + 41 - first))
	# What another engine says is believed, for counting.
	last=$(ls t/_delta_log/*.crc | tail -1)
	jq -c '.numFiles = 100 | del(.txnId)' "$last" >x && mv x "$last"
	echo 41 >>n.csv
	line 'mb-collect -j j.mbj n.csv | mb-commit delta:t'
	is "$(jq .numFiles "$(ls t/_delta_log/*.crc | tail -1)")" 101
}

@test "delta: eight at once, each with a journal of its own" {
	for k in 1 2 3 4 5 6 7 8; do
		seq 10 | sed "s/^/$k,/; 1i who,n" >in$k.csv
		start "mb-collect -j j$k.mbj --max-records 1 in$k.csv | mb-commit delta:t"
		leaders+=("$leader")
	done
	for l in "${leaders[@]}"; do
		finished "$l"
	done
	is "$(dumped t who n | wc -l)" 80
	is "$(dumped t who n | uniq | wc -l)" 80
	is "$(ls t/_delta_log/*.json | wc -l)" 80
	is "$("$dump" --state t | grep -c '^mb:[0-9a-f]* 9$')" 8
}

@test "delta: partitions are directories, whatever the values" {
	foreign t '{"name":"v","type":"long","nullable":true,"metadata":{}},{"name":"p","type":"string","nullable":true,"metadata":{}}'
	jq -c 'if .metaData then .metaData.partitionColumns = ["p"] else . end' \
		t/_delta_log/*0.json >x
	version t 0 <x
	printf 'v,p\n1,../../x\n2,a b%%\n3,\n4,é\n5,.\n' >p.csv
	line 'mb-collect -j j.mbj p.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t v p)" $'1,"../../x"\n2,"a b%"\n3,\n4,"é"\n5,"."'
	is "$(cd t && printf '%s\n' p=* | LC_ALL=C sort | paste -sd' ')" 'p=. p=..%2F..%2Fx p=__HIVE_DEFAULT_PARTITION__ p=a%20b%25 p=é'
	is "$(jq -r 'select(.add).add.path | split("/")[0]' t/_delta_log/*1.json | LC_ALL=C sort | paste -sd' ')" \
		'p=%C3%A9 p=. p=..%252F..%252Fx p=__HIVE_DEFAULT_PARTITION__ p=a%2520b%2525'
}

# By the log of tests/fault.c: how many versions got their names, and that what
# each of them leads to was durable before, and itself before its `commit`.
check_order() { # LOG
	python3 -B - "$BATS_TEST_DIRNAME/power" "$1" <<-'E'
	import importlib.machinery, importlib.util, os, re, sys
	sys.path.insert(0, os.path.dirname(sys.argv[1]))
	loader = importlib.machinery.SourceFileLoader("power", sys.argv[1])
	power = importlib.util.module_from_spec(
	    importlib.util.spec_from_loader("power", loader))
	loader.exec_module(power)
	unsynced, names, places, log_dir, versions, commits = {}, {}, 0, None, 0, 0
	for e in power.read_log(sys.argv[2]):
	    if e.verb == "create" and not e.args[2].startswith(".mb-"):
	        unsynced[e.args[0]] = e.args[2]
	        names[e.args[1]] = e.args[2]
	    elif e.verb == "write":
	        name = names.get(e.args[0], "")
	        if name == "j.mbj" and b'"mb":"commit"' in e.data:
	            assert log_dir not in unsynced, "commit %d" % commits
	            commits += 1
	        unsynced[e.args[0]] = name or "a file"
	        places += b'{"mb":"place"' in e.data
	    elif e.verb == "sync":
	        unsynced.pop(e.args[0], None)
	    elif e.verb == "rename" and e.args[4].endswith((".crc", "_checkpoint")):
	        unsynced.pop(e.args[2], None)   # not for ever needed
	    elif e.verb == "rename":
	        if re.fullmatch("[0-9]{20}.json", e.args[4]):
	            left = {n for i, n in unsynced.items() if n != "j.mbj"}
	            assert not left, (e.args[4], left)
	            versions, log_dir = versions + 1, e.args[1]
	        names[e.args[2]] = e.args[4]
	        unsynced[e.args[1]] = "the name " + e.args[4]
	print(versions, places, commits)
	E
}

@test "delta: what a version leads to is durable before it has its name" {
	so=$BATS_TEST_DIRNAME/../${MB_BUILD:-build}/tests/fault.so
	# As they come; in partitions, and joined; in more files than are open at
	# a time.
	seq 60 | awk 'BEGIN { print "n,p" } { print $1 "," $1 % 3 }' >n.csv
	seq 300 | awk 'BEGIN { print "n,p" } { print $1 "," $1 % 150 }' >m.csv
	while read -r file records options; do
		rm -rf t j.mbj* log
		line "export LD_PRELOAD=$so ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 MB_FAULT_LOG=$PWD/log
			mb-collect -j j.mbj --max-records $records $file | mb-commit $options delta:t"
		is "$output" 'status 0 0'
		n=$((($(wc -l <$file) - 1) / records))
		is "$(check_order log)" "$(ls t/_delta_log/*[0-9].json | wc -l) $n $n"
	done <<-'E'
	n.csv 2
	n.csv 1 --partition-by p --compact-to 1M
	m.csv 150 --partition-by p
	E
}

@test "delta: in-commit timestamps rise with every version, whatever the clock says" {
	foreign t '{"name":"n","type":"long","nullable":true,"metadata":{}}' \
		'"delta.enableInCommitTimestamps":"true","delta.checkpointInterval":"3"' \
		'{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["inCommitTimestamp"]}'
	# The last commit is a day ahead of us.
	ahead=$((($(date +%s) + 86400) * 1000))
	jq -c --argjson t "$ahead" -n '{commitInfo: {inCommitTimestamp: $t, timestamp: 1, operation: "X"}}' >x
	cat t/_delta_log/*0.json >>x
	version t 0 <x
	seq 5 | sed '1i n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit --compact-to 1M delta:t'
	is "$output" 'status 0 0'
	# A checkpoint that is the newest version has no commitInfo.
	[ -e t/_delta_log/00000000000000000005.checkpoint.parquet ]
	rm t/_delta_log/0000000000000000000[0-4].json t/_delta_log/*2.checkpoint.parquet
	rm -r j.mbj j.mbj.d
	line 'mb-collect -j j.mbj --max-records 4 n.csv | mb-commit --new-target delta:t'
	is "$output" 'status 0 0'
	is "$(head -qn 1 t/_delta_log/*[0-9].json | jq '.commitInfo.inCommitTimestamp' | paste -sd' ')" \
		"$((ahead + 5)) $((ahead + 6)) $((ahead + 7))"
	is "$(jq .inCommitTimestampOpt t/_delta_log/*7.crc)" $((ahead + 7))
}

@test "delta: --partition-by makes a partitioned table, in the order of the fields" {
	printf 'v,p,day\n1,a b,2026-01-01\n2,,2026-01-02\n3,x/y,\n4,a b,2026-01-01\n' >p.csv
	line 'mb-collect -j j.mbj p.csv | mb-commit --partition-by day,p --schema day:date delta:t'
	is "$output" 'status 0 0'
	is "$(jq -c 'select(.metaData).metaData.partitionColumns' t/_delta_log/*0.json)" '["day","p"]'
	is "$(cd t && find day=* -mindepth 1 -type d | LC_ALL=C sort | paste -sd' ')" \
		'day=2026-01-01/p=a%20b day=2026-01-02/p=__HIVE_DEFAULT_PARTITION__ day=__HIVE_DEFAULT_PARTITION__/p=x%2Fy'
	is "$(jq -c 'select(.add).add.partitionValues' t/_delta_log/*0.json | head -2 | paste -sd' ')" \
		'{"day":"2026-01-01","p":"a b"} {"day":"2026-01-02","p":null}'
	is "$(dumped t v p day)" $'1,"a b","2026-01-01"\n2,,"2026-01-02"\n3,"x/y",\n4,"a b","2026-01-01"'
	# The table's own fields may be named again, and no others.
	echo '5,z,2026-01-09' >>p.csv
	line 'mb-collect -j j.mbj p.csv | mb-commit --partition-by day,p delta:t'
	is "$output" 'status 0 0'
	echo '6,z,2026-01-09' >>p.csv
	line 'mb-collect -j j.mbj p.csv | mb-commit --partition-by p,day delta:t'
	ended 64 'has other partition columns: day, p'
	line 'mb-collect -j j.mbj p.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t v | paste -sd' ')" '1 2 3 4 5 6'
	# Refused before anything is made.
	line 'mb-collect -j k.mbj p.csv | mb-commit --partition-by q delta:u'
	ended 64 'no column "q"; there are: v, p, day'
	line 'mb-collect -j k.mbj p.csv | mb-commit --partition-by v,p,day delta:u'
	ended 64 'one column at least must be none'
	line 'mb-collect -j k.mbj p.csv | mb-commit --partition-by p --schema p:binary delta:u'
	ended 64 'is binary'
	line 'mb-collect -j k.mbj p.csv | mb-commit --partition-by p sqlite:u#u'
	ended 64 '--partition-by: not for sqlite:'
	[ ! -e u ]
}

@test "delta: --dry-run says what would be done, and writes nothing" {
	# A table that isn't there; the second batch comes to what the first makes.
	printf 'v,p\n1,a\n2,\n3,b\n4,b\n' >p.csv
	mb-collect -j j.mbj --max-records 2 p.csv >frames
	journal=$(print_of j.mbj.d)-$(md5sum <j.mbj)
	run -0 --separate-stderr mb-commit -v --dry-run --partition-by p --schema v:int32 delta:t <frames
	is "$stderr" ''
	is "$(sed 's/[0-9]* bytes/N bytes/' <<<"$output")" \
		'batch 0: 2 rows: version 0, 2 files, N bytes; the table is made: v integer, p string; partitioned by p
batch 1: 2 rows: version 1, 1 file, N bytes'
	[ ! -e t ]
	is "$(print_of j.mbj.d)-$(md5sum <j.mbj)" "$journal"
	bytes=$(grep -oE '[0-9]+ bytes' <<<"$output" | awk '{ n += $1 } END { print n }')
	# What was said is done by the same line without it.
	run -0 mb-commit --partition-by p --schema v:int32 delta:t <frames
	is "$(jq 'select(.add).add.size' t/_delta_log/*.json | awk '{ n += $1 } END { print n }')" "$bytes"
	is "$(cd t/_delta_log && ls *.json)" "$(printf '%020d.json\n' 0 1)"
	# One that is there: rejects, new columns, what is there already.
	printf 'v,p,x\n5,a,0.5\nz,a,1\n' >q.csv
	mb-collect -j k.mbj q.csv >frames
	before=$(print_of t)
	run -64 mb-commit --dry-run delta:t <frames
	has "$output" 'no column "x"'
	run -0 mb-commit --dry-run --evolve delta:t <frames
	[[ $output == 'batch 0: 1 row, 1 rejected: version 2, 1 file, '*' bytes; columns added: x double' ]]
	run -65 mb-commit --dry-run --evolve --on-bad fail delta:t <frames
	has "$output" 'not a whole number' || has "$output" 'not a number'
	mb-replay -j j.mbj 1 >frames
	run -0 mb-commit --dry-run delta:t <frames
	has "$output" 'is committed already'
	is "$(print_of t)" "$before"
	[ ! -e k.mbj.d/rejects ]
	# Nor where it is refused, or the target can't tell.
	foreign u '{"name":"v","type":"long","nullable":true,"metadata":{}}' \
		'"delta.constraints.x":"v > 0"'
	before=$(print_of u)
	run -65 mb-commit --dry-run delta:u <frames
	has "$output" 'delta.constraints.x'
	is "$(print_of u)" "$before"
	run -64 mb-commit --dry-run sqlite:u.db#u <frames
	has "$output" '--dry-run: not for sqlite:'
	# Types that are inferred over more rows than memory holds.
	seq 300000 | sed 's/.*/&,a text that makes the rows long enough to be spilt to a file &/; 1i n,t' >big.csv
	mb-collect -j l.mbj big.csv >frames
	run -0 mb-commit --dry-run delta:big <frames
	has "$output" 'batch 0: 300000 rows: version 0, 1 file'
	[ ! -e big ]
}

@test "delta: --redo replaces a batch's files, and no others" {
	printf '%s\n' v,p 1,a 2,b 3,a 4, 5,b 6,a >p.csv
	line 'mb-collect -j j.mbj --max-records 2 p.csv | mb-commit --partition-by p delta:t'
	is "$output" 'status 0 0'
	before=$(print_of t)
	line "mb-replay -j j.mbj 1 | mb-agg --where 'v > 3' | mb-commit --redo --dry-run delta:t"
	ended 0 'batch 1: 1 row: version 3, 1 file, ' 'bytes in the place of 2'
	is "$(print_of t)" "$before"
	line "mb-replay -j j.mbj 1 | mb-agg --where 'v > 3' | mb-commit --redo delta:t"
	is "$output" 'status 0 0 0'
	is "$(dumped t v p | paste -sd' ')" '1,"a" 2,"b" 4, 5,"b" 6,"a"'
	is "$(jq -c 'select(.remove).remove.dataChange' t/_delta_log/*3.json | paste -sd,)" true,true
	is "$(jq -c 'select(.commitInfo).commitInfo | [.operation, .isBlindAppend]' t/_delta_log/*3.json)" \
		'["REPLACE BATCH",false]'
	# By nothing, and by what it was.
	line "mb-replay -j j.mbj 1-2 | mb-agg --where 'v > 5' | mb-commit --redo delta:t"
	is "$output" 'status 0 0 0'
	is "$(dumped t v p | paste -sd' ')" '1,"a" 2,"b" 6,"a"'
	for i in 1 2; do
		line 'mb-replay -j j.mbj 0-2 | mb-commit --redo delta:t'
		is "$output" 'status 0 0'
		is "$(dumped t v p | paste -sd' ')" '1,"a" 2,"b" 3,"a" 4, 5,"b" 6,"a"'
	done
	# The pipeline goes on, from a checkpoint too.
	seq 7 60 | sed 's/$/,a/' >>p.csv
	line 'mb-collect -j j.mbj --max-records 1 p.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	[ -e t/_delta_log/_last_checkpoint ]
	line "mb-replay -j j.mbj 0 | mb-agg --where 'v = 1' | mb-commit --redo delta:t"
	is "$output" 'status 0 0 0'
	is "$(dumped t v | paste -sd' ')" "$( (echo 1; seq 3 60) | LC_ALL=C sort | paste -sd' ')"
	# Where others removed some of it, or it was joined: refused.
	path=$(jq -r 'select(.add).add | select(.tags["mb.batch"] | endswith("/2")) | .path' t/_delta_log/*.json | tail -1)
	n=$(ls t/_delta_log/*.json | wc -l)
	jq -cn --arg p "$path" '{remove: {path: $p, deletionTimestamp: 1, dataChange: true}}' | version t "$n"
	line 'mb-replay -j j.mbj 2 | mb-commit --redo delta:t'
	ended 64 "not every one of the batch's files"
	is "$(ls t/_delta_log/*.json | wc -l)" $((n + 1))
	is "$(ls -A t/_mb | grep -v places)" ''
	seq 61 80 | sed 's/$/,a/' >>p.csv
	line 'mb-collect -j j.mbj --max-records 1 p.csv | mb-commit --compact-to 1M delta:t'
	is "$output" 'status 0 0'
	line 'mb-replay -j j.mbj 5 | mb-commit --redo delta:t'
	ended 64 "none of the batch's files" 'joined with others'
	# Nothing may be removed from one that is append-only.
	foreign v '{"name":"v","type":"long","nullable":true,"metadata":{}}' \
		'"delta.appendOnly":"true"'
	printf 'v\n1\n' >v.csv
	line 'mb-collect -j v.mbj v.csv | mb-commit delta:v'
	line 'mb-replay -j v.mbj 0 | mb-commit --redo delta:v'
	ended 64 'delta.appendOnly'
}

@test "delta: --redo that dies or fails at any durable call: the old rows or the new" {
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
	printf '%s\n' v,p 1,a 2,b 3,a 4,b >p.csv
	line 'mb-collect -j j.mbj --max-records 2 p.csv | mb-commit --partition-by p delta:t'
	mb-replay -j j.mbj 1 | mb-agg --where 'v > 3' >frames
	mkdir was
	cp -a t j.mbj j.mbj.d was
	for mode in die EIO; do
		for ((n = 1; n < 200; n++)); do
			rm -rf t j.mbj j.mbj.d
			cp -a was/* .
			env LD_PRELOAD="$so" ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
				MB_FAULT_MODE=$mode MB_FAULT_AT=$n MB_FAULT_REPORT="$PWD/report" \
				mb-commit --redo delta:t <frames >/dev/null 2>&1 || true
			rows=$(dumped t v | paste -sd' ')
			[ "$rows" = '1 2 3 4' ] || is "$rows" '1 2 4'
			mb-commit --redo delta:t <frames
			is "$(dumped t v | paste -sd' ')" '1 2 4'
			grep -q fired report || break
			rm report
		done
		[ "$n" -gt 8 ]
		[ "$n" -lt 200 ]
		rm -f report
	done
}

@test "delta: --redo puts back what a table lacks" {
	printf '%s\n' v 1 2 3 4 >v.csv
	line 'mb-collect -j j.mbj --max-records 1 v.csv | mb-commit delta:t'
	rm t/_delta_log/*[23].json
	line 'mb-replay -j j.mbj 2-3 | mb-commit --redo delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t v | paste -sd' ')" '1 2 3 4'
	rm -r t
	line 'mb-replay -j j.mbj 0-3 | mb-commit --redo delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t v | paste -sd' ')" '1 2 3 4'
	echo 5 >>v.csv
	line 'mb-collect -j j.mbj v.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$(dumped t v | paste -sd' ')" '1 2 3 4 5'
}

@test "delta: thousands of partitions in a batch, with few descriptors and little memory" {
	# The rows of a partition come one after the other, and in all files.
	seq 9000 | awk '{ print $1 "," $1 % 1500 }' | sed '1i v,p' >many.csv
	line 'mb-collect -j j.mbj many.csv | (ulimit -n 200; mb-commit --partition-by p delta:t)'
	is "$output" 'status 0 0'
	is "$(jq -c 'select(.add)' t/_delta_log/*0.json | wc -l)" 1500
	is "$(dumped t v p | md5sum)" "$(seq 9000 | awk '{ print $1 ",\"" $1 % 1500 "\"" }' | LC_ALL=C sort | md5sum)"
	# More rows than are held in memory.
	awk 'BEGIN { print "v,p,t"; for (i = 0; i < 300000; i++)
		print i "," i * 7919 % 60 ",a text that makes rows long enough to be spilt to a file " i }' >big.csv
	line 'mb-collect -j k.mbj big.csv | mb-commit --partition-by p delta:u'
	is "$output" 'status 0 0'
	is "$(dumped u v p | md5sum)" "$(awk 'BEGIN { for (i = 0; i < 300000; i++)
		print i ",\"" i * 7919 % 60 "\"" }' | LC_ALL=C sort | md5sum)"
	is "$(ls -A u/_mb | grep -v places)" ''
}

@test "delta: a first batch that is larger than memory for it" {
	seq 300000 | sed 's/.*/&,a text that makes the rows long enough to be spilt to a file &/; 1i n,t' >big.csv
	line 'mb-collect -j j.mbj big.csv | mb-commit delta:t'
	is "$output" 'status 0 0'
	is "$("$dump" t | tail -1)" '{"n":300000,"t":"a text that makes the rows long enough to be spilt to a file 300000"}'
	is "$("$dump" t | wc -l)" 300000
}

@test "delta: small files are joined, and what others changed stays changed" {
	seq 100 | sed 's/.*/&,text &/; 1i n,t' >n.csv
	line 'mb-collect -j j.mbj --max-records 2 n.csv | mb-commit --compact-to 1M delta:t'
	is "$output" 'status 0 0'
	is "$("$dump" t | jq .n | md5sum)" "$(seq 100 | md5sum)"
	# 50 batches: 3 joined of 16 each, 2 as they came.
	is "$(ls t/_delta_log/*.json | wc -l)" 53
	joins=$(grep -l OPTIMIZE t/_delta_log/*.json)
	is "$(wc -w <<<"$joins")" 3
	is "$(jq -c 'select(.add or .remove) | .add // .remove | .dataChange' $joins | sort -u)" false
	is "$(jq -c 'select(.add).add.tags["mb.joined"] | split("/")[1]' $joins | sort -u)" '"1"'
	# Somebody removes one of the files, and a batch comes: nothing comes back.
	last=$(jq -r 'select(.add).add.path' t/_delta_log/00000000000000000052.json)
	jq -cn --arg p "$last" '{remove: {path: $p, deletionTimestamp: 1, dataChange: true}}' |
		version t 53
	seq 101 140 | sed 's/.*/&,text &/' >>n.csv
	line 'mb-collect -j j.mbj --max-records 2 n.csv | mb-commit --compact-to 1M delta:t'
	is "$output" 'status 0 0'
	is "$("$dump" t | jq .n | md5sum)" "$( (seq 98; seq 101 140) | md5sum)"
	# Another journal's files are its own affair.
	line 'mb-collect -j k.mbj --max-records 2 n.csv | mb-commit --compact-to 1M delta:t'
	is "$("$dump" t | wc -l)" $((138 + 140))
	is "$(jq -r 'select(.add).add.tags["mb.joined"] // empty' t/_delta_log/*.json |
		cut -d/ -f1 | sort -u | wc -l)" 2
}

@test "delta: joining, and being killed all the time" {
	seq 120 | sed 's/.*/&,text &/; 1i n,t' >n.csv
	for ((i = 0; i < 25; i++)); do
		mb-collect -j j.mbj --max-records 1 n.csv 2>/dev/null |
			timeout -s KILL "0.0$((RANDOM % 9 + 1))" mb-commit --compact-to 1M delta:t || true
	done
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit --compact-to 1M delta:t'
	[[ $output == *'status 0 0' ]]
	# One that comes before a join that was killed is before what it joins.
	is "$("$dump" t | jq .n | sort -n | md5sum)" "$(seq 120 | md5sum)"
	is "$(ls -A t/_mb | grep -v places)" ''
}

@test "delta: --vacuum removes what no version needs, and no more" {
	seq 40 | sed 's/.*/&,text &/; 1i n,t' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit --compact-to 1M delta:t'
	files=$(ls t/*.parquet | wc -l)
	cp "$(ls t/*.parquet | head -1)" t/part-00000-orphan-c000.parquet
	touch t/part-00000-young-c000.parquet
	# Eight days later, by the tombstones and the files.
	sed -i -E 's/("deletionTimestamp":)[0-9]+/\11000/' t/_delta_log/*.json
	rm -f t/_delta_log/_last_checkpoint t/_delta_log/*.parquet
	touch -d '8 days ago' t/part-*[0-9a-f]-c000.zstd.parquet t/part-00000-orphan-c000.parquet
	echo 41,x >>n.csv
	line 'mb-collect -j j.mbj n.csv | mb-commit --vacuum delta:t'
	is "$output" 'status 0 0'
	is "$("$dump" t | jq .n | sort -n | md5sum)" "$(seq 41 | md5sum)"
	[ ! -e t/part-00000-orphan-c000.parquet ]
	[ -e t/part-00000-young-c000.parquet ]
	# 40 were made and 2 by joining; 32 of them went, 1 came.
	is "$(ls t/part-*-c000.*.parquet | wc -l)" $((files - 32 + 1))
	# The log, when a checkpoint that old covers it.
	seq 42 70 | sed 's/.*/&,x/' >>n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	last=$(jq .version t/_delta_log/_last_checkpoint)
	# Compacted logs go with their first version.
	for first in $((last - 5)) "$last" $((last + 1)); do
		echo '{"add":"is not read"}' >"t/_delta_log/$(printf '%020d.%020d' "$first" $((last + 3))).compacted.json"
	done
	touch -d '31 days ago' t/_delta_log/*
	seq 71 75 | sed 's/.*/&,x/' >>n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit --vacuum delta:t'
	is "$output" 'status 0 0'
	is "$(ls t/_delta_log/*.json | head -1)" "t/_delta_log/$(printf %020d "$last").json"
	is "$(cd t/_delta_log && ls *compacted*)" "$(printf '%020d.%020d' $((last + 1)) $((last + 3))).compacted.json"
	is "$("$dump" t | jq .n | sort -n | md5sum)" "$(seq 75 | md5sum)"
	line 'mb-collect -j j.mbj n.csv | mb-commit --vacuum dir:d'
	ended 64 '--vacuum: not for dir:'
	# Checkpoints: one an hour.
	seq 300 | sed '1i n' >m.csv
	line 'mb-collect -j m.mbj --max-records 1 m.csv | mb-commit delta:u'
	[ "$(ls u/_delta_log/*.parquet | wc -l)" -gt 3 ]
	touch -d '2 hours ago' u/_delta_log/*.parquet
	echo 301 >>m.csv
	line 'mb-collect -j m.mbj m.csv | mb-commit --vacuum delta:u'
	is "$(ls u/_delta_log/*.parquet | wc -l)" 2
	is "$("$dump" u | jq .n | sort -n | md5sum)" "$(seq 301 | md5sum)"
}

@test "delta: --vacuum knows a file by whatever path the log has for it" {
	printf 'n\n1\n2\n3\n4\n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	cp "$(ls t/*.parquet | head -1)" t/part-00000-orphan-c000.parquet
	# As it stands in tables that were cloned, or written by hand.
	n=0
	for spelt in "file:$PWD/t/part" "$PWD/t//part" './part' 'x%2F..%2f%70art'; do
		sed -i "s,\"path\":\"part,\"path\":\"$spelt," "t/_delta_log/$(printf %020d $n).json"
		n=$((n + 1))
	done
	[ "$(grep -c '"path":"part' t/_delta_log/*.json | grep -c ':0$')" -eq 4 ]
	touch -d '8 days ago' t/*.parquet
	echo 5 >>n.csv
	line 'mb-collect -j j.mbj n.csv | mb-commit --vacuum delta:t'
	is "$output" 'status 0 0'
	[ ! -e t/part-00000-orphan-c000.parquet ]
	is "$(ls t/*.parquet | wc -l)" 5
}

@test "delta: --vacuum leaves the log that a torn checkpoint would cover" {
	seq 40 | sed '1i n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit delta:t'
	checkpoint=$(ls t/_delta_log/*.checkpoint.parquet | tail -1)
	before=$(basename "$(ls t/_delta_log/*.checkpoint.parquet | tail -2 | head -1)" .checkpoint.parquet)
	[ "$before.checkpoint.parquet" != "$(basename "$checkpoint")" ]
	# Both are old; the newer one was never synced, and the power went.
	dd if=/dev/zero of="$checkpoint" bs=1 count="$(stat -c %s "$checkpoint")" status=none
	rm t/_delta_log/_last_checkpoint
	touch -d '31 days ago' t/_delta_log/*
	echo 41 >>n.csv
	line 'mb-collect -j j.mbj n.csv | mb-commit --vacuum delta:t'
	is "$output" 'status 0 0'
	is "$(ls t/_delta_log/*.json | head -1)" "t/_delta_log/$before.json"
	is "$("$dump" t | jq .n | sort -n | md5sum)" "$(seq 41 | md5sum)"
	# The log is kept where that is asked for, however it is spelt.
	foreign u '{"name":"n","type":"long","nullable":true,"metadata":{}}' \
		'"delta.enableExpiredLogCleanup":"FALSE","delta.checkpointInterval":"5"'
	line 'mb-collect -j u.mbj --max-records 4 n.csv | mb-commit delta:u'
	ls u/_delta_log/*.checkpoint.parquet
	touch -d '31 days ago' u/_delta_log/*
	echo 42 >>n.csv
	line 'mb-collect -j u.mbj n.csv | mb-commit --vacuum delta:u'
	is "$output" 'status 0 0'
	[ -e u/_delta_log/00000000000000000000.json ]
}

@test "delta: a checkpoint with flipped bytes is refused or read, never a crash" {
	seq 30 | sed '1i n' >n.csv
	line 'mb-collect -j j.mbj --max-records 1 n.csv | mb-commit --compact-to 1M delta:t'
	python3 - "$dump" <<-'END'
	import glob, os, random, subprocess, sys
	seed = int(os.environ.get("MB_SEED") or random.randrange(2**32))
	print("seed", seed)
	random.seed(seed)
	path = sorted(glob.glob("t/_delta_log/*.checkpoint.parquet"))[-1]
	good = open(path, "rb").read()
	for i in range(60):
	    b = bytearray(good)
	    for _ in range(random.choice([1, 1, 2, 5])):
	        b[random.randrange(random.choice([0, max(0, len(b) - 2500)]),
	                           len(b))] = random.randrange(256)
	    open(path, "wb").write(b)
	    r = subprocess.run([sys.argv[1], "t"], capture_output=True)
	    if r.returncode not in (0, 65, 75):
	        sys.exit("try %d: %d\n%s" % (i, r.returncode, r.stderr.decode()))
	END
}
