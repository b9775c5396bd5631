/* Makes the n-th call that changes something below a folder fail, or the n-th large allocation.

   Loaded before libc (LD_PRELOAD), so that it stands between libc and Python, SQLite and TensorStore
   alike; benchmarks/faults.py compiles and drives it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, ONCE, FULL, BROKEN, KILLED, MEMORY }; /* as in faults.py */
enum { GROWS, MOVES, SYNCS, FREES };                /* what a call does */
#define LARGE 65536                                 /* bytes, from which an allocation counts */

static char root[PATH_MAX];
static int kind, record = -1;
static long first;
static atomic_long calls, allocations;
static atomic_int armed;

void faults_begin(const char *folder, int of, long at, int file) {
  snprintf(root, sizeof root, "%s/", folder);
  kind = of, first = at, record = file;
  calls = allocations = 0;
  armed = 1;
}

long faults_end(int memory) {
  armed = 0;
  return memory ? allocations : calls;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Puts the whole name of a file into `name`; returns whether it lies below the folder. */
static int below(int folder, const char *path, char *name) {
  char link[64];
  ssize_t length = 0;
  if (!armed || !path) return 0;
  if (path[0] != '/') {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    length = readlink(folder == AT_FDCWD ? "/proc/self/cwd" : link, name, PATH_MAX - 1);
    if (length < 0) return 0;
  }
  snprintf(name + length, PATH_MAX - length, "%s%s", length && *path ? "/" : "", path);
  return !strncmp(name, root, strlen(root));
}

static int error_of(int does) {
  if (kind == BROKEN || does == SYNCS) return EIO;
  return (does == MOVES || does == FREES) && kind == ONCE ? EACCES : ENOSPC;
}

/* Returns 0 if a call may go on, 1 if it is the first to fail, 2 if it is a later one. */
static int counted(const char *call, int does, int folder, const char *path) {
  char name[PATH_MAX];
  int kept = errno;
  if (!below(folder, path, name)) return errno = kept, 0;
  long n = ++calls;
  int fails = n == first ? kind != COUNT && kind != MEMORY : n > first && (kind == FULL || kind == BROKEN);
  /* A full disk lets files be removed and renamed. */
  if (kind == FULL && (does == FREES || does == MOVES)) fails = 0;
  if (record >= 0) dprintf(record, "%s%s %s\n", fails ? "! " : "", call, name + strlen(root));
  errno = kept;
  return fails ? 1 + (n > first) : 0;
}

static int fails(const char *call, int does, int folder, const char *path) {
  int which = counted(call, does, folder, path);
  if (which && kind == KILLED) kill(getpid(), SIGKILL);
  if (which) errno = error_of(does);
  return which;
}

/* Returns the bytes that a write may write: all, or half of them before a disk is full or a kill. */
static ssize_t room(const char *call, int file, size_t size, int *which) {
  *which = counted(call, GROWS, file, "");
  if (!*which) return size;
  if (*which == 1 && size > 1 && (kind == FULL || kind == KILLED)) return size / 2;
  if (kind == KILLED) kill(getpid(), SIGKILL);
  errno = error_of(GROWS);
  return -1;
}

static ssize_t written(int which, ssize_t done) {
  if (which && kind == KILLED) kill(getpid(), SIGKILL);
  return done;
}

#define WRITE(call, size, ...)                                 \
  int which;                                                   \
  ssize_t allowed = room(#call, file, size, &which);           \
  return allowed < 0 ? -1 : written(which, NEXT(call)(__VA_ARGS__));

ssize_t write(int file, const void *from, size_t size) { WRITE(write, size, file, from, allowed) }
ssize_t pwrite(int file, const void *from, size_t size, off_t at) { WRITE(pwrite, size, file, from, allowed, at) }
ssize_t pwrite64(int file, const void *from, size_t size, off64_t at) { WRITE(pwrite64, size, file, from, allowed, at) }
ssize_t sendfile(int file, int from, off_t *at, size_t size) { WRITE(sendfile, size, file, from, at, allowed) }
ssize_t sendfile64(int file, int from, off64_t *at, size_t size) { WRITE(sendfile64, size, file, from, at, allowed) }
ssize_t writev(int file, const struct iovec *parts, int count) { WRITE(writev, 1, file, parts, count) }

#define CALL(call, does, folder, path, ...) \
  return fails(#call, does, folder, path) ? -1 : NEXT(call)(__VA_ARGS__);


/* Inside the folder they are not done: nothing here depends on what outlives a power cut. */
#define SYNC(call)                                                          \
  int call(int file) {                                                      \
    char name[PATH_MAX];                                                    \
    if (!below(file, "", name)) return NEXT(call)(file);                    \
    return fails(#call, SYNCS, file, "") ? -1 : 0;                          \
  }
SYNC(fsync)
SYNC(fdatasync)

int ftruncate(int file, off_t size) { CALL(ftruncate, size ? GROWS : FREES, file, "", file, size) }
int ftruncate64(int file, off64_t size) { CALL(ftruncate64, size ? GROWS : FREES, file, "", file, size) }
int posix_fallocate(int file, off_t at, off_t size) { return fails("posix_fallocate", GROWS, file, "") ? errno : NEXT(posix_fallocate)(file, at, size); }
int posix_fallocate64(int file, off64_t at, off64_t size) { return fails("posix_fallocate64", GROWS, file, "") ? errno : NEXT(posix_fallocate64)(file, at, size); }
int rename(const char *from, const char *to) { CALL(rename, MOVES, AT_FDCWD, to, from, to) }
int renameat(int a, const char *from, int b, const char *to) { CALL(renameat, MOVES, b, to, a, from, b, to) }
int link(const char *from, const char *to) { CALL(link, GROWS, AT_FDCWD, to, from, to) }
int symlink(const char *from, const char *to) { CALL(symlink, GROWS, AT_FDCWD, to, from, to) }
int mkdir(const char *path, mode_t mode) { CALL(mkdir, GROWS, AT_FDCWD, path, path, mode) }
int mkdirat(int folder, const char *path, mode_t mode) { CALL(mkdirat, GROWS, folder, path, folder, path, mode) }
int unlink(const char *path) { CALL(unlink, FREES, AT_FDCWD, path, path) }
int unlinkat(int folder, const char *path, int flags) { CALL(unlinkat, FREES, folder, path, folder, path, flags) }
int rmdir(const char *path) { CALL(rmdir, FREES, AT_FDCWD, path, path) }

/* Only opening a file that may be made or emptied changes something. */
#define OPEN(call, folder, ...)                                                                     \
  va_list rest;                                                                                     \
  va_start(rest, flags);                                                                            \
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                         \
  va_end(rest);                                                                                     \
  return flags & (O_CREAT | O_TRUNC) && fails("open", GROWS, folder, path) ? -1 : NEXT(call)(__VA_ARGS__, mode);

int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD, path, flags) }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD, path, flags) }
int openat(int folder, const char *path, int flags, ...) { OPEN(openat, folder, folder, path, flags) }
int openat64(int folder, const char *path, int flags, ...) { OPEN(openat64, folder, folder, path, flags) }

/* XLA ends the process when it gets no memory, so only what Python and NumPy ask for is refused. */
static int refused(size_t size, void *caller) {
  Dl_info of;
  if (size < LARGE || !armed || !dladdr(caller, &of) || !of.dli_fname) return 0;
  const char *name = strrchr(of.dli_fname, '/');
  name = name ? name + 1 : of.dli_fname;
  if (strncmp(name, "libpython", 9) && strncmp(name, "python", 6) && strncmp(name, "_multiarray_umath", 17)) return 0;
  if (++allocations != first || kind != MEMORY) return 0;
  errno = ENOMEM;
  return 1;
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t size) { return refused(size, __builtin_return_address(0)) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return refused(count * size, __builtin_return_address(0)) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return refused(size, __builtin_return_address(0)) ? NULL : __libc_realloc(old, size); }
