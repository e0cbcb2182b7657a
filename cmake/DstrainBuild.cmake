# SPDX-License-Identifier: Apache-2.0
# Language level, warnings, and dstrain_add_library: one folder, one target, one namespace.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(dstrain_options INTERFACE)
# Sums are written in a fixed order and must stay in it: no -ffast-math anywhere.
target_compile_options(dstrain_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-unknown-pragmas -ffp-contract=off>)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  # GCC 12 and 13 warn about "text" + std::string without cause (GCC bug 105651).
  target_compile_options(dstrain_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(DSTRAIN_WERROR)
  target_compile_options(dstrain_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(DSTRAIN_SANITIZE)
  target_compile_options(dstrain_options INTERFACE -fsanitize=${DSTRAIN_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(dstrain_options INTERFACE -fsanitize=${DSTRAIN_SANITIZE})
endif()
if(DSTRAIN_FUZZ)
  # What libFuzzer's runtime needs to see; GCC's form of it is understood by tests/fuzz/coverage.cpp.
  target_compile_options(dstrain_options INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-fsanitize-coverage=trace-pc,trace-cmp> $<$<CXX_COMPILER_ID:Clang>:-fsanitize=fuzzer-no-link>)
endif()
if(DSTRAIN_CHECKED)
  target_compile_definitions(dstrain_options INTERFACE DSTRAIN_CHECKED=1)
endif()
# MPI's C++ bindings are gone in Open MPI 5.
target_compile_definitions(dstrain_options INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_include_directories(dstrain_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)

# dstrain_add_library(core SOURCES a.cpp ... LIBS fmt::fmt ...): static library dstrain_core, alias dstrain::core.
function(dstrain_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(dstrain_${name} STATIC ${ARG_SOURCES})
  add_library(dstrain::${name} ALIAS dstrain_${name})
  # Warnings and include folders of this tree are no business of whoever links the installed library.
  target_link_libraries(dstrain_${name} PUBLIC $<BUILD_INTERFACE:dstrain_options> ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
endfunction()
