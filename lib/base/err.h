/*
 * err.h - the one error type of mb.
 *
 * A fallible function returns 0 or -1 (or a count) and takes a struct mb_err
 * last; it is never NULL and starts as {0}.  The first failure wins: a later
 * mb_fail on the same struct changes nothing, so that cleaning up can not
 * hide the cause.
 */
#ifndef MB_BASE_ERR_H
#define MB_BASE_ERR_H

#define MB_CHECK __attribute__((warn_unused_result))
#define MB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum mb_code {
	MB_OK,
	MB_EUSAGE,	/* exit 64: fix the command */
	MB_EDATA,	/* exit 65: fix the input */
	MB_ECORRUPT,	/* exit 65: our own files do not verify */
	MB_EBUG,	/* exit 70: fix us */
	MB_EBUSY,	/* exit 75: try again later */
	MB_EIO,		/* exit 75: likewise */
	MB_EEXIST,	/* exit 75: somebody was faster; mostly handled earlier */
	MB_EPIPE,	/* exit 75: the reader of our output has gone; said quietly */
};

struct mb_err {
	enum mb_code code;
	char msg[512];	/* one line: "outer: inner: cause" */
};

/* Record a failure and return -1.  Control characters are made visible. */
int mb_fail(struct mb_err *err, enum mb_code code, const char *fmt, ...)
    MB_PRINTF(3, 4);

/* The same with ": strerror(errno)"; MB_EIO, or MB_EPIPE after EPIPE. */
int mb_fail_sys(struct mb_err *err, const char *fmt, ...) MB_PRINTF(2, 3);

/* Put "context: " in front of the recorded message and return -1. */
int mb_wrap(struct mb_err *err, const char *fmt, ...) MB_PRINTF(2, 3);

/* The exit status that belongs to a code. */
int mb_exit_status(enum mb_code code);

#endif
