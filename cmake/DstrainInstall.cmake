# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` leaves: the binary, the static libraries, the headers of the public API, the package's files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(dstrain_engine INTERFACE)
target_link_libraries(dstrain_engine INTERFACE dstrain::train dstrain::model dstrain::comm dstrain::core)
target_compile_features(dstrain_engine INTERFACE cxx_std_20)
# <dstrain/engine.hpp>, and the headers it is made of by the names they have here.
target_include_directories(dstrain_engine INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
                                                    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/dstrain>)
# All libraries of this tree that the Engine stands on.
set(exported engine)
function(dstrain_collect_libraries target)
  get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
  string(REGEX MATCHALL "dstrain::[a-z_]+" links "${links}")
  foreach(link ${links})
    if(NOT TARGET ${link})  # dstrain::dep::..., which the package finds by itself
      continue()
    endif()
    get_target_property(library ${link} ALIASED_TARGET)
    string(REPLACE "dstrain_" "" name ${library})
    if(NOT name IN_LIST exported)
      set(exported ${exported} ${name})
      dstrain_collect_libraries(${library})
    endif()
  endforeach()
  set(exported ${exported} PARENT_SCOPE)
endfunction()
dstrain_collect_libraries(dstrain_engine)
foreach(library ${exported})
  set_target_properties(dstrain_${library} PROPERTIES EXPORT_NAME ${library})
  install(TARGETS dstrain_${library} EXPORT dstrainTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endforeach()

# include/dstrain/*.hpp and what they include or name, nothing else.
set(public_headers
  include/dstrain/checkpoint_settings.hpp include/dstrain/engine.hpp include/dstrain/loss_scale_options.hpp include/dstrain/packed_batch.hpp include/dstrain/session.hpp
  io/checkpoint/writers.hpp kernels/ops/activation.hpp kernels/ops/attention_kernels.hpp kernels/ops/common.hpp kernels/ops/cross_entropy.hpp kernels/ops/optimizer.hpp kernels/ops/optimizer_settings.hpp
  src/comm/bootstrap.hpp src/comm/comm_op.hpp src/comm/communicator.hpp src/comm/flight_recorder.hpp src/comm/mpi_communicator.hpp
  src/comm/topology.hpp src/core/device.hpp src/core/dtype.hpp src/core/error.hpp src/core/memory_plan.hpp src/core/view.hpp
  src/model/adapters/adapter_config.hpp src/model/adapters/tuning.hpp src/model/layout.hpp src/model/micro_batch.hpp
  src/model/model_spec.hpp src/model/sampling.hpp src/train/nonfinite_finding.hpp src/train/stop_signal.hpp)
foreach(header ${public_headers})
  string(REGEX REPLACE "^(src|include/dstrain)/" "" place ${header})
  cmake_path(GET place PARENT_PATH folder)
  install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dstrain/${folder})
endforeach()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/dstrain)
install(EXPORT dstrainTargets NAMESPACE dstrain:: DESTINATION ${package})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/dstrainConfig.cmake.in ${PROJECT_BINARY_DIR}/dstrainConfig.cmake
                              INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/dstrainConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dstrainConfig.cmake ${PROJECT_BINARY_DIR}/dstrainConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/DstrainDependencies.cmake ${PROJECT_SOURCE_DIR}/cmake/DstrainCuda.cmake DESTINATION ${package})
