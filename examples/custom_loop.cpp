// SPDX-License-Identifier: Apache-2.0
/// A training loop of one's own on the installed package: rows, order and learning rate are the program's, everything
/// that is sharded is the Engine's. Interrupted and started again, on any number of ranks, it goes on to the same bits.
///
///     mpirun -np 2 custom_loop DIR --steps 20 --save_steps 5 [--zero_stage 3] [--model_name_or_path preset:nano]
#include <dstrain/engine.hpp>
#include <dstrain/packed_batch.hpp>
#include <dstrain/session.hpp>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace {

using Row = std::vector<std::int32_t>;

constexpr int row_count = 64;
constexpr int row_tokens = 24;
constexpr int micro_batches = 4;  ///< of a step, whatever the number of ranks
constexpr int rows_per_micro_batch = 2;

/// Rows to learn: arithmetic sequences of tokens.
std::vector<Row> make_rows(int vocabulary) {
  std::vector<Row> rows;
  for (int r = 0; r < row_count; ++r) {
    Row& row = rows.emplace_back();
    for (int i = 0; i < row_tokens; ++i) row.push_back((3 + 5 * r + (1 + r % 4) * i) % vocabulary);
  }
  return rows;
}

/// Deals rows in a new order in every epoch. Its whole state is how many rows it has dealt.
class Sampler {
 public:
  explicit Sampler(long dealt) : dealt_(dealt) {}
  int next() {
    const long epoch = dealt_ / row_count;
    if (epoch != epoch_) {
      order_.resize(row_count);
      std::iota(order_.begin(), order_.end(), 0);
      std::mt19937 random(static_cast<unsigned>(epoch));
      for (std::size_t i = order_.size() - 1; i > 0; --i) std::swap(order_[i], order_[random() % (i + 1)]);
      epoch_ = epoch;
    }
    return order_[static_cast<std::size_t>(dealt_++ % row_count)];
  }
  [[nodiscard]] long dealt() const { return dealt_; }

 private:
  long dealt_;
  long epoch_ = -1;
  std::vector<int> order_;
};

/// Warm-up, then a cosine to nothing. Follows the updates that were made: a skipped step is none.
double learning_rate(std::int64_t update, std::int64_t steps) {
  constexpr double peak = 3e-3;
  constexpr std::int64_t warmup = 3;
  if (update < warmup) return peak * static_cast<double>(update + 1) / warmup;
  return peak * 0.5 * (1 + std::cos(3.14159265358979 * static_cast<double>(update) / static_cast<double>(steps)));
}

struct Arguments {
  std::filesystem::path folder;
  std::map<std::string, std::string> values = {
      {"steps", "20"}, {"save_steps", "5"}, {"zero_stage", "3"}, {"model_name_or_path", "preset:nano"}};

  Arguments(int argc, char** argv) {
    if (argc < 2 || argc % 2 != 0)
      throw dstrain::ConfigError("usage: custom_loop DIR [--steps N] [--save_steps N] ...");
    folder = argv[1];
    for (int i = 2; i < argc; i += 2) {
      const std::string key = std::string(argv[i]).substr(2);
      if (!values.contains(key)) throw dstrain::ConfigError("custom_loop does not know --" + key);
      values[key] = argv[i + 1];
    }
  }
  [[nodiscard]] int number(const char* key) const { return std::stoi(values.at(key)); }
};

class Loop {
 public:
  Loop(dstrain::Communicator& comm, int threads, const Arguments& arguments) : comm_(comm), arguments_(arguments) {
    const auto model = dstrain::open_model(comm, arguments.values.at("model_name_or_path"));
    dstrain::EngineOptions options;
    options.zero_stage = arguments.number("zero_stage");
    options.threads = threads;
    options.reproducible = true;
    options.max_tokens = rows_per_micro_batch * row_tokens;
    options.max_micro_steps = micro_batches;
    options.weight_decay = 0.1;
    engine_ = dstrain::Engine::initialize(comm, model.spec, options, model.origin);
    rows_ = make_rows(static_cast<int>(model.spec.vocab_size));
    resume();
  }

