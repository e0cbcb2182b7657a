// SPDX-License-Identifier: Apache-2.0
/// A training job whose rank 1 throws between forward and backward of its third step, while the others go on.
#include <memory>
#include <vector>

#include "comm/bootstrap.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "dstrain/engine.hpp"
#include "model/model_spec.hpp"
#include "support/token_rows.hpp"

int main(int argc, char** argv) {
  using namespace dstrain;
  return spmd_main(argc, argv, [](MpiSession& session) {
    auto world = make_world_communicator();
    EngineOptions options;
    options.zero_stage = 3;
    options.max_tokens = 64;
    auto engine = Engine::initialize(*world, preset_spec("nano"), options, {});
    const std::vector<std::vector<std::int32_t>> rows = {{5, 6, 7, 8, 9, 10, 11, 12}};
    const test::PackedRows packed(rows, 1.0F / 8);
    for (int step = 0; step < 1000; ++step) {
      engine->begin_step();
      engine->forward(packed.batch(), session.size(), true);
      if (session.rank() == 1 && step == 2) throw Error("the disk of this rank is gone");
      engine->backward();
      engine->step(1e-3);
    }
    world->close();
    return ExitCode::good;
  });
}
