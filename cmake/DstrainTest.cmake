# SPDX-License-Identifier: Apache-2.0
# dstrain_add_test(name SOURCES ... LIBS ... [PROGRAM program] [RANKS 1 2 3 4] [LABELS ...] [TIMEOUT s] [DEFINITIONS ...] [HOT])
# PROGRAM: the sources join those of other tests in one program, of which this test runs its own suites. A program of one small
# file takes most of its time to instantiate what its neighbours need too.
# HOT: optimised under sanitizers too (loops of the reference kernels), and started early, as all that is long.
# Without RANKS: a plain GoogleTest program, label "unit". With RANKS: one ctest per world size, named name.npN, label "mpi".
# The target dstrain_unit_tests builds all programs labelled "unit" and nothing else (scripts/test.sh, preset checked).
if(NOT TARGET dstrain_unit_tests)
  add_custom_target(dstrain_unit_tests)
endif()
# dstrain_suites_of(filter program sources...): sets filter to the argument that chooses the suites of these files.
# Uninstantiated suites fail in each of them: GoogleTest reports these in a suite of its own.
function(dstrain_suites_of filter program)
  set(pattern "^(TEST|TEST_F|TEST_P|TYPED_TEST|TYPED_TEST_P)\\(([A-Za-z0-9_]+),.*")
  set(all GoogleTestVerification.*)
  set(mine)
  get_property(known GLOBAL PROPERTY DSTRAIN_SUITES_OF_${program})
  foreach(source ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(STRINGS ${source} lines REGEX "${pattern}")
    list(TRANSFORM lines REPLACE "${pattern}" "\\2" OUTPUT_VARIABLE suites)
    list(REMOVE_DUPLICATES suites)
    foreach(suite ${suites})
      list(APPEND all ${suite}.* */${suite}.* ${suite}/* */${suite}/*)
      if(suite IN_LIST known)
        message(FATAL_ERROR "suite ${suite} of ${source} is in another test of ${program} too: both would run it")
      endif()
    endforeach()
    list(APPEND mine ${suites})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY DSTRAIN_SUITES_OF_${program} ${mine})
  list(JOIN all ":" all)
  set(${filter} --gtest_filter=${all} PARENT_SCOPE)
endfunction()

function(dstrain_add_test name)
  cmake_parse_arguments(ARG "HOT" "PROGRAM;TIMEOUT" "SOURCES;LIBS;RANKS;LABELS;DEFINITIONS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(DSTRAIN_SANITIZE) # instrumented code is several times slower
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")
  endif()
  set(program ${name})
  set(filter)
  list(TRANSFORM ARG_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  if(ARG_PROGRAM)
    set(program ${ARG_PROGRAM})
    dstrain_suites_of(filter ${program} ${ARG_SOURCES})
  endif()
  if(NOT TARGET ${program})
    add_executable(${program})
    target_compile_definitions(${program} PRIVATE DSTRAIN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" DSTRAIN_TEST_TMP="${CMAKE_BINARY_DIR}/test-tmp")
    target_compile_options(${program} PRIVATE $<$<CONFIG:Release>:-O1>) # what is tested is optimised; the test compiles in 2/3 of the time
    if(ARG_HOT)
      dstrain_optimise_checked(${program})
    endif()
    dstrain_use_precompiled(${program} dstrain_precompiled_tests)
    dstrain_merge_sources(${program})
    target_link_libraries(${program} PRIVATE OpenMP::OpenMP_CXX)
  endif()
  target_sources(${program} PRIVATE ${ARG_SOURCES})
  target_compile_definitions(${program} PRIVATE ${ARG_DEFINITIONS})
  # passive: tests run side by side, and a thread that spins while it waits takes the core of the one it waits for.
  set(env ASAN_OPTIONS=detect_leaks=0:handle_sigill=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 OMP_WAIT_POLICY=passive)
  if(NOT ARG_RANKS)
    if(NOT "e2e" IN_LIST ARG_LABELS)
      add_dependencies(dstrain_unit_tests ${program})
    endif()
    target_link_libraries(${program} PRIVATE ${ARG_LIBS} dstrain_test_support GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${program} ${filter})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "unit;${ARG_LABELS}" ENVIRONMENT "${env}")
    if(ARG_HOT)
      set_tests_properties(${name} PROPERTIES COST 40)
    endif()
    return()
  endif()
  target_link_libraries(${program} PRIVATE ${ARG_LIBS} dstrain_test_support dstrain_mpi_gtest_main)
  foreach(ranks ${ARG_RANKS})
    set(processors ${ranks})
    if(ranks GREATER 2)
      set(processors 2) # tests of waiting run beside it on a machine with two cores
    endif()
    add_test(NAME ${name}.np${ranks} COMMAND ${DSTRAIN_MPIRUN} -np ${ranks} $<TARGET_FILE:${program}> ${filter})
    set_tests_properties(${name}.np${ranks} PROPERTIES TIMEOUT ${ARG_TIMEOUT} PROCESSORS ${processors} LABELS "mpi;${ARG_LABELS}"
                         ENVIRONMENT "${env};OMP_NUM_THREADS=1;${DSTRAIN_MPI_TEST_ENV}")
    if(ARG_TIMEOUT GREATER_EQUAL 300) # given to the long ones
      set_tests_properties(${name}.np${ranks} PROPERTIES COST 30)
    endif()
  endforeach()
endfunction()

# What many ranks on a small machine need: root allowed, more ranks than cores, no binding, no probing of absent fabrics.
set(DSTRAIN_MPIRUN ${MPIEXEC_EXECUTABLE})
set(DSTRAIN_MPI_TEST_ENV
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
    OMPI_MCA_btl_base_warn_component_unused=0 OMP_WAIT_POLICY=passive)