  dstrain::ExitCode run() {
    const dstrain::StopSignal signals;
    const int steps = arguments_.number("steps"), save_steps = arguments_.number("save_steps");
    while (engine_->global_step() < steps) {
      const dstrain::StepResult result = step(learning_rate(engine_->optimizer_steps(), steps));
      if (comm_.rank() == 0) {
        std::printf("step %lld loss %.17g grad_norm %.17g\n", static_cast<long long>(engine_->global_step()),
                    result.loss, result.grad_norm);
      }
      const bool stop = stop_asked();
      if (stop || engine_->global_step() % save_steps == 0) save();
      if (stop) return dstrain::ExitCode::stopped_on_signal;
    }
    return dstrain::ExitCode::good;
  }

 private:
  /// Micro-batch k of a step runs on rank k mod P. All ranks deal all rows, so that they agree on the order.
  dstrain::StepResult step(double rate) {
    std::vector<dstrain::PackedBatch> batches(micro_batches);
    std::int64_t targets = 0;
    for (auto& batch : batches) {
      for (int r = 0; r < rows_per_micro_batch; ++r) batch.add_row(rows_[static_cast<std::size_t>(sampler_.next())]);
      targets += batch.targets();
    }
    const float weight = 1.0F / static_cast<float>(targets);
    const int ranks = comm_.size();
    engine_->begin_step();
    for (int first = 0; first < micro_batches; first += ranks) {
      const int contributors = std::min(ranks, micro_batches - first);
      const int mine = first + comm_.rank();
      const auto number = static_cast<std::uint32_t>(engine_->global_step() * micro_batches + mine);
      const bool has_one = comm_.rank() < contributors;
      const auto batch =
          has_one ? batches[static_cast<std::size_t>(mine)].batch(weight, number) : dstrain::MicroBatch{};
      engine_->forward(batch, contributors, first + ranks >= micro_batches);
      engine_->backward();
    }
    return engine_->step(rate);
  }

  void save() {
    dstrain::SaveOptions options;
    options.client_state = "{\"dealt\": " + std::to_string(sampler_.dealt()) + "}";
    engine_->save_checkpoint(arguments_.folder, "loop", options);
  }

  /// A folder without a checkpoint is a new run.
  void resume() {
    std::int32_t there = comm_.rank() == 0 && std::filesystem::exists(arguments_.folder / "latest") ? 1 : 0;
    comm_.broadcast(dstrain::View(&there, 1, dstrain::DType::i32), 0, {}, "is there a checkpoint");
    if (there == 0) return;
    const auto loaded = engine_->load_checkpoint(arguments_.folder, "loop");
    long dealt = 0;
    if (std::sscanf(loaded.client_state.c_str(), "{\"dealt\":%ld}", &dealt) != 1)
      throw dstrain::IoError("the client state is not this program's", loaded.folder.string());
    sampler_ = Sampler(dealt);
    if (comm_.rank() == 0) std::printf("resumed from %s\n", loaded.folder.c_str());
  }

  /// A signal comes to one rank first: all stop at the same step, or none.
  bool stop_asked() {
    std::int32_t signal = dstrain::StopSignal::received();
    comm_.all_reduce(dstrain::View(&signal, 1, dstrain::DType::i32), dstrain::ReduceOp::max, {}, "stop signal");
    return signal != 0;
  }

  dstrain::Communicator& comm_;
  const Arguments& arguments_;
  std::unique_ptr<dstrain::Engine> engine_;
  std::vector<Row> rows_;
  Sampler sampler_{0};
};

}  // namespace

int main(int argc, char** argv) {
  return dstrain::spmd_main(argc, argv, [&](dstrain::MpiSession& session) {
    const Arguments arguments(argc, argv);
    const auto world = dstrain::make_world_communicator();
    world->set_timeout(1800);
    const auto code = Loop(*world, dstrain::use_threads(session), arguments).run();
    world->close();
    return code;
  });
}
