/*
 * line.h - checked lines: one JSON object a line, whose last member "crc" is
 * the CRC-32C of every byte before it.
 *
 *	{"mb":"commit","batch":17,...,"crc":"0a1b2c3d"}
 *
 * The checksum covers the bytes from the opening brace up to, not including,
 * the comma before "crc"; it is written as 8 lower-case hexadecimal digits.
 * Journal and frames both consist of such lines (mb-journal(5), mb-frame(5)).
 *
 * Writing: mb_line_begin, mb_line_* members, mb_line_seal.  Nested values are
 * written with mb_line_open and mb_line_close.
 * Reading: mb_line_check, then mb_doc_parse and the mb_node_* getters.
 */
#ifndef MB_BASE_LINE_H
#define MB_BASE_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/mem.h"

/* `"name":` is left out where name is NULL (inside an array). */
void mb_line_begin(struct mb_buf *b, const char *verb);
void mb_line_str(struct mb_buf *b, const char *name, const char *value);
void mb_line_u64(struct mb_buf *b, const char *name, uint64_t value);
void mb_line_i64(struct mb_buf *b, const char *name, int64_t value);
void mb_line_bool(struct mb_buf *b, const char *name, bool value);
void mb_line_raw(struct mb_buf *b, const char *name, const char *json);
void mb_line_time(struct mb_buf *b, const char *name, int64_t time_ms);
void mb_line_open(struct mb_buf *b, const char *name, char bracket);
void mb_line_close(struct mb_buf *b, char bracket);

/*
 * Bytes that need not be UTF-8, such as a path: "name":"…" where they are,
 * otherwise "name_hex":"…" with two digits a byte.
 */
void mb_line_bytes(struct mb_buf *b, const char *name, struct mb_str value);

/*
 * Append the checksum of what stands from `start` on, the brace and a newline.
 */
void mb_line_seal(struct mb_buf *b, size_t start);

/* A JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void mb_json_quote(struct mb_buf *b, struct mb_str s);

/* Is it well-formed UTF-8 (RFC 3629)?  Without any byte above 0x7f? */
bool mb_is_utf8(struct mb_str s);
bool mb_is_ascii(struct mb_str s);

/* The length of the well-formed UTF-8 sequence at p, of `len` bytes; or 0. */
size_t mb_utf8_length(const char *p, size_t len);

/* Does the line (without its newline) end in its own checksum? */
bool mb_line_check(struct mb_str line);

/*
 * Is there one bit by which the line, which has a wrong checksum, is another
 * one with a right checksum?  Then its byte and bit.  Two wrong bits in front of
 * the checksum are never taken for one.
 */
bool mb_line_find_flip(struct mb_str line, size_t *byte, unsigned *bit);

/* A parsed line.  Nodes are borrowed from it and live as long as it does. */
struct mb_doc;
struct mb_node;

MB_CHECK int mb_doc_parse(struct mb_doc **out, struct mb_str line,
    struct mb_err *err);
const struct mb_node *mb_doc_root(const struct mb_doc *doc);
void mb_doc_close(struct mb_doc *doc);

/*
 * Getters: true, and *out, if the member is there and of that type.  Strings
 * are borrowed and NUL-terminated.
 */
bool mb_node_str(const struct mb_node *n, const char *name, const char **out);
bool mb_node_u64(const struct mb_node *n, const char *name, uint64_t *out);
bool mb_node_bool(const struct mb_node *n, const char *name, bool *out);
bool mb_node_time(const struct mb_node *n, const char *name, int64_t *out_ms);
bool mb_node_hash(const struct mb_node *n, const char *name,
    struct mb_hash *out);
/* The counterpart of mb_line_bytes; the caller frees *out. */
bool mb_node_bytes(const struct mb_node *n, const char *name, char **out,
    size_t *len);
const struct mb_node *mb_node_member(const struct mb_node *n,
    const char *name);	/* NULL: absent */
size_t mb_node_length(const struct mb_node *array);	/* NULL: 0 */
const struct mb_node *mb_node_at(const struct mb_node *array, size_t i);
bool mb_node_number(const struct mb_node *n, uint64_t *out);
char *mb_node_dump(const struct mb_node *n);	/* compact; caller frees */

#endif
