// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/writer.hpp"

#include <sys/stat.h>

#include <array>
#include <exception>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/agreement.hpp"
#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/shard_file.hpp"
#include "io/checkpoint/together.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

Digest& add_list(Digest& digest, const CheckpointContent& content, std::int64_t step, std::int64_t piece_count) {
  for (const auto& tensor : content.tensors) {
    digest.add(tensor.name.data(), static_cast<std::int64_t>(tensor.name.size() + 1));
    digest.add(tensor.shape.data(), static_cast<std::int64_t>(tensor.shape.size() * sizeof(std::int64_t)));
  }
  const std::array<std::int64_t, 2> numbers{step, piece_count};
  digest.add(numbers.data(), sizeof numbers);
  return digest;
}

/// What a layout depends on: which ranges this rank brings, and who writes.
std::string layout_key(const CheckpointContent& content, CheckpointWriters writers) {
  Digest digest;
  for (const auto& slices : content.slices) {
    for (const auto& slice : slices) {
      const std::array<std::int64_t, 3> range{slice.tensor, slice.begin, slice.count};
      digest.add(range.data(), sizeof range);
    }
    const auto count = static_cast<std::int64_t>(slices.size());
    digest.add(&count, sizeof count);
  }
  const auto who = static_cast<std::int64_t>(writers);
  digest.add(&who, sizeof who);
  return digest.hex();
}

bool any_rank(Communicator& comm, bool here) {
  std::int32_t value = here ? 1 : 0;
  comm.all_reduce(View(&value, 1, DType::i32), ReduceOp::max, Stream{}, "checkpoint: new layout");
  return value != 0;
}

}  // namespace

CheckpointWriter::~CheckpointWriter() {
  drain_.reset();
  completion_.reset();
}

void CheckpointWriter::begin(const std::filesystem::path& output_dir, std::int64_t step,
                             const CheckpointContent& content, const CheckpointOptions& options,
                             const std::function<void(const std::filesystem::path& part)>& beside) {
  const auto start = Clock::now();
  finish();
  begun_ = Clock::now();
  final_path_ = output_dir / checkpoint_name(step);
  part_ = final_path_;
  part_ += ".part";
  options_ = options;
  const bool first = comm_.rank() == 0;

  on_all_ranks(comm_, "check the checkpoint's content", [&] {
    DSTRAIN_CHECK(step >= 0 && options.piece_count >= 1 && options.piece_count <= max_piece_count,
                  "step {} or piece {}", step, options.piece_count);
    check_content(content);
  });
  Digest digest;
  check_same_on_all_ranks(comm_, "tensor lists or steps for a checkpoint",
                          add_list(digest, content, step, options.piece_count));
  if (const auto key = layout_key(content, options.writers); any_rank(comm_, key != layout_key_)) {
    layout_key_.clear();
    layout_ = agree_on_layout(comm_, content, options.writers, options.node_of_rank);
    layout_key_ = key;
  }
  const auto word = broadcast_string(comm_, first ? folder_word() : std::string());
  try {
    on_all_ranks(comm_, "prepare a checkpoint", [&] {
      if (!first) return;
      refuse_moved_folder(output_dir);
      prepare_folder(part_, layout_.all, word);
      manifest_ = {};
      manifest_.step = step;
      manifest_.piece_count = options.piece_count;
      manifest_.tensors = content.tensors;
      manifest_.metadata = content.metadata;
    });
    on_all_ranks(comm_, "create a checkpoint's shards", [&] {
      as_failure([&] {
        if (options.writers != CheckpointWriters::single) check_folder_is_shared(part_, word);
        if (layout_.creates(comm_.rank()) && options.writers != CheckpointWriters::collective)
          create_shard(part_, layout_.shard);
      });
    });
    if (beside) beside(part_);
    write_shards(content, options);
  } catch (...) {
    drain_.reset();
    remove_unfinished();
    throw;
  }
  phase_ = Phase::draining;
  waited_s_ = seconds_since(start);
}

void CheckpointWriter::refuse_moved_folder(const std::filesystem::path& output_dir) {
  struct stat status {};
  if (output_dir != folder_) folder_id_.reset();  // another one, on purpose
  folder_ = output_dir;
  if (!folder_id_) create_folder(output_dir);
  const bool there = ::stat(output_dir.c_str(), &status) == 0;
  const std::pair<std::uint64_t, std::uint64_t> id{status.st_dev, status.st_ino};
  // A folder that came back under its name may be another disk, or the empty place where one was mounted.
  if (!there || (folder_id_ && id != *folder_id_)) {
    throw IoError(there ? "is not the folder that it was when the run began" : "is gone", output_dir.string(),
                  "was it removed, or its file system unmounted?")
        .with_code(ExitCode::failed);
  }
  folder_id_ = id;
}

