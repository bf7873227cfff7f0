/* Threads of Parlor that fail: THREAD_LIMIT limits the number of threads beside the first one. While the file
   THREAD_CLOCK_SWITCH exists, the clock fails in the thread THREAD_CLOCK_NAME, at which Rust's library panics. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* Programs that Parlor starts load this library, too, but must not fail. */
static int is_parlor(void)
{
    return strcmp(program_invocation_short_name, "parlor") == 0;
}

static atomic_long running;

struct work {
    void *(*run)(void *);
    void *with;
};

static void *counted(void *given)
{
    struct work work = *(struct work *)given;
    free(given);
    void *result = work.run(work.with);
    atomic_fetch_sub(&running, 1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        (__typeof__(real))dlsym(RTLD_NEXT, "pthread_create");
    const char *limit = getenv("THREAD_LIMIT");
    if (!limit || !is_parlor())
        return real(thread, how, run, with);
    struct work *work = malloc(sizeof *work);
    if (!work)
        return EAGAIN;
    *work = (struct work){ run, with };
    int failed = EAGAIN;
    if (atomic_fetch_add(&running, 1) < atol(limit))
        failed = real(thread, how, counted, work);
    if (failed) {
        atomic_fetch_sub(&running, 1);
        free(work);
    }
    return failed;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *name = getenv("THREAD_CLOCK_NAME");
    char own[17] = "";
    if (name && is_parlor() && prctl(PR_GET_NAME, own) == 0 && strcmp(own, name) == 0) {
        const char *file = getenv("THREAD_CLOCK_SWITCH");
        int kept = errno, is = file && access(file, F_OK) == 0;
        errno = kept;
        if (is) {
            errno = EINVAL;
            return -1;
        }
    }
    return real(clock, time);
}
