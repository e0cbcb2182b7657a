// SPDX-License-Identifier: Apache-2.0
// Preloaded on one host of a test: its wall clock is CLOCK_OFFSET_S seconds ahead. (A time namespace moves the
// monotonic clocks alone.)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec* now) {
  static int (*real)(clockid_t, struct timespec*);
  if (real == NULL) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  const int result = real(clock, now);
  const char* offset = getenv("CLOCK_OFFSET_S");
  if (clock == CLOCK_REALTIME && offset != NULL) now->tv_sec += atol(offset);
  return result;
}
