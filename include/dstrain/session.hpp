// SPDX-License-Identifier: Apache-2.0
/// The life of a program that trains with its own loop: MPI, the ranks' communicator, signals, the model.
///
///     int main(int argc, char** argv) {
///       return dstrain::spmd_main(argc, argv, [](dstrain::MpiSession&) {
///         auto world = dstrain::make_world_communicator();
///         world->set_timeout(1800);
///         ...
///         world->close();
///         return dstrain::ExitCode::good;
///       });
///     }
#pragma once

#include <string>

#include "comm/bootstrap.hpp"
#include "comm/communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "dstrain/engine.hpp"
#include "model/model_spec.hpp"
#include "train/stop_signal.hpp"

namespace dstrain {

/// Gives this rank its share of the machine (OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else of the node's cores) for its
/// computations. Local. @return the number for EngineOptions::threads
int use_threads(const MpiSession& session);

/// A model by its name, ready for Engine::initialize().
struct Model {
  ModelSpec spec;       ///< the same on all ranks
  WeightOrigin origin;  ///< rank 0: the folder with its weights; empty: random ones
};

/// Opens a model folder, a config.json or preset:<name> on rank 0 and tells the others what it is. Collective.
/// @throws ConfigError, IoError on all ranks
Model open_model(Communicator& comm, const std::string& model_name_or_path);

}  // namespace dstrain
