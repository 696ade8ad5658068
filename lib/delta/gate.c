#include "delta/gate.h"

#include <strings.h>

#include "delta/parsed.h"

/*
 * Features under which an append is an append.  Some mean something only
 * where a property or a column's metadata makes them active; check_active
 * looks for that whatever the protocol says, because up to writer version 6
 * they are implied.
 */
static const char *const known_features[] = {
	"appendOnly",		/* all that we do */
	"invariants", "checkConstraints", "generatedColumns",
	"identityColumns", "allowColumnDefaults",	/* if inactive */
	"changeDataFeed",	/* inserts need no change files */
	"columnMapping",	/* in mode none */
	"deletionVectors",	/* of files that others wrote */
	"domainMetadata",	/* is kept */
	"timestampNtz",
	"v2Checkpoint",		/* is read; a classic one is always allowed */
	"vacuumProtocolCheck",
	"inCommitTimestamp",	/* each commit of ours has one */
	"rowTracking", "typeWidening",
	"typeWidening-preview",		/* if inactive */
	NULL
};

static bool
is_known(const char *feature)
{
	for (size_t i = 0; known_features[i] != NULL; i++)
		if (strcmp(known_features[i], feature) == 0)
			return true;
	return false;
}

static int
refuse_feature(const char *feature, struct mb_err *err)
{
	return mb_fail(err, MB_EDATA, "the table has the feature %s, which we "
	    "don't support", feature);
}

static int
check_features(const struct mb_names *features, struct mb_err *err)
{
	for (size_t i = 0; i < features->n; i++)
		if (!is_known(features->v[i].p))
			return refuse_feature(features->v[i].p, err);
	return 0;
}

static int
check_protocol(const struct mb_delta_protocol *p, struct mb_err *err)
{
	if (p->min_reader < 1 || p->min_reader > 3)
		return mb_fail(err, MB_EDATA, "the table needs a reader of "
		    "version %lld; we support 1 to 3",
		    (long long)p->min_reader);
	if (p->min_writer < 1 || p->min_writer > 7)
		return mb_fail(err, MB_EDATA, "the table needs a writer of "
		    "version %lld; we support 1 to 7",
		    (long long)p->min_writer);
	if (check_features(&p->reader_features, err) < 0)
		return -1;
	return check_features(&p->writer_features, err);
}

/* Properties that ask of every append what we don't do. */
static int
check_properties(const struct mb_delta_meta *m, struct mb_err *err)
{
	static const char *const refused_if_true[] = {
		"delta.enableRowTracking",
		"delta.enableIcebergCompatV1", "delta.enableIcebergCompatV2",
		"delta.enableIcebergCompatV3", NULL
	};
	/* Would make others forget the marker; see mb-delta(5). */
	static const char forgets[] = "delta.setTransactionRetentionDuration";
	static const char constraint[] = "delta.constraints.";
	const char *mode = mb_delta_property(m, "delta.columnMapping.mode");

	for (size_t i = 0; refused_if_true[i] != NULL; i++)
		if (mb_delta_property_is_true(m, refused_if_true[i]))
			return mb_fail(err, MB_EDATA, "the table has the "
			    "property %s, which we don't support",
			    refused_if_true[i]);
	if (mode != NULL && strcasecmp(mode, "none") != 0)
		return mb_fail(err, MB_EDATA, "the table has the property "
		    "delta.columnMapping.mode = %s, which we don't support",
		    mode);
	for (size_t i = 0; i < m->keys.n; i++)
		if (strncasecmp(m->keys.v[i].p, constraint,
		    sizeof constraint - 1) == 0)
			return mb_fail(err, MB_EDATA, "the table has the CHECK "
			    "constraint %s, which we don't support",
			    m->keys.v[i].p);
	if (mb_delta_property(m, forgets) != NULL)
		return mb_fail(err, MB_EDATA, "the table has the property %s, "
		    "which would remove our marker in time", forgets);
	return 0;
}

static int
check_columns(const struct mb_delta_schema *s, struct mb_err *err)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct mb_delta_column *c = &s->v[i];
		const char *what = c->has_invariant ? "an invariant" :
		    c->has_generation ? "a generation expression" :
		    c->has_identity ? "identity values" :
		    c->has_default ? "a default value" : NULL;

		if (what != NULL)
			return mb_fail(err, MB_EDATA, "the column \"%s\" has "
			    "%s, which we don't support", c->name, what);
		if (c->is_partition && !c->is_flat)
			return mb_fail(err, MB_EDATA, "the partition column "
			    "\"%s\" has a type that we don't write", c->name);
	}
	return 0;
}

int
mb_delta_gate_append(const struct mb_delta_protocol *p,
    const struct mb_delta_meta *m, const struct mb_delta_schema *s,
    struct mb_err *err)
{
	if (check_protocol(p, err) < 0 || check_properties(m, err) < 0)
		return -1;
	if (m->provider == NULL || strcasecmp(m->provider, "parquet") != 0)
		return mb_fail(err, MB_EDATA, "the table's files are \"%s\", "
		    "not parquet", m->provider == NULL ? "" : m->provider);
	return check_columns(s, err);
}

bool
mb_delta_gate_checkpoint(const struct mb_delta_meta *m,
    const struct mb_delta_schema *s)
{
	const char *json = mb_delta_property(m,
	    "delta.checkpoint.writeStatsAsJson");

	return (json == NULL || strcasecmp(json, "false") != 0) &&
	    (!mb_delta_property_is_true(m,
	    "delta.checkpoint.writeStatsAsStruct") || mb_delta_parsed_fits(s));
}
