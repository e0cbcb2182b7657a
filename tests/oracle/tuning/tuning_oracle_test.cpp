// SPDX-License-Identifier: Apache-2.0
/// Adapter training and freezing against PEFT (tests/oracle/make_adapters.py): losses, norms and merged weights, for
/// every ZeRO stage, on any number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "core/memory_plan.hpp"
#include "dstrain/engine.hpp"
#include "io/safetensors/model.hpp"
#include "model/adapters/module_patterns.hpp"
#include "model/model_spec.hpp"
#include "support/token_rows.hpp"
#include "train/adapter_files.hpp"
#include "train/merged_weights.hpp"
#include "train/tuning_setup.hpp"

namespace dstrain::tuning_oracle_test {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int rows_per_step = 4, width = 16;
constexpr double learning_rate = 5e-3;

fs::path oracle_folder() { return fs::path(DSTRAIN_SOURCE_DIR) / "tests/oracle"; }
fs::path case_folder(const std::string& name) { return oracle_folder() / "adapters" / name; }
Json expected_of(const std::string& name) { return Json::parse(std::ifstream(case_folder(name) / "expected.json")); }

/// The folder of the case's base model.
fs::path base_folder(const std::string& name) {
  return oracle_folder() / expected_of(name)["keys"].value("base", "tiny-models/llama-biases");
}

ModelSpec base_spec(const std::string& name) {
  std::ifstream config(base_folder(name) / "config.json");
  return parse_model_spec(std::string(std::istreambuf_iterator<char>(config), {}), "config.json");
}

/// The keys of a run that means the case, as a user would write them.
RunConfig run_config(const std::string& name, const Json& keys) {
  RunConfig c;
  c.learning_rate = learning_rate;
  if (name.starts_with("freeze")) {
    c.finetuning_type = "freeze";
    c.freeze_trainable_layers = name == "freeze" ? 1 : -1;
    if (name == "freeze-mlp") {
      c.freeze_trainable_modules = {"mlp"};
      c.freeze_extra_modules = {"embed_tokens"};
    }
    return c;
  }
  if (keys.contains("loraplus_lr_ratio")) c.loraplus_lr_ratio = keys["loraplus_lr_ratio"].get<double>();
  if (fs::exists(case_folder(name) / "start")) {
    c.adapter_name_or_path = {(case_folder(name) / "start").string()};
    return c;
  }
  c.lora_rank = 4;
  c.lora_alpha = 6;
  c.lora_target = keys["target_modules"].get<std::vector<std::string>>();
  c.pissa_init = keys.value("init_lora_weights", "") == "pissa";
  c.pissa_iter = -1;
  c.use_dora = keys.value("use_dora", false);
  return c;
}

/// Row `row` of step `step`: the formula of the script.
std::vector<std::int32_t> row_of(int step, int row, std::int64_t vocab) {
  std::vector<std::int32_t> ids;
  for (int t = 0; t < width; ++t)
    ids.push_back(static_cast<std::int32_t>(3 + (7 * t + 11 * row + 5 * step + t * t * (row + 1)) % (vocab - 3)));
  return ids;
}

StepResult run_step(Engine& engine, const Communicator& comm, int step) {
  const int per_rank = (rows_per_step + comm.size() - 1) / comm.size();
  std::vector<std::vector<std::int32_t>> mine;
  const int begin = std::min(rows_per_step, comm.rank() * per_rank);
  for (int row = begin; row < std::min(rows_per_step, begin + per_rank); ++row)
    mine.push_back(row_of(step, row, engine.spec().vocab_size));
  const test::PackedRows packed(mine, 1.0F / (rows_per_step * (width - 1)));
  engine.begin_step();
  engine.forward(packed.batch(), (rows_per_step + per_rank - 1) / per_rank, true);
  engine.backward();
  return engine.step(learning_rate);
}

std::vector<double> tensor_norms(const Engine& engine, Communicator& comm, bool replicated) {
  std::vector<double> squares(engine.layout().tensors.size(), 0.0);
  engine.for_each_slice([&](std::int32_t tensor, std::int64_t, std::int64_t count, const float* w, const float*) {
    if (replicated && comm.rank() != 0) return;
    for (std::int64_t i = 0; i < count; ++i)
      squares[static_cast<std::size_t>(tensor)] += static_cast<double>(w[i]) * w[i];
  });
  comm.all_reduce(View(std::span(squares)), ReduceOp::sum, Stream{}, "tensor norms");
  for (auto& s : squares) s = std::sqrt(s);
  return squares;
}

std::int64_t total_bytes(const MemoryPlan& plan) {
  std::int64_t bytes = 0;
  for (int kind = 0; kind < memory_kinds; ++kind) bytes += plan.arena_bytes(static_cast<MemoryKind>(kind));
  return bytes;
}

struct Case {
  const char* name;
  int stage;
  bool checkpointing = true;
  bool reproducible = false;
  DType dtype = DType::f32;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name << " stage " << c.stage << (c.checkpointing ? " checkpointing" : "")
       << (c.reproducible ? " reproducible" : "") << " " << name_of(c.dtype);
}

class TuningOracle : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Communicator> comm_ = make_world_communicator();
};

