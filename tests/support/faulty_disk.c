// SPDX-License-Identifier: Apache-2.0
/// A bad disk, by LD_PRELOAD: writes of a process's further threads to files whose path holds FAULTY_DISK_MATCH are
/// late by FAULTY_DISK_DELAY_MS each, fail with FAULTY_DISK_ERRNO once FAULTY_DISK_AFTER bytes went through, or, with
/// FAULTY_DISK_HANG, never return. The first thread's are left alone: what it waits for is the watchdog's business.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_llong written;

static long number(const char* name, long otherwise) {
  const char* text = getenv(name);
  return text == NULL ? otherwise : atol(text);
}

static int is_faulty(int fd) {
  const char* match = getenv("FAULTY_DISK_MATCH");
  char link[64];
  char path[4096];
  if (match == NULL || gettid() == getpid()) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = '\0';
  return strstr(path, match) != NULL;
}

static void nap(long milliseconds) {
  struct timespec rest = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&rest, NULL);
}

ssize_t pwrite64(int fd, const void* from, size_t bytes, off64_t at) {
  static ssize_t (*real)(int, const void*, size_t, off64_t);
  if (real == NULL) real = (ssize_t(*)(int, const void*, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  if (is_faulty(fd)) {
    while (getenv("FAULTY_DISK_HANG") != NULL) nap(1000);
    nap(number("FAULTY_DISK_DELAY_MS", 0));
    const long after = number("FAULTY_DISK_AFTER", -1);
    if (after >= 0 && atomic_fetch_add(&written, (long long)bytes) + (long long)bytes > after) {
      errno = (int)number("FAULTY_DISK_ERRNO", EIO);
      return -1;
    }
  }
  return real(fd, from, bytes, at);
}

ssize_t pwrite(int fd, const void* from, size_t bytes, off_t at) { return pwrite64(fd, from, bytes, at); }
