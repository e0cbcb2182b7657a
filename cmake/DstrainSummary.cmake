# SPDX-License-Identifier: Apache-2.0
message(STATUS "dstrain ${PROJECT_VERSION}: ${CMAKE_BUILD_TYPE}, ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
message(STATUS "  MPI ${MPI_C_VERSION} (${MPIEXEC_EXECUTABLE}), HDF5 ${HDF5_VERSION} parallel, OpenMP ${OpenMP_CXX_VERSION}")
message(STATUS "  oneDNN ${dnnl_LIBRARY}")
message(STATUS "  CUDA ${DSTRAIN_WITH_CUDA}, NCCL ${DSTRAIN_WITH_NCCL}, tests ${DSTRAIN_BUILD_TESTS}, benchmarks ${DSTRAIN_BUILD_BENCHMARKS}, "
               "sanitizers '${DSTRAIN_SANITIZE}', checked ${DSTRAIN_CHECKED}")
if(DSTRAIN_WITH_CUDA)
  message(STATUS "  CUDA ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}, cuDNN ${cudnn_VERSION}, NCCL ${nccl_VERSION} "
                 "(${CUDAToolkit_LIBRARY_DIR})")
  if(cudnn_frontend_INCLUDE_DIR)
    message(STATUS "  attention by cuDNN: frontend ${cudnn_frontend_VERSION} (${cudnn_frontend_INCLUDE_DIR})")
  else()
    message(STATUS "  attention by cuDNN: not built in, no cuDNN frontend was found (CUDNN_FRONTEND_ROOT)")
  endif()
endif()
