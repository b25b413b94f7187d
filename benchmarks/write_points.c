/* Counts what a process writes below a folder, and keeps what is there at each of these calls, or
   lets one of them fail.

   Loaded before the C library (LD_PRELOAD), so that it sees TensorFlow's files and Python's alike.
   WRITE_POINTS_FOLDER names the folder, WRITE_POINTS_COUNT a file of eight bytes for the number of
   calls so far. Either WRITE_POINTS_STATES names a folder, for a copy of the first one at each call,
   in the middle of it if it writes bytes: what a kill there would leave. Or WRITE_POINTS_FAILING is
   the number of the call that fails, from 1 on, and WRITE_POINTS_ERROR its errno. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic long *count;

static _Atomic long *counter(void) {
  if (!count) {
    int file = open(getenv("WRITE_POINTS_COUNT"), O_RDWR | O_CLOEXEC);
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
  }
  return count;
}

static int is_below(const char *path) {
  const char *folder = getenv("WRITE_POINTS_FOLDER");
  size_t length = folder ? strlen(folder) : 0;
  return folder && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int path_is_below(int at, const char *path) {
  char base[PATH_MAX], whole[2 * PATH_MAX], link[64];
  if (!path || !getenv("WRITE_POINTS_FOLDER")) return 0;
  if (path[0] == '/') return is_below(path);
  snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
  ssize_t length = readlink(link, base, sizeof base - 1);
  if (length < 0) return 0;
  base[length] = 0;
  snprintf(whole, sizeof whole, "%s/%s", base, path);
  return is_below(whole);
}

static int file_is_below(int file) {
  char link[64], path[PATH_MAX];
  if (!getenv("WRITE_POINTS_FOLDER")) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_below(path);
}

/* Copies the folder as it is before a call of a number. */
static void keep(long number) {
  static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
  char to[PATH_MAX];
  snprintf(to, sizeof to, "%s/%ld", getenv("WRITE_POINTS_STATES"), number);
  char *command[] = {"cp", "-a", getenv("WRITE_POINTS_FOLDER"), to, NULL};
  char *nothing[] = {NULL};
  pid_t copier;
  pthread_mutex_lock(&one_at_a_time);
  if (!posix_spawn(&copier, "/bin/cp", NULL, NULL, command, nothing)) waitpid(copier, NULL, 0);
  pthread_mutex_unlock(&one_at_a_time);
}

static int is_keeping(void) { return getenv("WRITE_POINTS_STATES") != NULL; }

/* Counts a call; keeps what is there before it, or returns whether it is the one that fails. */
static int is_hit(int below) {
  if (!below) return 0;
  long number = atomic_fetch_add(counter(), 1) + 1;
  if (is_keeping()) keep(number);
  const char *point = getenv("WRITE_POINTS_FAILING");
  return number == (point ? atol(point) : 0);
}

static int fails(void) {
  errno = atoi(getenv("WRITE_POINTS_ERROR"));
  return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENS(name)                                                            \
  int name(const char *path, int flags, ...) {                                 \
    va_list rest;                                                              \
    va_start(rest, flags);                                                     \
    mode_t mode = va_arg(rest, mode_t);                                        \
    va_end(rest);                                                              \
    if (flags & (O_CREAT | O_TRUNC) && is_hit(path_is_below(AT_FDCWD, path)))  \
      return fails();                                                          \
    return REAL(name)(path, flags, mode);                                      \
  }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                         \
  int name(int at, const char *path, int flags, ...) {                         \
    va_list rest;                                                              \
    va_start(rest, flags);                                                     \
    mode_t mode = va_arg(rest, mode_t);                                        \
    va_end(rest);                                                              \
    if (flags & (O_CREAT | O_TRUNC) && is_hit(path_is_below(at, path)))        \
      return fails();                                                          \
    return REAL(name)(at, path, flags, mode);                                  \
  }
OPENS_AT(openat)
OPENS_AT(openat64)

#define OPENS_STREAM(name)                                                     \
  FILE *name(const char *path, const char *mode) {                             \
    if (mode[0] != 'r' && is_hit(path_is_below(AT_FDCWD, path))) {             \
      fails();                                                                 \
      return NULL;                                                             \
    }                                                                          \
    return REAL(name)(path, mode);                                             \
  }
OPENS_STREAM(fopen)
OPENS_STREAM(fopen64)

/* Of bytes that are written a half is there when the folder is kept. */
#define HALF(size) (is_keeping() ? (size) / 2 : 0)

ssize_t write(int file, const void *bytes, size_t size) {
  int below = file_is_below(file);
  ssize_t half = below && HALF(size) ? REAL(write)(file, bytes, HALF(size)) : 0;
  if (half < 0) return half;
  if (is_hit(below)) return fails();
  ssize_t rest = REAL(write)(file, (const char *)bytes + half, size - half);
  return rest < 0 ? rest : half + rest;
}

#define WRITES_AT(name, offset_type)                                           \
  ssize_t name(int file, const void *bytes, size_t size, offset_type at) {     \
    int below = file_is_below(file);                                           \
    if (below && HALF(size)) REAL(name)(file, bytes, HALF(size), at);          \
    return is_hit(below) ? fails() : REAL(name)(file, bytes, size, at);        \
  }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

size_t fwrite(const void *bytes, size_t size, size_t number, FILE *stream) {
  int below = file_is_below(fileno(stream));
  size_t half = below ? HALF(number) : 0;
  if (half && REAL(fwrite)(bytes, size, half, stream) != half) return 0;
  if (half) fflush(stream);
  if (is_hit(below)) {
    fails();
    return 0;
  }
  return half + REAL(fwrite)((const char *)bytes + half * size, size, number - half, stream);
}

int rename(const char *from, const char *to) {
  return is_hit(path_is_below(AT_FDCWD, to)) ? fails() : REAL(rename)(from, to);
}

int renameat(int at, const char *from, int at_to, const char *to) {
  return is_hit(path_is_below(at_to, to)) ? fails() : REAL(renameat)(at, from, at_to, to);
}

int unlink(const char *path) {
  return is_hit(path_is_below(AT_FDCWD, path)) ? fails() : REAL(unlink)(path);
}

int unlinkat(int at, const char *path, int flags) {
  return is_hit(path_is_below(at, path)) ? fails() : REAL(unlinkat)(at, path, flags);
}

int rmdir(const char *path) {
  return is_hit(path_is_below(AT_FDCWD, path)) ? fails() : REAL(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
  return is_hit(path_is_below(AT_FDCWD, path)) ? fails() : REAL(mkdir)(path, mode);
}

int fsync(int file) { return is_hit(file_is_below(file)) ? fails() : REAL(fsync)(file); }

int ftruncate64(int file, off64_t length) {
  return is_hit(file_is_below(file)) ? fails() : REAL(ftruncate64)(file, length);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
  ssize_t (*real)(int, int, off_t *, size_t) = dlsym(RTLD_NEXT, "sendfile");
  return is_hit(file_is_below(to)) ? fails() : real(to, from, offset, size);
}
