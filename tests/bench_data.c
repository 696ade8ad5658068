/*
 * bench_data.c - the records that scripts/bench measures with.
 *
 *	bench_data KIND MEGABYTES [KIB]
 *
 * writes so many megabytes to standard output, the same at every run, at once
 * so many KiB (1024):
 *
 *	log	csv, a web log of 9 columns, about 86 bytes a row
 *	json	ndjson, the same fields
 *	quoted	csv, every third field in quotes, some with a comma or `""`
 *	messy	ndjson: escapes in values, an object in each record, keys in
 *		one of three orders
 *	station	NAME;-12.3, 413 names, without header
 *	keys	csv, key,value, ten million different keys
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 20261123;

/* splitmix64 */
static uint64_t
draw(uint64_t below)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

struct request {
	char ts[32], ip[20], path[48];
	const char *method, *country;
	unsigned status, bytes, user;
	char latency[16];
};

static void
make_request(struct request *r, uint64_t i)
{
	static const char *const methods[] = { "GET", "GET", "GET", "POST",
		"PUT" };
	static const char *const countries[] = { "DE", "FR", "US", "GB", "BR",
		"IN", "JP", "PL", "NL", "ES" };
	static const unsigned statuses[] = { 200, 200, 200, 200, 200, 301, 404,
		500 };

	snprintf(r->ts, sizeof r->ts, "2026-11-%02uT%02u:%02u:%02u.%03uZ",
	    (unsigned)(1 + i / 86400000 % 28), (unsigned)(i / 3600000 % 24),
	    (unsigned)(i / 60000 % 60), (unsigned)(i / 1000 % 60),
	    (unsigned)(i % 1000));
	snprintf(r->ip, sizeof r->ip, "10.%u.%u.%u", (unsigned)draw(256),
	    (unsigned)draw(256), (unsigned)draw(256));
	snprintf(r->path, sizeof r->path, "/api/v1/items/%u",
	    (unsigned)draw(10000));
	r->method = methods[draw(5)];
	r->country = countries[draw(10)];
	r->status = statuses[draw(8)];
	r->bytes = (unsigned)draw(100000);
	r->user = (unsigned)draw(50000);
	snprintf(r->latency, sizeof r->latency, "%u.%03u", (unsigned)draw(500),
	    (unsigned)draw(1000));
}

static int
put_log(uint64_t i)
{
	struct request r;

	make_request(&r, i);
	return printf("%s,%s,%s,%s,%u,%u,%s,u%05u,%s\n", r.ts, r.ip, r.method,
	    r.path, r.status, r.bytes, r.latency, r.user, r.country);
}

static int
put_json(uint64_t i)
{
	struct request r;

	make_request(&r, i);
	return printf("{\"ts\":\"%s\",\"ip\":\"%s\",\"method\":\"%s\",\"path\":"
	    "\"%s\",\"status\":%u,\"bytes\":%u,\"latency_ms\":%s,\"user_id\":"
	    "\"u%05u\",\"country\":\"%s\"}\n", r.ts, r.ip, r.method, r.path,
	    r.status, r.bytes, r.latency, r.user, r.country);
}

static int
put_quoted(uint64_t i)
{
	struct request r;
	static const char *const more[] = { "", "", "", ", again",
		", \"\"sic\"\"" };

	make_request(&r, i);
	return printf("%s,%s,\"%s\",%s%u,%u,\"%u\",%s,u%05u,\"%s%s\"\n", r.ts,
	    r.ip, r.method, r.path, r.status, r.status, r.bytes, r.latency,
	    r.user, r.country, more[draw(5)]);
}

static int
put_messy(uint64_t i)
{
	static const char *const agents[] = { "Mozilla\\/5.0 (X11)",
		"say \\\"hi\\\"\\n", "caf\\u00e9", "curl 8.5", "a\\\\b" };
	struct request r;
	const char *agent;

	make_request(&r, i);
	agent = agents[draw(5)];
	switch (draw(3)) {
	case 0:
		return printf("{\"ts\":\"%s\",\"user\":{\"id\":\"u%05u\","
		    "\"country\":\"%s\"},\"agent\":\"%s\",\"status\":%u,"
		    "\"bytes\":%u,\"latency_ms\":%s,\"tags\":[\"a\",\"b\"]}\n",
		    r.ts, r.user, r.country, agent, r.status, r.bytes,
		    r.latency);
	case 1:
		return printf("{\"status\":%u,\"ts\":\"%s\",\"agent\":\"%s\","
		    "\"tags\":[],\"user\":{\"country\":\"%s\",\"id\":"
		    "\"u%05u\"},\"latency_ms\":%s,\"bytes\":%u}\n", r.status,
		    r.ts, agent, r.country, r.user, r.latency, r.bytes);
	default:
		return printf("{\"agent\":\"%s\",\"bytes\":%u,"
		    "\"latency_ms\":%s,\"ts\":\"%s\",\"status\":%u,"
		    "\"user\":{\"id\":\"u%05u\",\"country\":\"%s\"}}\n", agent,
		    r.bytes, r.latency, r.ts, r.status, r.user, r.country);
	}
}

static int
put_station(uint64_t i)
{
	unsigned n = (unsigned)draw(413), t = (unsigned)draw(1000);

	(void)i;
	/* Names of 4 to 20 bytes. */
	return printf("St%.*s%u;%s%u.%u\n", (int)(n * 7 % 16),
	    "anbergshavenville", n, draw(4) == 0 ? "-" : "", t / 10, t % 10);
}

static int
put_key(uint64_t i)
{
	/* 10,000,019 is a prime: all keys come before one comes again. */
	return printf("k%08u,%u\n", (unsigned)(i * 7368787 % 10000019),
	    (unsigned)draw(10000));
}

static const struct {
	const char *name, *header;
	int (*put)(uint64_t i);	/* printf's */
} kinds[] = {
	{ "log", "ts,ip,method,path,status,bytes,latency_ms,user_id,country\n",
	    put_log },
	{ "json", "", put_json },
	{ "quoted", "ts,ip,method,path,status,bytes,latency_ms,user_id,"
	    "country\n", put_quoted },
	{ "messy", "", put_messy },
	{ "station", "", put_station },
	{ "keys", "key,value\n", put_key },
};

/* A file's pages in the page cache are as large as what was written at once. */
enum { MOST_KIB = 1024 };

int
main(int argc, char **argv)
{
	long long size = argc >= 3 ? atoll(argv[2]) * 1000000 : 0;
	size_t kib = argc >= 4 ? (size_t)atoll(argv[3]) : MOST_KIB;
	static char buffer[MOST_KIB * 1024];
	long long done;

	if (kib == 0 || kib > MOST_KIB)
		size = 0;
	else
		setvbuf(stdout, buffer, _IOFBF, kib * 1024);

	for (size_t k = 0; size > 0 && k < sizeof kinds / sizeof *kinds; k++) {
		if (strcmp(argv[1], kinds[k].name) != 0)
			continue;
		done = printf("%s", kinds[k].header);
		for (uint64_t i = 0; done < size && !ferror(stdout); i += 100)
			for (uint64_t n = i; n < i + 100; n++)
				done += kinds[k].put(n);
		return ferror(stdout) != 0 || fflush(stdout) != 0;
	}
	fprintf(stderr, "usage: bench_data log|json|quoted|messy|station|keys "
	    "MEGABYTES [KIB]\n");
	return 64;
}
