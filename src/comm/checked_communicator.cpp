// SPDX-License-Identifier: Apache-2.0
#include "comm/checked_communicator.hpp"

#include <limits>

#include "comm/rank_list.hpp"
#include "core/error.hpp"

namespace dstrain {
namespace {

constexpr const char* own_label = "comparing calls";

/// FNV-1a, cut to 63 bits so that its negation is a number too.
std::int64_t hash_of(std::string_view text) noexcept {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return static_cast<std::int64_t>(hash & static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
}

std::string text_of(ConstView view) { return fmt::format("{} {}", view.count, name_of(view.dtype)); }

const char* text_of(ReduceOp op) noexcept {
  switch (op) {
    case ReduceOp::sum:
      return "sum";
    case ReduceOp::max:
      return "max";
    case ReduceOp::min:
      return "min";
  }
  return "?";
}

std::string who_called_what(const std::vector<std::string>& calls) {
  std::string text;
  std::vector<bool> told(calls.size(), false);
  for (std::size_t first = 0; first < calls.size(); ++first) {
    if (told[first]) continue;
    std::vector<int> ranks;
    for (std::size_t r = first; r < calls.size(); ++r) {
      if (calls[r] != calls[first]) continue;
      told[r] = true;
      ranks.push_back(static_cast<int>(r));
    }
    text += fmt::format("\n  rank {}: {}", rank_list(ranks), calls[first]);
  }
  return text;
}

}  // namespace

CheckedCommunicator::CheckedCommunicator(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}

void CheckedCommunicator::compare(CommOp op, const std::string& arguments, const char* label) {
  const std::string call =
      fmt::format("{} #{} ({}) \"{}\"", name_of(op), ++sequence_, arguments, label == nullptr ? "" : label);
  const std::int64_t hash = hash_of(call);
  std::int64_t extremes[2] = {hash, -hash};  // equal everywhere: the least hash is the largest
  inner_->all_reduce(View(extremes, 2, DType::i64), ReduceOp::min, Stream{}, own_label);
  if (extremes[0] == -extremes[1]) return;
  throw CommError(
      fmt::format("the ranks call different collectives:{}", who_called_what(all_gather_strings(*inner_, call))), "",
      "every rank must make the same calls in the same order with equal counts");
}

void CheckedCommunicator::reduce_scatter(std::span<const ReduceScatterPart> parts, int contributors, bool two_level,
                                         Stream stream, const char* label) {
  std::string arguments = fmt::format("{} contributors{}", contributors, two_level ? ", two levels" : "");
  for (const auto& part : parts) {
    arguments +=
        fmt::format("; {} into {}{}", text_of(part.full), text_of(part.shard), part.accumulate ? " added" : "");
  }
  compare(CommOp::reduce_scatter, arguments, label);
  inner_->reduce_scatter(parts, contributors, two_level, stream, label);
}

void CheckedCommunicator::all_gather(std::span<const AllGatherPart> parts, Stream stream, const char* label) {
  std::string arguments = fmt::format("{} buffers", parts.size());
  for (const auto& part : parts) arguments += fmt::format("; {} into {}", text_of(part.shard), text_of(part.full));
  compare(CommOp::all_gather, arguments, label);
  inner_->all_gather(parts, stream, label);
}

void CheckedCommunicator::all_reduce(View values, ReduceOp op, Stream stream, const char* label) {
  compare(CommOp::all_reduce, fmt::format("{} of {}", text_of(op), text_of(values)), label);
  inner_->all_reduce(values, op, stream, label);
}

void CheckedCommunicator::broadcast(View values, int root, Stream stream, const char* label) {
  compare(CommOp::broadcast, fmt::format("{} from rank {}", text_of(values), root), label);
  inner_->broadcast(values, root, stream, label);
}

void CheckedCommunicator::barrier(const char* label) {
  compare(CommOp::barrier, "", label);
  inner_->barrier(label);
}

void CheckedCommunicator::send(ConstView values, int to, const char* label) { inner_->send(values, to, label); }
void CheckedCommunicator::recv(View values, int from, const char* label) { inner_->recv(values, from, label); }

void* CheckedCommunicator::allocate_registered(std::int64_t bytes) {
  compare(CommOp::allocate, fmt::format("{} bytes", bytes), "");
  return inner_->allocate_registered(bytes);
}

void CheckedCommunicator::close() {
  compare(CommOp::close, "", "");
  inner_->close();
}

}  // namespace dstrain
