# SPDX-License-Identifier: Apache-2.0
# dstrain_add_fuzzer(name SOURCES ... LIBS ... [MUTATIONS n] [MAX_BYTES n])
# SOURCES define LLVMFuzzerTestOneInput; the corpus is tests/fuzz/corpus/<name>/.
# DSTRAIN_FUZZ (preset fuzz, clang): a libFuzzer program fuzz_<name>. Otherwise: fuzz_<name> with a replay main, and a test of
# the same name that feeds it the corpus and MUTATIONS changed inputs made with a fixed seed.
# Either way the target dstrain_fuzzers builds all of them.
if(NOT TARGET dstrain_fuzzers)
  add_custom_target(dstrain_fuzzers)
endif()
function(dstrain_add_fuzzer name)
  cmake_parse_arguments(ARG "" "MUTATIONS;MAX_BYTES" "SOURCES;LIBS" ${ARGN})
  if(NOT ARG_MUTATIONS)
    set(ARG_MUTATIONS 1000)
  endif()
  if(NOT ARG_MAX_BYTES)
    set(ARG_MAX_BYTES 16384)
  endif()
  set(target fuzz_${name})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  add_executable(${target} ${ARG_SOURCES})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE ${ARG_LIBS})
  add_dependencies(dstrain_fuzzers ${target})
  if(DSTRAIN_FUZZ)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    return()
  endif()
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp)
  add_test(NAME ${target} COMMAND ${target} ${corpus} ${ARG_MUTATIONS} ${ARG_MAX_BYTES})
  set_tests_properties(${target} PROPERTIES TIMEOUT 300 LABELS "unit;fuzz" WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/test-tmp
                       ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0;UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1")
  add_dependencies(dstrain_unit_tests ${target})
endfunction()
