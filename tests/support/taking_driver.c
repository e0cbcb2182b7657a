// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 for cuDNN without a GPU: it takes compiled code and hands out kernels that nobody starts; everything
// else answers "stub library" (34), as the toolkit's own stub does, so that no device is seen.
typedef int Result;

#define EXPORTED __attribute__((visibility("default")))

EXPORTED Result cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
EXPORTED Result cuLibraryLoadData(void** library, const void* code, ...) {
  *library = (void*)code;
  return code == 0 ? 1 : 0;
}
EXPORTED Result cuLibraryGetKernel(void** kernel, void* library, const char* name) {
  (void)name;
  *kernel = library;
  return 0;
}
EXPORTED Result cuLibraryUnload(void* library) {
  (void)library;
  return 0;
}
EXPORTED Result cuGetErrorString(Result error, const char** text) {
  (void)error;
  *text = "there is no GPU behind this driver";
  return 0;
}
EXPORTED Result cuGetErrorName(Result error, const char** text) {
  (void)error;
  *text = "CUDA_ERROR_STUB_LIBRARY";
  return 0;
}
// What cuDNN and CUDA's runtime look up besides.
#define ANSWERS_STUB(name) \
  EXPORTED Result name(void) { return 34; }
ANSWERS_STUB(cuCtxGetCurrent)
ANSWERS_STUB(cuCtxGetDevice)
ANSWERS_STUB(cuCtxGetLimit)
ANSWERS_STUB(cuCtxPopCurrent)
ANSWERS_STUB(cuCtxPushCurrent)
ANSWERS_STUB(cuDeviceGet)
ANSWERS_STUB(cuDeviceGetAttribute)
ANSWERS_STUB(cuDeviceGetCount)
ANSWERS_STUB(cuDevicePrimaryCtxRelease)
ANSWERS_STUB(cuDevicePrimaryCtxReset)
ANSWERS_STUB(cuDevicePrimaryCtxRetain)
ANSWERS_STUB(cuFuncGetAttribute)
ANSWERS_STUB(cuFuncSetAttribute)
ANSWERS_STUB(cuInit)
ANSWERS_STUB(cuKernelGetAttribute)
ANSWERS_STUB(cuKernelSetAttribute)
ANSWERS_STUB(cuLaunchCooperativeKernel)
ANSWERS_STUB(cuLaunchKernel)
ANSWERS_STUB(cuLaunchKernelEx)
ANSWERS_STUB(cuLibraryLoadFromFile)
ANSWERS_STUB(cuLinkAddData)
ANSWERS_STUB(cuLinkAddData_v2)
ANSWERS_STUB(cuLinkAddFile_v2)
ANSWERS_STUB(cuLinkComplete)
ANSWERS_STUB(cuLinkCreate)
ANSWERS_STUB(cuLinkCreate_v2)
ANSWERS_STUB(cuLinkDestroy)
ANSWERS_STUB(cuMemcpyDtoH_v2)
ANSWERS_STUB(cuModuleGetFunction)
ANSWERS_STUB(cuModuleGetGlobal_v2)
ANSWERS_STUB(cuModuleLoadData)
ANSWERS_STUB(cuModuleLoadDataEx)
ANSWERS_STUB(cuModuleLoadFatBinary)
ANSWERS_STUB(cuModuleUnload)
ANSWERS_STUB(cuOccupancyMaxActiveBlocksPerMultiprocessor)
ANSWERS_STUB(cuOccupancyMaxPotentialClusterSize)
ANSWERS_STUB(cuStreamGetCtx)
ANSWERS_STUB(cuStreamSynchronize)
ANSWERS_STUB(cuTensorMapEncodeTiled)
