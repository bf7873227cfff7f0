/* Fails every write and sync while a switch file exists, like a dying disk, or one that was remounted read-only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static int broken(void) {
    static const char *path;
    if (!path)
        path = getenv("IO_FAULT_SWITCH");
    int kept = errno, is = path && access(path, F_OK) == 0;
    errno = kept;
    return is;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL          \
    do {              \
        errno = EROFS; \
        return -1;    \
    } while (0)

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    if (broken())
        FAIL;
    return REAL(pwrite)(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    if (broken())
        FAIL;
    return REAL(pwrite64)(fd, bytes, size, at);
}

int fsync(int fd) {
    if (broken())
        FAIL;
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (broken())
        FAIL;
    return REAL(fdatasync)(fd);
}

int ftruncate64(int fd, off64_t size) {
    if (broken())
        FAIL;
    return REAL(ftruncate64)(fd, size);
}