TEST_P(TuningOracle, MeetsEveryStepOfPeft) {
  const auto c = GetParam();
  const Json expected = expected_of(c.name);
  const RunConfig config = run_config(c.name, expected["keys"]);
  const ModelSpec spec = base_spec(c.name);
  const TuningSetup setup = setup_tuning(*comm_, config, spec);
  EngineOptions options;
  options.zero_stage = c.stage;
  options.dtype = c.dtype;
  options.gradient_checkpointing = c.checkpointing;
  options.reproducible = c.reproducible;
  options.max_tokens = rows_per_step * width;
  options.max_position = width;
  options.weight_decay = 0.01;
  options.tuning = setup.tuning;
  options.lr_factor = lr_factors(config);
  WeightOrigin origin{base_folder(c.name), setup.merged, setup.adapter};
  const double tolerance = c.dtype == DType::f32 ? 2e-5 : 1.0 / 64;

  auto engine = Engine::initialize(*comm_, spec, options, origin);

  EXPECT_EQ(engine->allocated_bytes(), total_bytes(Engine::plan(spec, options, comm_->size())));
  const auto counts = count_parameters(spec, engine->layout(), setup.tuning);
  EXPECT_EQ(counts.trainable, expected["trainable"].get<std::int64_t>());
  EXPECT_EQ(counts.all, expected["all"].get<std::int64_t>());
  for (std::size_t step = 0; step < expected["losses"].size(); ++step) {
    const auto result = run_step(*engine, *comm_, static_cast<int>(step));
    const double loss = expected["losses"][step];
    const double norm = expected["grad_norms"][step];
    EXPECT_NEAR(result.loss, loss, tolerance * loss) << "step " << step;
    EXPECT_NEAR(result.grad_norm, norm, 10 * tolerance * norm) << "step " << step;
  }
  const auto norms = tensor_norms(*engine, *comm_, c.stage == 0);
  for (const auto& [name, norm] : expected["norms"].items()) {
    const auto index = engine->layout().find(name);
    ASSERT_GE(index, 0) << name;
    EXPECT_EQ(engine->layout().tensors[static_cast<std::size_t>(index)].part, PartKind::trainable) << name;
    EXPECT_NEAR(norms[static_cast<std::size_t>(index)], norm.get<double>(), 5 * tolerance * norm.get<double>()) << name;
  }
  engine.reset();
  comm_->close();
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"lora", "lora-qv", "rslora", "dora", "loraplus", "additional", "lm-head", "patterns",
                           "pissa", "pissa-dora", "freeze", "freeze-mlp", "lookup", "gpt2"}) {
    for (const int stage : {0, 2, 3}) all.push_back({name, stage});
  }
  for (const char* name :
       {"lookup-dora", "gemma2-lookup", "gpt2-dora", "gpt2-pissa", "gpt2-lookups", "bloom", "phi3"}) {
    for (const int stage : {1, 3}) all.push_back({name, stage, stage == 3});
  }
  for (const char* name : {"lora", "dora", "freeze-mlp", "lookup-dora", "gpt2-dora"}) {
    all.push_back({name, 1, false});
    all.push_back({name, 3, true, true});
    all.push_back({name, 2, true, false, DType::bf16});
    all.push_back({name, 3, false, false, DType::bf16});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Cases, TuningOracle, testing::ValuesIn(cases()));

class MergeOracle : public testing::TestWithParam<const char*> {};

TEST_P(MergeOracle, GivesPeftsMergedWeights) {
  const std::string name = GetParam();
  const auto expected = SafetensorsModel::open(case_folder(name) / "merged.safetensors");
  const ModelSpec spec = base_spec(name);
  ModelSpec untied = spec;
  untied.tie_word_embeddings = false;
  const fs::path adapter = case_folder(name) / "end";

  const auto merged = open_merged(base_folder(name), spec, untied, {adapter});

  for (std::size_t t = 0; t < merged->tensors().size(); ++t) {
    const TensorInfo& tensor = merged->tensors()[t];
    const auto at = std::find_if(expected.tensors().begin(), expected.tensors().end(),
                                 [&](const TensorInfo& e) { return e.name == tensor.name; });
    if (at == expected.tensors().end()) {
      EXPECT_EQ(tensor.name, "lm_head.weight");  // tied there: not stored
      continue;
    }
    std::vector<float> ours(static_cast<std::size_t>(tensor.count())), theirs(ours.size());
    // In two uneven pieces that cut rows.
    const std::int64_t cut = tensor.count() / 3 + 1;
    merged->read(static_cast<std::int32_t>(t), 0, cut, ours.data());
    merged->read(static_cast<std::int32_t>(t), cut, tensor.count() - cut, ours.data() + cut);
    expected.read(static_cast<std::int32_t>(at - expected.tensors().begin()), 0, tensor.count(), theirs.data());
    const double tolerance = name.find("pissa") == std::string::npos ? 2e-6 : 4e-6;  // torch's singular values are f32
    for (std::size_t i = 0; i < ours.size(); ++i) ASSERT_NEAR(ours[i], theirs[i], tolerance) << tensor.name << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, MergeOracle,
                         testing::Values("lora", "rslora", "dora", "additional", "patterns", "pissa", "pissa-dora",
                                         "lookup", "lookup-dora", "gemma2-lookup", "gpt2", "gpt2-dora", "gpt2-pissa",
                                         "bloom", "phi3"));

}  // namespace
}  // namespace dstrain::tuning_oracle_test
