// SPDX-License-Identifier: Apache-2.0
#include "io/weights/weight_source.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "core/error.hpp"

namespace dstrain {

std::vector<std::int32_t> match_tensors(const WeightSource& source, std::span<const TensorInfo> wanted) {
  std::unordered_map<std::string_view, std::int32_t> index;
  for (std::size_t i = 0; i < source.tensors().size(); ++i) {
    index.emplace(source.tensors()[i].name, static_cast<std::int32_t>(i));
  }
  std::vector<std::int32_t> found;
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;
  for (const auto& tensor : wanted) {
    const auto entry = index.find(tensor.name);
    if (entry == index.end()) {
      missing.push_back(tensor.name);
      continue;
    }
    const auto& there = source.tensors()[static_cast<std::size_t>(entry->second)];
    if (there.shape != tensor.shape) {
      misshapen.push_back(fmt::format("\"{}\" is {} in the file, {} in the model", tensor.name, shape_text(there.shape),
                                      shape_text(tensor.shape)));
    }
    found.push_back(entry->second);
  }
  if (missing.empty() && misshapen.empty()) return found;
  std::string what;
  if (!missing.empty()) {
    what = fmt::format("{} of {} tensors are missing, e.g. \"{}\"", missing.size(), wanted.size(), missing.front());
  }
  if (!misshapen.empty()) {
    what += fmt::format("{}{} tensors have another shape: {}", what.empty() ? "" : "; ", misshapen.size(),
                        misshapen.front());
  }
  throw IoError(what, source.where(),
                source.tensors().empty()
                    ? "the file holds no tensors"
                    : fmt::format("the file's names look like \"{}\"; does config.json belong to these weights?",
                                  source.tensors().front().name));
}

std::vector<std::string> unused_tensors(const WeightSource& source, std::span<const TensorInfo> wanted) {
  std::unordered_set<std::string_view> names;
  for (const auto& tensor : wanted) names.insert(tensor.name);
  std::vector<std::string> unused;
  for (const auto& tensor : source.tensors()) {
    if (!names.contains(tensor.name)) unused.push_back(tensor.name);
  }
  return unused;
}

void copy_weights(const WeightSource& source, std::span<const TensorInfo> wanted, WeightSink& sink,
                  std::span<float> scratch) {
  DSTRAIN_CHECK(!scratch.empty(), "copying weights needs a scratch buffer");
  const auto found = match_tensors(source, wanted);
  const auto piece = static_cast<std::int64_t>(scratch.size());
  for (std::size_t t = 0; t < wanted.size(); ++t) {
    const auto count = wanted[t].count();
    for (std::int64_t begin = 0; begin < count; begin += piece) {
      const auto n = std::min(piece, count - begin);
      source.read(found[t], begin, n, scratch.data());
      sink.write(static_cast<std::int32_t>(t), begin, n, scratch.data());
    }
  }
  sink.commit();
}

}  // namespace dstrain
