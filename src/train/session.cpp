// SPDX-License-Identifier: Apache-2.0
#include "dstrain/session.hpp"

#include <omp.h>

#include "train/model_source.hpp"

namespace dstrain {

int use_threads(const MpiSession& session) {
  const int threads = session.topology().default_threads;
  omp_set_num_threads(threads);
  return threads;
}

Model open_model(Communicator& comm, const std::string& model_name_or_path) {
  Model model;
  on_all_ranks(comm, "open the model", [&] {
    if (comm.rank() != 0) return;
    ModelSource source = open_model(model_name_or_path);
    model.spec = std::move(source.spec);
    if (source.has_weights) model.origin.folder = source.folder;
  });
  const std::string config = broadcast_string(comm, model.spec.config_json);
  if (comm.rank() != 0) model.spec = parse_model_spec(config, "config.json of rank 0");
  return model;
}

}  // namespace dstrain
