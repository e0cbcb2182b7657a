// SPDX-License-Identifier: Apache-2.0
/// Things ranks agree on: errors and strings. (Declared in comm/communicator.hpp.)
#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>

#include "comm/agreed_error.hpp"
#include "comm/communicator.hpp"

namespace dstrain {
namespace {

/// What a failing rank tells the others.
struct Failure {
  std::string what, where, hint;
  ExitCode code = ExitCode::failed;
};

Failure describe_current_exception() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.what(), error.where(), error.hint(), error.exit_code()};
  } catch (const std::bad_alloc&) {
    return {"out of memory", "", "", ExitCode::failed};
  } catch (const std::exception& error) {
    return {error.what(), "", "", ExitCode::failed};
  } catch (...) {
    return {"an unknown error", "", "", ExitCode::failed};
  }
}

/// Fields behind their lengths: messages may hold any byte.
std::string pack(const Failure& failure) {
  std::string packed;
  const auto number = static_cast<std::uint64_t>(failure.code);
  packed.append(reinterpret_cast<const char*>(&number), sizeof number);
  for (const auto* field : {&failure.what, &failure.where, &failure.hint}) {
    const std::uint64_t length = field->size();
    packed.append(reinterpret_cast<const char*>(&length), sizeof length);
    packed += *field;
  }
  return packed;
}

Failure unpack(std::string_view packed) {
  Failure failure;
  const auto number = [&] {
    std::uint64_t value = 0;
    if (packed.size() < sizeof value) throw CommError("an error report of another rank is cut off");
    std::memcpy(&value, packed.data(), sizeof value);
    packed.remove_prefix(sizeof value);
    return value;
  };
  failure.code = static_cast<ExitCode>(number());
  for (auto* field : {&failure.what, &failure.where, &failure.hint}) {
    const std::uint64_t length = number();
    if (length > packed.size()) throw CommError("an error report of another rank is cut off");
    *field = packed.substr(0, length);
    packed.remove_prefix(length);
  }
  return failure;
}

/// Where it happened, for a person: rank 0 alone is the usual case (only it reads files) and needs no word.
std::string place_of(const Failure& failure, std::string_view step, const std::vector<int>& ranks, int size) {
  if (ranks == std::vector<int>{0}) return failure.where;
  constexpr std::size_t most = 16;
  std::string list;
  for (std::size_t i = 0; i < std::min(ranks.size(), most); ++i)
    list += fmt::format("{}{}", i == 0 ? "" : ", ", ranks[i]);
  if (ranks.size() > most) list += fmt::format(" and {} more", ranks.size() - most);
  const std::string on = static_cast<int>(ranks.size()) == size ? "all ranks" : fmt::format("rank {}", list);
  return fmt::format("{}{}{} on {}", failure.where, failure.where.empty() ? "" : "; ", step, on);
}

}  // namespace

void on_all_ranks(Communicator& comm, std::string_view what, const std::function<void()>& local_step) {
  std::optional<Failure> own;
  try {
    local_step();
  } catch (...) {
    own = describe_current_exception();
  }
  std::int64_t first = own ? comm.rank() : comm.size();
  comm.all_reduce(View(&first, 1, DType::i64), ReduceOp::min, Stream{}, "on_all_ranks");
  if (first == comm.size()) return;

  std::vector<std::int64_t> failed(static_cast<std::size_t>(comm.size()), 0);
  failed[static_cast<std::size_t>(comm.rank())] = own ? 1 : 0;
  comm.all_reduce(View(failed.data(), comm.size(), DType::i64), ReduceOp::max, Stream{}, "on_all_ranks");
  std::vector<int> ranks;
  for (int r = 0; r < comm.size(); ++r) {
    if (failed[static_cast<std::size_t>(r)] != 0) ranks.push_back(r);
  }
  const Failure told = unpack(broadcast_string(comm, own ? pack(*own) : std::string(), static_cast<int>(first)));
  throw AgreedError(told.what, place_of(told, what, ranks, comm.size()), told.hint, told.code, ranks);
}

std::string broadcast_string(Communicator& comm, std::string value, int root) {
  std::int64_t length = static_cast<std::int64_t>(value.size());
  comm.broadcast(View(&length, 1, DType::i64), root, Stream{}, "broadcast_string");
  value.resize(static_cast<std::size_t>(length));
  if (length > 0) comm.broadcast(View(value.data(), length, DType::u8), root, Stream{}, "broadcast_string");
  return value;
}

std::vector<std::string> all_gather_strings(Communicator& comm, const std::string& value) {
  const auto ranks = static_cast<std::size_t>(comm.size()), rank = static_cast<std::size_t>(comm.rank());
  std::vector<std::int64_t> lengths(ranks, 0);
  lengths[rank] = static_cast<std::int64_t>(value.size());
  comm.all_reduce(View(lengths.data(), comm.size(), DType::i64), ReduceOp::max, Stream{}, "all_gather_strings");
  const std::int64_t width = *std::max_element(lengths.begin(), lengths.end());
  std::vector<char> all(ranks * static_cast<std::size_t>(width));
  char* own = all.data() + rank * static_cast<std::size_t>(width);
  std::copy(value.begin(), value.end(), own);
  if (width > 0)
    comm.all_gather(ConstView(own, width, DType::u8), View(all.data(), width * comm.size(), DType::u8), Stream{},
                    "all_gather_strings");
  std::vector<std::string> result;
  for (std::size_t r = 0; r < ranks; ++r) {
    result.emplace_back(all.data() + r * static_cast<std::size_t>(width), static_cast<std::size_t>(lengths[r]));
  }
  return result;
}

}  // namespace dstrain