void CheckpointWriter::write_shards(const CheckpointContent& content, const CheckpointOptions& options) {
  digests_.clear();
  switch (options.writers) {
    case CheckpointWriters::collective:
      digests_ = write_collectively(comm_, part_, layout_, content, options.piece_count);
      return;
    case CheckpointWriters::single:
      digests_ = write_through_rank0(comm_, part_, layout_, content, options.piece_count);
      return;
    case CheckpointWriters::rank:
    case CheckpointWriters::node:
      share_frame(comm_, layout_);
      if (layout_.own < 0) return;
      drain_ = std::make_unique<ShardDrain>(part_ / layout_.shard.file,
                                            pieces_of(content, layout_.shard, layout_.start, options.piece_count),
                                            copies_, options.patience_s);
      return;
  }
}

void CheckpointWriter::secure() {
  if (!drain_) return;
  const auto start = Clock::now();
  drain_->secure();
  waited_s_ += seconds_since(start);
}

SaveState CheckpointWriter::state() const {
  if (phase_ == Phase::draining && drain_) {
    const auto state = drain_->state();
    if (state == DrainState::failed) return SaveState::failed;
    return state == DrainState::running ? SaveState::running : SaveState::settled;
  }
  if (phase_ == Phase::completing && completion_) {
    // What went wrong shows when it is fetched; until then it is only over.
    if (completion_->hung()) return SaveState::failed;
    return completion_->over() ? SaveState::settled : SaveState::running;
  }
  return SaveState::settled;
}

void CheckpointWriter::advance(SaveState largest) {
  if (phase_ == Phase::idle || largest == SaveState::running) return;
  if (largest == SaveState::failed) give_up();
  if (phase_ == Phase::draining) {
    complete();
    return;
  }
  phase_ = Phase::idle;
  auto completion = std::move(completion_);
  try {
    on_all_ranks(comm_, "complete a checkpoint", [&] {
      if (!completion) return;
      completion->end();
      completion->check();
    });
  } catch (...) {
    remove_unfinished();
    throw;
  }
  if (comm_.rank() == 0) report_done();
}

/// All shards are on the disk: rank 0 gets what it needs for the manifest, and a thread for the rest.
void CheckpointWriter::complete() {
  if (drain_) {
    drain_->wait();
    digests_ = drain_->digests();
    drain_.reset();
  }
  auto shards = gather_shards(comm_, layout_, options_.piece_count, digests_);
  phase_ = Phase::completing;
  if (comm_.rank() != 0) return;
  manifest_.shards = std::move(shards);
  completion_ = std::make_unique<FolderCompletion>(part_, final_path_, manifest_, options_);
}

void CheckpointWriter::give_up() {
  std::exception_ptr own;
  try {
    if (state() == SaveState::failed) {
      if (drain_) drain_->wait();
      if (completion_) completion_->check();
    }
  } catch (...) {
    own = std::current_exception();
  }
  phase_ = Phase::idle;
  drain_.reset();  // this rank writes no more
  completion_.reset();
  try {
    on_all_ranks(comm_, "write a checkpoint", [&] {
      if (own) std::rethrow_exception(own);
    });
  } catch (...) {
    remove_unfinished();
    throw;
  }
  throw Error("a checkpoint failed on no rank");
}

void CheckpointWriter::finish() {
  while (phase_ != Phase::idle) {
    const auto start = Clock::now();
    while (state() == SaveState::running) wait_for_own();
    auto largest = static_cast<std::int32_t>(state());
    comm_.all_reduce(View(&largest, 1, DType::i32), ReduceOp::max, Stream{}, "checkpoint: state");
    waited_s_ += seconds_since(start);
    advance(static_cast<SaveState>(largest));
  }
}

void CheckpointWriter::wait_for_own() {
  if (completion_) {
    completion_->wait_a_little();
    return;
  }
  try {
    if (drain_) drain_->wait();
  } catch (const IoError&) {
    // state() says so, and give_up() tells everybody.
  }
}

/// After a failure: what is left to resume from.
void CheckpointWriter::remove_unfinished() const {
  if (comm_.rank() != 0) return;
  std::error_code ignored;
  std::filesystem::remove_all(part_, ignored);
  auto left = std::string("there is no complete checkpoint yet");
  try {
    if (const auto last = find_latest_checkpoint(part_.parent_path()))
      left = fmt::format("the last complete checkpoint is {}", last->path.string());
  } catch (const Error& error) {
    left = error.what();  // the disk does not even say what is on it; the failure itself is on its way
  }
  log::warning("{} was not completed; {}", final_path_.filename().string(), left);
}

void CheckpointWriter::report_done() const {
  std::int64_t bytes = manifest_.view_bytes;
  for (const auto& shard : manifest_.shards) bytes += shard.bytes;
  log::info("saved {}: {:.1f} MiB in {:.2f} s, of which training waited {:.3f} s", final_path_.string(),
            static_cast<double>(bytes) / (1 << 20), since_begin(), waited_s_);
}

double CheckpointWriter::since_begin() const { return seconds_since(begun_); }

}  // namespace dstrain
