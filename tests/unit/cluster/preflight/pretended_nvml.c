// SPDX-License-Identifier: Apache-2.0
// A management library with two GPUs, of which the second has lost its name: what a test loads in place of NVIDIA's.
#include <stdio.h>
#include <string.h>

typedef struct {
  unsigned long long total, free, used;
} memory;

static int gpus[2] = {0, 1};

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char* text, unsigned length) { return snprintf(text, length, "570.86.15") < 0; }
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = &gpus[index];
  return 0;
}
int nvmlDeviceGetName(void* device, char* text, unsigned length) {
  if (*(int*)device == 1) return 999;
  return snprintf(text, length, "NVIDIA H100 80GB HBM3") < 0;
}
int nvmlDeviceGetUUID(void* device, char* text, unsigned length) {
  return snprintf(text, length, "GPU-8ca5-e6f2%d", *(int*)device) < 0;
}
int nvmlDeviceGetMemoryInfo(void* device, memory* info) {
  info->total = 80ULL << 30;
  info->free = *(int*)device == 0 ? 79ULL << 30 : 1ULL << 30;
  info->used = info->total - info->free;
  return 0;
}
