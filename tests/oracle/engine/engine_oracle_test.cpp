// SPDX-License-Identifier: Apache-2.0
/// Sixteen AdamW steps of a real Llama against transformers + torch, for every ZeRO stage, on any number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "dstrain/engine.hpp"
#include "model/model_spec.hpp"
#include "support/shared_data.hpp"
#include "support/token_rows.hpp"
#include "train/schedule.hpp"

namespace dstrain::engine_oracle_test {
namespace {

using Json = nlohmann::json;

struct Case {
  const char* file;
  int stage;
  bool checkpointing;
  bool reproducible;
  DType dtype;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.file << " stage " << c.stage << (c.checkpointing ? " checkpointing" : "")
       << (c.reproducible ? " reproducible" : "") << " " << name_of(c.dtype);
}

constexpr std::int64_t row_length = 256;

std::vector<std::vector<std::int32_t>> read_rows(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::vector<std::int32_t>> rows;
  std::vector<std::int32_t> row(row_length);
  while (in.read(reinterpret_cast<char*>(row.data()), row_length * 4)) rows.push_back(row);
  return rows;
}

/// Global L2 norm of every tensor from the slices that ranks keep (each element once).
std::vector<double> tensor_norms(const Engine& engine, Communicator& comm, int stage) {
  std::vector<double> squares(engine.layout().tensors.size(), 0.0);
  engine.for_each_slice([&](std::int32_t tensor, std::int64_t, std::int64_t count, const float* w, const float*) {
    if (stage == 0 && comm.rank() != 0) return;  // every rank keeps everything
    for (std::int64_t i = 0; i < count; ++i)
      squares[static_cast<std::size_t>(tensor)] += static_cast<double>(w[i]) * w[i];
  });
  comm.all_reduce(View(std::span(squares)), ReduceOp::sum, Stream{}, "tensor norms");
  for (auto& s : squares) s = std::sqrt(s);
  return squares;
}

class EngineOracle : public testing::TestWithParam<Case> {};

TEST_P(EngineOracle, MeetsEveryStep) {
  const auto c = GetParam();
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto model = *shared / "data" / "stories260K";
  const auto oracle = Json::parse(std::ifstream(*shared / "data" / "oracle" / c.file));
  const auto rows = read_rows(*shared / "data" / "oracle" / "c4_tokens_64x256.i32");
  const auto& args = oracle["oracle"]["args"];
  const int batch = args["batch"];
  const int accum = args["accum"];
  const int steps = args["steps"];
  auto comm = make_world_communicator();

  std::ifstream config(model / "config.json");
  const auto spec = parse_model_spec(std::string(std::istreambuf_iterator<char>(config), {}), "config.json");
  EngineOptions options;
  options.zero_stage = c.stage;
  options.dtype = c.dtype;
  options.gradient_checkpointing = c.checkpointing;
  options.reproducible = c.reproducible;
  options.max_tokens = batch * row_length;
  options.max_micro_steps = accum;
  options.optim.beta1 = args["b1"];
  options.optim.beta2 = args["b2"];
  options.optim.eps = args["eps"];
  options.weight_decay = args["wd"];
  options.max_grad_norm = args["clip"];
  const bool matrix_only = args["decay"] == "matrix";
  options.decays = [=](const std::string&, const std::vector<std::int64_t>& shape) {
    return !matrix_only || shape.size() >= 2;
  };
  if (c.dtype == DType::f16) options.loss_scale = {.rule = LossScaleOptions::Rule::torch};
  const Schedule schedule({"cosine", args["lr"], args["warmup"], steps, {}});
  auto engine = Engine::initialize(*comm, spec, options, {model});
  // fp32: the tolerances that two fp32 programs reach; bf16, fp16: 8 and 11 bits of mantissa, errors of independent
  // roundings averaged.
  const double rounding = c.dtype == DType::bf16 ? 1.0 / 256 : 1.0 / 2048;
  const double loss_tolerance = c.dtype == DType::f32 ? 1e-5 : rounding;
  const double norm_tolerance = c.dtype == DType::f32 ? 1e-4 : 8.0 * rounding;
  const double final_tolerance = c.dtype == DType::f32 ? 1e-6 : rounding;

  for (int step = 0; step < steps; ++step) {
    engine->begin_step();
    for (int micro = 0; micro < accum; ++micro) {
      const int world = comm->size();
      const int per_rank = (batch + world - 1) / world;  // in order, the last ranks get less or nothing
      const int begin = std::min(batch, comm->rank() * per_rank);
      const int end = std::min(batch, begin + per_rank);
      std::vector<std::vector<std::int32_t>> mine;
      for (int i = begin; i < end; ++i)
        mine.push_back(rows[static_cast<std::size_t>((step * accum + micro) * batch + i) % rows.size()]);
      const test::PackedRows packed(mine, 1.0F / static_cast<float>(batch * accum * (row_length - 1)));
      engine->forward(packed.batch(), (batch + per_rank - 1) / per_rank, micro + 1 == accum);
      engine->backward();
    }
    const double lr = schedule.rate(step);
    const auto result = engine->step(lr);
    const auto& expected = oracle["steps"][static_cast<std::size_t>(step)];
    EXPECT_NEAR(lr, expected["lr"].get<double>(), 1e-12);
    EXPECT_NEAR(result.loss, expected["loss"].get<double>(), loss_tolerance * expected["loss"].get<double>())
        << "step " << step;
    EXPECT_NEAR(result.grad_norm, expected["grad_norm"].get<double>(),
                norm_tolerance * expected["grad_norm"].get<double>())
        << "step " << step;
  }
  const auto norms = tensor_norms(*engine, *comm, c.stage);
  std::size_t seen = 0;
  for (const auto& [name, norm] : oracle["final_norms"].items()) {
    const auto index = engine->layout().find(name);
    if (index < 0) continue;  // the tied head stands in the file a second time
    ++seen;
    EXPECT_NEAR(norms[static_cast<std::size_t>(index)], norm.get<double>(), final_tolerance * norm.get<double>())
        << name;
  }
  EXPECT_EQ(seen, engine->layout().tensors.size());
  engine.reset();
  comm->close();
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* file : {"base.json", "accum.json", "matrix_decay.json"}) {
    for (int stage = 0; stage <= 3; ++stage) {
      for (const bool checkpointing : {true, false}) all.push_back({file, stage, checkpointing, false, DType::f32});
    }
  }
  // Some of each: stages_test compares every stage with one rank, bit by bit, in bf16 and in reproducible runs too.
  all.push_back({"accum.json", 1, true, true, DType::f32});
  for (const int stage : {0, 3}) all.push_back({"base.json", stage, true, false, DType::bf16});
  all.push_back({"base.json", 2, true, false, DType::f16});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Runs, EngineOracle, testing::ValuesIn(cases()));

}  // namespace
}  // namespace dstrain::engine_oracle_test
