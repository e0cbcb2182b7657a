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
  # Precompiled headers hold macros and dates that ccache cannot see; nothing here depends on either.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
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
if(DSTRAIN_SANITIZE_TRAP)
  # Undefined behaviour ends the program in a trap, which ASan reports with its stack (handle_sigill=1), instead of a call with a table that
  # describes each check: two thirds of the time to compile, a third of the size. What it cannot do without the runtime is
  # vptr, a call on an object of another class; a call on an object that is gone is ASan's.
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    set(trap_option -fsanitize-undefined-trap-on-error)
  else()
    set(trap_option -fsanitize-trap=undefined)
  endif()
  target_compile_options(dstrain_options INTERFACE -fno-sanitize=vptr ${trap_option})
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

# dstrain_precompile(name HEADERS ... LIBS ... [OPTIONS ...]): compiles headers that most files include once; a target takes them
# over by dstrain_use_precompiled(target name), and with them their -O level: GCC restores it from there, whatever the target's
# own is. Libraries' headers are two thirds of the time that a file takes to compile. Every file still includes what it uses:
# preset cpu builds without them (DSTRAIN_PRECOMPILE). Under sanitizers name_hot has them for targets that are optimised
# (dstrain_optimise_checked).
function(dstrain_precompile name)
  cmake_parse_arguments(ARG "HOT" "" "HEADERS;LIBS;OPTIONS" ${ARGN})
  if(NOT DSTRAIN_PRECOMPILE)
    return()
  endif()
  if(DSTRAIN_SANITIZE AND NOT ARG_HOT)
    dstrain_precompile(${name}_hot HOT HEADERS ${ARG_HEADERS} LIBS ${ARG_LIBS} OPTIONS -O1)
  endif()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp CONTENT "// holds the precompiled headers\n")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE dstrain_options OpenMP::OpenMP_CXX ${ARG_LIBS})
  target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess> ${ARG_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  set_target_properties(${name} PROPERTIES DSTRAIN_PRECOMPILED_OPTIONS "${ARG_OPTIONS}")
endfunction()
function(dstrain_use_precompiled target name)
  get_target_property(optimised ${target} DSTRAIN_OPTIMISED)
  if(DSTRAIN_PRECOMPILE)
    if(optimised)
      string(APPEND name _hot)
    endif()
    # GCC 12 warns about libstdc++'s own copies of strings when it reads them from there; the other presets keep the warnings.
    target_compile_options(${target} PRIVATE
      $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds>)
    get_target_property(options ${name} DSTRAIN_PRECOMPILED_OPTIONS)
    target_compile_options(${target} PRIVATE ${options})
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

# dstrain_merge_sources(target): the compiler gets the target's files in batches of DSTRAIN_UNITY. A third of a file's time goes
# into templates that all of them instantiate. So names in the anonymous namespaces of one target differ; what takes names
# from many places (using namespace, macros) stands alone by SKIP_UNITY_BUILD_INCLUSION. Preset cpu compiles file by file.
function(dstrain_merge_sources target)
  if(DSTRAIN_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${DSTRAIN_UNITY})
  endif()
endfunction()

# dstrain_optimise_checked(target): -O1 under sanitizers too, for loops in which tests spend minutes at -O0. Called before
# dstrain_use_precompiled, which takes the headers that were compiled so.
function(dstrain_optimise_checked target)
  if(DSTRAIN_SANITIZE)
    target_compile_options(${target} PRIVATE -O1)
    set_target_properties(${target} PROPERTIES DSTRAIN_OPTIMISED ON)
  endif()
endfunction()

# dstrain_add_library(core SOURCES a.cpp ... LIBS fmt::fmt ... [HOT]): static library dstrain_core, alias dstrain::core.
# HOT: optimised under sanitizers too.
function(dstrain_add_library name)
  cmake_parse_arguments(ARG "HOT" "" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(dstrain_${name} STATIC ${ARG_SOURCES})
  add_library(dstrain::${name} ALIAS dstrain_${name})
  # Warnings and include folders of this tree are no business of whoever links the installed library.
  target_link_libraries(dstrain_${name} PUBLIC $<BUILD_INTERFACE:dstrain_options> ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
  if(ARG_HOT)
    dstrain_optimise_checked(dstrain_${name})
  endif()
  dstrain_use_precompiled(dstrain_${name} dstrain_precompiled)
  dstrain_merge_sources(dstrain_${name})
endfunction()
