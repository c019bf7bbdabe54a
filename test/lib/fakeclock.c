/*
 * fakeclock.c - a library to preload (LD_PRELOAD) that moves the wall clock of a process by
 * CB_CLOCK_OFFSET seconds (may be negative). The monotonic clocks and the times that the file
 * system writes stay as they are, as on a machine whose clock was set while it ran.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define INTERPOSE __attribute__((visibility("default")))

static time_t offset_seconds;

__attribute__((constructor)) static void set_up(void)
{
    const char *text = getenv("CB_CLOCK_OFFSET");

    offset_seconds = text != NULL ? (time_t)strtoll(text, NULL, 10) : 0;
}

INTERPOSE int clock_gettime(clockid_t clock, struct timespec *out)
{
    static int (*next)(clockid_t, struct timespec *);
    void *found = dlsym(RTLD_NEXT, "clock_gettime");
    int result;

    memcpy(&next, &found, sizeof found);
    result = next(clock, out);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        out->tv_sec += offset_seconds;
    return result;
}

INTERPOSE time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

INTERPOSE int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;

    (void)zone; /* obsolete: libc ignores it too */
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = (suseconds_t)(now.tv_nsec / 1000);
    return 0;
}
