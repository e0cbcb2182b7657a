// SPDX-License-Identifier: Apache-2.0
#include "train/replicas.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>

#include "comm/rank_list.hpp"
#include "io/files/digest.hpp"

namespace dstrain {
namespace {

/// Units in a message; those behind them are counted.
constexpr std::size_t most_units_told = 3;
/// Of device memory on its way to the digest.
constexpr std::int64_t piece_bytes = 16 << 20;

/// Adds bytes of a device's memory, piece by piece.
void add_from_device(Digest& digest, const Stream& stream, const void* data, std::int64_t bytes,
                     std::vector<char>& piece) {
  piece.resize(static_cast<std::size_t>(piece_bytes));
  for (std::int64_t done = 0; done < bytes; done += piece_bytes) {
    const std::int64_t n = std::min(piece_bytes, bytes - done);
    copy_bytes(stream, piece.data(), static_cast<const char*>(data) + done, n);
    stream.synchronize();
    digest.add(piece.data(), n);
  }
}

/// One digest for each unit, one behind the other; dashes where this rank shares nothing.
std::string digests_by_unit(const ModelLayout& layout, const ZeroStore& store, const Stream& stream) {
  std::vector<std::optional<Digest>> digests(layout.units.size());
  std::vector<char> piece;
  store.for_each_replica([&](int unit, const void* data, std::int64_t bytes) {
    auto& digest = digests[static_cast<std::size_t>(unit)];
    if (!digest) digest.emplace();
    if (stream.on_device()) {
      add_from_device(*digest, stream, data, bytes, piece);
    } else {
      digest->add(data, bytes);
    }
  });
  std::string text;
  for (const auto& digest : digests) text += digest ? digest->hex() : std::string(digest_letters, '-');
  return text;
}

/// Whether all ranks have the same text, by 63 bits of its digest: the least is the largest.
bool all_equal(Communicator& comm, const std::string& text) {
  const std::string hex = digest_of(text);
  const auto number =
      static_cast<std::int64_t>(std::stoull(hex.substr(0, 16), nullptr, 16) & std::numeric_limits<std::int64_t>::max());
  std::int64_t extremes[2] = {number, -number};
  comm.all_reduce(View(extremes, 2, DType::i64), ReduceOp::min, Stream{}, "replica digests");
  return extremes[0] == -extremes[1];
}

}  // namespace

OddRanks find_odd_ranks(const std::vector<std::string>& digests) {
  std::map<std::string_view, std::size_t> votes;
  for (const auto& digest : digests) ++votes[digest];
  const auto most =
      std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  OddRanks odd;
  odd.majority = most != votes.end() && 2 * most->second > digests.size();
  for (std::size_t r = 0; r < digests.size(); ++r) {
    if (!odd.majority || digests[r] != most->first) odd.ranks.push_back(static_cast<int>(r));
  }
  if (odd.majority || votes.size() > 1) return odd;
  odd.ranks.clear();
  return odd;
}

std::string compare_replicas(Communicator& comm, const ModelLayout& layout, const ZeroStore& store, Device device) {
  if (comm.size() == 1) return {};
  const std::string own = digests_by_unit(layout, store, Stream(device, nullptr));
  if (all_equal(comm, own)) return {};
  const auto all = all_gather_strings(comm, own);
  std::string text;
  std::size_t found = 0;
  for (std::size_t unit = 0; unit < layout.units.size(); ++unit) {
    std::vector<std::string> digests;
    for (const auto& digest : all) digests.push_back(digest.substr(unit * digest_letters, digest_letters));
    const OddRanks odd = find_odd_ranks(digests);
    if (odd.ranks.empty() || ++found > most_units_told) continue;
    text += text.empty() ? "" : "; ";
    if (odd.majority) {
      text += fmt::format("{} of rank {} is not what the other {} ranks hold", layout.units[unit].name,
                          rank_list(odd.ranks), all.size() - odd.ranks.size());
    } else {
      text += fmt::format("{} is not the same on ranks {}, and no majority agrees", layout.units[unit].name,
                          rank_list(odd.ranks));
    }
  }
  if (found > most_units_told) text += fmt::format("; and {} more units", found - most_units_told);
  return text;
}

}  // namespace dstrain
