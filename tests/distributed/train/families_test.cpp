// SPDX-License-Identifier: Apache-2.0
/// Every family trained by several ranks at stage 3 gives the bits of one rank.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "comm/local_communicator.hpp"
#include "comm/mpi_communicator.hpp"
#include "dstrain/engine.hpp"
#include "io/files/file.hpp"
#include "io/safetensors/reader.hpp"
#include "model/model_spec.hpp"
#include "support/token_rows.hpp"

namespace dstrain::families_test {
namespace {

constexpr int steps = 2;

std::vector<std::string> family_folders() {
  std::vector<std::string> names;
  const std::filesystem::path all = std::filesystem::path(DSTRAIN_SOURCE_DIR) / "tests" / "oracle" / "tiny-families";
  for (const auto& entry : std::filesystem::directory_iterator(all)) names.push_back(entry.path().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// The micro-batch that slot `slot` of a step holds, whoever runs it.
std::vector<std::vector<std::int32_t>> rows_of(int step, int slot) {
  std::vector<std::vector<std::int32_t>> rows(2);
  for (int r = 0; r < 2; ++r) {
    for (int i = 0; i < 9 + 5 * r; ++i)
      rows[static_cast<std::size_t>(r)].push_back((i * (i + 3) + 11 * slot + 7 * step + r) % 29);
  }
  return rows;
}

EngineOptions options_of(int stage, int slots) {
  EngineOptions options;
  options.zero_stage = stage;
  options.reproducible = true;
  options.max_tokens = 64;
  options.max_position = 16;
  options.max_micro_steps = slots;
  return options;
}

/// Runs the slots of a step that belong to this rank of `ranks`, one per micro step.
StepResult run_step(Engine& engine, int step, int slots, int rank, int ranks) {
  engine.begin_step();
  for (int first = 0; first < slots; first += ranks) {
    const auto rows = rows_of(step, first + rank);
    const test::PackedRows packed(rows, 1.0F / static_cast<float>(21 * slots));
    MicroBatch batch = packed.batch();
    batch.sample = static_cast<std::uint32_t>(step * slots + first + rank);
    engine.forward(batch, ranks, first + ranks >= slots);
    engine.backward();
  }
  return engine.step(1e-2);
}

class FamilyOnRanks : public testing::TestWithParam<std::string> {};

TEST_P(FamilyOnRanks, TrainsAtStage3ToTheBitsOfOneRank) {
  const auto comm = make_world_communicator();
  const int ranks = comm->size();
  LocalCommunicator alone_comm;
  ModelSpec spec = parse_model_spec(read_file(std::filesystem::path(GetParam()) / "config.json", 1 << 20), GetParam());
  spec.dropout = {.embedding = 0.1, .attention = 0.1, .residual = 0.1};  // decided by the slot, not by the rank
  const auto together = Engine::initialize(*comm, spec, options_of(3, 1), {});
  const auto alone = Engine::initialize(alone_comm, spec, options_of(0, ranks), {});

  for (int step = 0; step < steps; ++step) {
    const StepResult a = run_step(*together, step, ranks, comm->rank(), ranks);
    const StepResult b = run_step(*alone, step, ranks, 0, 1);
    EXPECT_EQ(a.loss, b.loss) << "step " << step;
    EXPECT_EQ(a.grad_norm, b.grad_norm) << "step " << step;
    EXPECT_GT(a.grad_norm, 0.0);
  }

  std::vector<std::vector<float>> whole(together->layout().tensors.size());
  alone->for_each_slice([&](std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* w, const float*) {
    auto& values = whole[static_cast<std::size_t>(tensor)];
    values.resize(std::max(values.size(), static_cast<std::size_t>(begin + count)));
    std::copy_n(w, count, values.begin() + begin);
  });
  together->for_each_slice(
      [&](std::int32_t tensor, std::int64_t begin, std::int64_t count, const float* w, const float*) {
        const auto& values = whole[static_cast<std::size_t>(tensor)];
        EXPECT_TRUE(std::equal(w, w + count, values.begin() + begin))
            << together->layout().tensors[static_cast<std::size_t>(tensor)].name;
      });
}

TEST_P(FamilyOnRanks, ExportsTheBitsItRead) {
  const auto comm = make_world_communicator();
  const std::filesystem::path folder = GetParam();
  const ModelSpec spec = parse_model_spec(read_file(folder / "config.json", 1 << 20), GetParam());
  const auto out =
      std::filesystem::path(DSTRAIN_TEST_TMP) / fmt::format("family_export_{}", folder.filename().string());
  EngineOptions options = options_of(3, 1);
  options.optimizer = false;
  const auto engine = Engine::initialize(*comm, spec, options, {comm->rank() == 0 ? folder : std::filesystem::path()});

  engine->export_weights(out, DType::f32);

  if (comm->rank() != 0) return;
  const auto before = SafetensorsFile::open(folder / "model.safetensors");
  const auto after = SafetensorsFile::open(out / "model.safetensors");
  ASSERT_EQ(after.tensors().size(), before.tensors().size());
  for (std::size_t i = 0; i < before.tensors().size(); ++i) {
    const SafetensorsEntry& tensor = before.tensors()[i];
    const std::int32_t other = after.find(tensor.name);
    ASSERT_GE(other, 0) << tensor.name;
    EXPECT_EQ(after.tensors()[static_cast<std::size_t>(other)].shape, tensor.shape) << tensor.name;
    std::vector<float> a(static_cast<std::size_t>(tensor.count())), b(a.size());
    before.read_f32(static_cast<std::int32_t>(i), 0, tensor.count(), a.data());
    after.read_f32(other, 0, tensor.count(), b.data());
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << tensor.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyOnRanks, testing::ValuesIn(family_folders()), [](const auto& info) {
  std::string name = std::filesystem::path(info.param).filename().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace dstrain::families_test
