/* A slow disk, as one process feels it: preloaded, each of its fsyncs and fdatasyncs takes longer, and is counted.
 *
 * SLOW_SYNC_US      microseconds that are added to each
 * SLOW_SYNC_COUNT   a file of eight bytes in which they are counted
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct timespec delay;
static long long unshared, *count = &unshared;

__attribute__((constructor)) static void begin(void)
{
    const char *us = getenv("SLOW_SYNC_US"), *file = getenv("SLOW_SYNC_COUNT");
    long added = us ? atol(us) : 0;
    delay.tv_sec = added / 1000000;
    delay.tv_nsec = added % 1000000 * 1000;
    int descriptor = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (shared != MAP_FAILED)
        count = shared;
    close(descriptor);
}

static int slowly(long call, int descriptor)
{
    int result = (int)syscall(call, descriptor), error = errno;
    struct timespec left = delay;
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
    __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    errno = error;
    return result;
}

int fsync(int descriptor) { return slowly(SYS_fsync, descriptor); }

int fdatasync(int descriptor) { return slowly(SYS_fdatasync, descriptor); }
