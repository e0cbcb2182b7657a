# SPDX-License-Identifier: Apache-2.0
# What dstrain stands on. A missing one stops the configuration with the Debian package that holds it.
# Installed beside the package's files too: who links the libraries needs the same.
if(DSTRAIN_WITH_CUDA)
  include(DstrainCuda)
endif()
find_package(MPI REQUIRED COMPONENTS C)
find_package(OpenMP REQUIRED COMPONENTS CXX)
set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "HDF5 was found, but not its parallel build. Debian/Ubuntu: apt install libhdf5-openmpi-dev")
endif()
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

# dstrain_find_library(Name header library package): imported target dstrain::Name for what ships no usable CMake file.
function(dstrain_find_library name header library package)
  find_path(${name}_INCLUDE_DIR ${header})
  find_library(${name}_LIBRARY ${library})
  if(NOT ${name}_INCLUDE_DIR OR NOT ${name}_LIBRARY)
    message(FATAL_ERROR "${name} (${header}) was not found. Debian/Ubuntu: apt install ${package}")
  endif()
  if(TARGET dstrain::dep::${name})
    return()
  endif()
  add_library(dstrain::dep::${name} INTERFACE IMPORTED GLOBAL)  # imported: an export names it and does not carry it
  target_include_directories(dstrain::dep::${name} SYSTEM INTERFACE ${${name}_INCLUDE_DIR})
  target_link_libraries(dstrain::dep::${name} INTERFACE ${${name}_LIBRARY})
endfunction()
# Not find_package(dnnl): Debian's config stops without OpenCL headers.
dstrain_find_library(dnnl oneapi/dnnl/dnnl.hpp dnnl "libdnnl-dev ocl-icd-opencl-dev")
dstrain_find_library(simdjson simdjson.h simdjson libsimdjson-dev)
dstrain_find_library(pcre2 pcre2.h pcre2-8 libpcre2-dev)
dstrain_find_library(xxhash xxhash.h xxhash libxxhash-dev)
dstrain_find_library(cairo cairo/cairo.h cairo libcairo2-dev)
dstrain_find_library(hwloc hwloc.h hwloc libhwloc-dev)

# HDF5 in one target (FindHDF5 of CMake 3.25 gives variables only for the parallel C library).
if(NOT TARGET dstrain::dep::hdf5)
  add_library(dstrain::dep::hdf5 INTERFACE IMPORTED GLOBAL)
  target_include_directories(dstrain::dep::hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
  target_link_libraries(dstrain::dep::hdf5 INTERFACE ${HDF5_C_LIBRARIES} MPI::MPI_C)
endif()
find_package(ICU REQUIRED COMPONENTS uc)  # Unicode normalisation and properties. Debian/Ubuntu: apt install libicu-dev
