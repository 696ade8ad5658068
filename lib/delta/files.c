#include "delta/files.h"

#include <inttypes.h>
#include <stdlib.h>

#include "delta/fields.h"

int
mb_delta_file_of_line(struct mb_str line, struct mb_str *action,
    bool *is_add, struct mb_err *err)
{
	struct mb_json_members m = { 0 };
	const char *why = mb_json_object(&m, line);
	int rc = 0;

	if (why != NULL)
		rc = mb_fail(err, MB_ECORRUPT, "not an action: %s", why);
	for (size_t i = 0; rc == 0 && i < m.n; i++) {
		bool adds = mb_str_eq(m.v[i].key, MB_STR("add"));

		if ((!adds && !mb_str_eq(m.v[i].key, MB_STR("remove"))) ||
		    m.v[i].value.kind != MB_JSON)
			continue;
		*action = m.v[i].value.text;
		*is_add = adds;
		rc = 1;
	}
	mb_json_members_release(&m);
	return rc;
}

/*
 * path and the unique id of the deletion vector.  Two spellings of one path
 * (percent signs) would be two files; each engine repeats what it read.
 */
int
mb_delta_file_key(struct mb_buf *out, struct mb_str action,
    struct mb_err *err)
{
	struct mb_fields f = { 0 }, dv = { 0 };
	struct mb_buf part = { 0 };
	struct mb_str object;
	int64_t offset;
	bool ok = mb_fields_set(&f, action) == NULL &&
	    mb_fields_text(&f, "path", &part);

	if (ok)
		mb_buf_add(out, part.p, part.len);
	if (ok && mb_fields_raw(&f, "deletionVector", '{', &object) &&
	    mb_fields_set(&dv, object) == NULL) {
		mb_buf_addc(out, '\0');
		if (mb_fields_text(&dv, "storageType", &part))
			mb_buf_add(out, part.p, part.len);
		if (mb_fields_text(&dv, "pathOrInlineDv", &part))
			mb_buf_add(out, part.p, part.len);
		if (mb_fields_int(&dv, "offset", &offset))
			mb_buf_addf(out, "@%lld", (long long)offset);
	}
	mb_fields_release(&f);
	mb_fields_release(&dv);
	mb_buf_release(&part);
	return ok ? 0 : mb_fail(err, MB_ECORRUPT, "a file action without a "
	    "path");
}

int
mb_delta_files_apply(struct mb_delta_files *f, struct mb_str line,
    struct mb_err *err)
{
	struct mb_buf key = { 0 }, text = { 0 };
	struct mb_str action;
	bool is_add;
	ssize_t i;
	int rc = mb_delta_file_of_line(line, &action, &is_add, err);

	if (rc <= 0)
		return rc;
	if (mb_delta_file_key(&key, action, err) < 0) {
		mb_buf_release(&key);
		return -1;
	}
	i = mb_names_index(&f->keys, (struct mb_str){ key.p, key.len });
	if (i < 0) {
		i = (ssize_t)f->keys.n;
		mb_names_add(&f->keys, (struct mb_str){ key.p, key.len });
		if (f->keys.n > f->cap) {
			f->cap = f->cap * 2 + 64;
			f->v = mb_realloc_array(f->v, f->cap, sizeof *f->v);
		}
		f->v[i].text = NULL;
	}
	free(f->v[i].text);
	mb_buf_add(&text, action.p, action.len);
	f->v[i] = (struct mb_delta_file_action){ mb_buf_take(&text), is_add };
	mb_buf_release(&key);
	return 0;
}

int
mb_delta_files_has(const struct mb_delta_files *f, struct mb_str action,
    bool *has, struct mb_err *err)
{
	struct mb_buf key = { 0 };
	int rc = mb_delta_file_key(&key, action, err);

	*has = rc == 0 && mb_names_index(&f->keys, (struct mb_str){ key.p,
	    key.len }) >= 0;
	mb_buf_release(&key);
	return rc;
}

static int
apply_line(void *arg, struct mb_str line, struct mb_err *err)
{
	return mb_delta_files_apply(arg, line, err);
}

int
mb_delta_files_read_tail(struct mb_delta_files *f,
    const struct mb_delta_state *s, const struct mb_delta_log *l,
    struct mb_err *err)
{
	char name[MB_DELTA_NAME];
	int rc;

	for (int64_t v = s->checkpoint.version + 1; v <= s->version; v++) {
		mb_delta_commit_name(name, v);
		rc = mb_delta_log_lines(l, name, apply_line, f, NULL, err);
		if (rc == 0)
			rc = mb_fail(err, MB_EIO, "%s: version %" PRId64
			    " has gone", l->place, v);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ?
	    c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "file:", "s3:"; a partition's directory has a "=" first. */
static bool
has_scheme(const char *uri)
{
	size_t n = strspn(uri, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

	return n > 0 && uri[n] == ':';
}

bool
mb_delta_path_decode(char **out, const char *uri)
{
	struct mb_buf path = { 0 };
	bool ok = *uri != '/' && *uri != '\0' && !has_scheme(uri);

	for (; *uri != '\0'; uri++)
		if (*uri == '%' && hex(uri[1]) >= 0 && hex(uri[2]) >= 0) {
			mb_buf_addc(&path, (char)(hex(uri[1]) * 16 +
			    hex(uri[2])));
			uri += 2;
		} else {
			mb_buf_addc(&path, *uri);
		}
	ok &= strlen(mb_buf_str(&path)) == path.len &&
	    strncmp(path.p, "../", 3) != 0 && strstr(path.p, "/../") == NULL;
	*out = mb_buf_take(&path);
	return ok;
}

void
mb_delta_files_release(struct mb_delta_files *f)
{
	for (size_t i = 0; i < f->keys.n; i++)
		free(f->v[i].text);
	free(f->v);
	mb_names_release(&f->keys);
	*f = (struct mb_delta_files){ 0 };
}
