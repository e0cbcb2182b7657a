// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a token cache: as they are, and with the checksums set right, as somebody who wants to do harm would.
#include <xxhash.h>

#include <cstring>
#include <vector>

#include "data/token_store.hpp"
#include "fuzz.hpp"

namespace {

/// Reads everything that a run would.
void read_all(std::vector<std::byte> image) {
  dstrain::fuzz::refuse_or_survive([&] {
    const auto store = dstrain::TokenStore::from_image(std::move(image), "");
    std::vector<std::int32_t> scratch;
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < store->info().rows; ++i) {
      const auto row = store->row(i, scratch);
      for (const auto& part : {row.input_ids, row.labels, row.second_input_ids, row.second_labels, row.sample_lens}) {
        for (const auto id : part) sum += id;
      }
      sum += store->row_tokens(i) + store->row_samples(i);
    }
    [[maybe_unused]] static volatile std::int64_t sink;
    sink = sum;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> image(bytes, bytes + size);
  read_all(image);
  TokenImageHeader header;
  if (image.size() < sizeof header) return 0;
  std::memcpy(&header, image.data(), sizeof header);
  std::memcpy(header.magic, token_image_magic, sizeof header.magic);
  header.version = token_image_version;
  header.body_checksum = XXH3_64bits(image.data() + sizeof header, image.size() - sizeof header);
  header.header_checksum = header_checksum(header);
  std::memcpy(image.data(), &header, sizeof header);
  read_all(std::move(image));
  return 0;
}
