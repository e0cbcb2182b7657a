# SPDX-License-Identifier: Apache-2.0
# The CUDA compiler and libraries, and the target dstrain::dep::cuda that links them.
#
# The runtime is linked statically: it looks for the driver when it is asked for a device, so that one program runs with
# and without one. The others are shared: they are larger than everything else together, and any machine with a GPU has
# its own. cuBLASLt is not linked but loaded where a product on a GPU asks for it (src/core/cublaslt.hpp).
if(NOT CMAKE_CUDA_ARCHITECTURES)
  # Ampere, Hopper (with wgmma), Blackwell; and PTX for what comes.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 100-real 90-virtual)
endif()
if(CCACHE_PROGRAM AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
# CMake 3.25 knows no flag for C++20 with this compiler: it would stop where the standard is required, and passes none
# where it is not. The flag stands below.
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED OFF)
enable_language(CUDA)
find_package(CUDAToolkit 12.8 REQUIRED)  # compute capability 10.0, kernel arguments above 4 KiB

if(TARGET dstrain_options)  # not where the installed package is used
  target_compile_options(dstrain_options INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 --extended-lambda -Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas>
    # Fused multiply-adds are written out, never contracted: kernels/cpu does the same.
    $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false>)
  if(DSTRAIN_WERROR)
    target_compile_options(dstrain_options INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xcompiler=-Werror>)
  endif()
endif()

# dstrain_find_cuda_library(name header library): sets <name>_INCLUDE_DIR and <name>_LIBRARY beside the toolkit.
function(dstrain_find_cuda_library name header library)
  find_path(${name}_INCLUDE_DIR ${header} HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(${name}_LIBRARY ${library} HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(NOT ${name}_INCLUDE_DIR OR NOT ${name}_LIBRARY)
    message(FATAL_ERROR "${name} (${header}, lib${library}.so) was not found beside the CUDA Toolkit in "
                        "${CUDAToolkit_LIBRARY_DIR}. Preset cpu needs none of it.")
  endif()
endfunction()
dstrain_find_cuda_library(cudnn cudnn.h cudnn)
dstrain_find_cuda_library(nccl nccl.h nccl)

# The headers of cuDNN's frontend, for attention by cuDNN: of CUDNN_FRONTEND_ROOT, of the toolkit or the system, or of the
# Python package nvidia-cudnn-frontend (scripts/install-deps.sh puts one under build/). Without them the rest is built.
file(GLOB cudnn_frontend_packages ${PROJECT_SOURCE_DIR}/build/cudnn-frontend/include
     ${Python3_SITELIB}/include ${Python3_SITEARCH}/include)
find_path(cudnn_frontend_INCLUDE_DIR cudnn_frontend.h
  HINTS ${CUDNN_FRONTEND_ROOT} $ENV{CUDNN_FRONTEND_ROOT} PATH_SUFFIXES include
  PATHS ${CUDAToolkit_INCLUDE_DIRS} ${cudnn_frontend_packages})

# dstrain_version_of(variable header macros...): the numbers of a header, joined by dots.
function(dstrain_version_of variable header)
  file(READ ${header} text)
  set(numbers)
  foreach(macro ${ARGN})
    string(REGEX MATCH "#define ${macro} +([0-9]+)" found "${text}")
    list(APPEND numbers "${CMAKE_MATCH_1}")
  endforeach()
  list(JOIN numbers "." joined)
  set(${variable} ${joined} PARENT_SCOPE)
endfunction()
dstrain_version_of(cudnn_VERSION ${cudnn_INCLUDE_DIR}/cudnn_version.h CUDNN_MAJOR CUDNN_MINOR CUDNN_PATCHLEVEL)
if(cudnn_frontend_INCLUDE_DIR)
  dstrain_version_of(cudnn_frontend_VERSION ${cudnn_frontend_INCLUDE_DIR}/cudnn_frontend_version.h
                     CUDNN_FRONTEND_MAJOR_VERSION CUDNN_FRONTEND_MINOR_VERSION CUDNN_FRONTEND_PATCH_VERSION)
  if(cudnn_frontend_VERSION VERSION_LESS 1.13 OR cudnn_VERSION VERSION_LESS 9.8)
    message(STATUS "cuDNN ${cudnn_VERSION} with frontend ${cudnn_frontend_VERSION}: attention by cuDNN needs 9.8 and 1.13")
    set(cudnn_frontend_INCLUDE_DIR "" CACHE PATH "" FORCE)
  endif()
endif()
dstrain_version_of(nccl_VERSION ${nccl_INCLUDE_DIR}/nccl.h NCCL_MAJOR NCCL_MINOR NCCL_PATCH)

if(NOT TARGET dstrain::dep::cuda)
  add_library(dstrain::dep::cuda INTERFACE IMPORTED GLOBAL)  # imported: an export names it and does not carry it
  target_include_directories(dstrain::dep::cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${cudnn_INCLUDE_DIR} ${nccl_INCLUDE_DIR})
  target_link_libraries(dstrain::dep::cuda INTERFACE CUDA::cudart_static ${cudnn_LIBRARY} ${nccl_LIBRARY})
endif()
