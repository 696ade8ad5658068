#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Messages quote names and records, which may hold terminal escapes. */
static void
make_visible(char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

int
mb_fail(struct mb_err *err, enum mb_code code, const char *fmt, ...)
{
	va_list ap;

	if (err->code != MB_OK)
		return -1;	/* the first failure is the cause */
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	make_visible(err->msg);
	return -1;
}

int
mb_fail_sys(struct mb_err *err, const char *fmt, ...)
{
	int saved = errno;
	size_t len;
	va_list ap;

	if (err->code != MB_OK)
		return -1;
	err->code = saved == EPIPE ? MB_EPIPE : MB_EIO;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	snprintf(err->msg + len, sizeof err->msg - len, ": %s",
	    strerror(saved));
	make_visible(err->msg);
	errno = saved;
	return -1;
}

int
mb_wrap(struct mb_err *err, const char *fmt, ...)
{
	char inner[sizeof err->msg];
	size_t len;
	va_list ap;

	memcpy(inner, err->msg, sizeof inner);
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	snprintf(err->msg + len, sizeof err->msg - len, ": %s", inner);
	make_visible(err->msg);
	return -1;
}

int
mb_exit_status(enum mb_code code)
{
	switch (code) {
	case MB_OK:
		return 0;
	case MB_EUSAGE:
		return 64;
	case MB_EDATA:
	case MB_ECORRUPT:
		return 65;
	case MB_EBUSY:
	case MB_EIO:
	case MB_EEXIST:
	case MB_EPIPE:
		return 75;
	case MB_EBUG:
		break;
	}
	return 70;
}
