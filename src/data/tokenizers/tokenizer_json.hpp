// SPDX-License-Identifier: Apache-2.0
/// The parts of a tokenizer.json, each read by its own function. For .cpp files of this folder: it pulls simdjson in.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/json.hpp"
#include "data/tokenizers/decoders.hpp"
#include "data/tokenizers/load.hpp"
#include "data/tokenizers/normalizers.hpp"
#include "data/tokenizers/pre_tokenizers.hpp"
#include "data/tokenizers/word_model.hpp"

namespace dstrain::tokenizer_json {

inline constexpr const char* file_name = "tokenizer.json";

/// @throws ConfigError  always: names what is not supported
[[noreturn]] void unsupported(std::string_view section, std::string_view what);

/// "type" of a component. @throws ConfigError  it has none
std::string type_of(const json_read::element& value, std::string_view section);

/// Calls `read` for a component or, for a Sequence (also one inside another), for each of its members.
template <typename Read>
void for_each_component(const json_read::element& value, std::string_view section, const char* members,
                        const Read& read) {
  if (type_of(value, section) != "Sequence") return read(value);
  const auto list = json_read::array_member(value, members, file_name);
  if (!list) throw ConfigError(fmt::format("{}: a Sequence without \"{}\"", section, members), file_name);
  for (const auto member : *list) for_each_component(member, section, members, read);
}

// The sections of the root object; an absent one is empty. All @throws ConfigError.
std::vector<pipeline::Normalizer> read_normalizers(const json_read::element& root);
std::vector<pipeline::PreTokenizer> read_pre_tokenizers(const json_read::element& root);
std::vector<pipeline::Decoder> read_decoders(const json_read::element& root);
/// Fills prefix_ids and suffix_ids.
void read_post_processor(const json_read::element& root, TokenizerJson& out);
/// `raw_bytes`: pieces come as bytes, not written in the byte-level alphabet; see can_take_raw_bytes().
std::unique_ptr<const WordModel> read_model(const json_read::element& root, bool raw_bytes);
/// True where the model is a BPE whose symbols are single bytes whichever way they are written.
bool can_take_raw_bytes(const json_read::element& root);

}  // namespace dstrain::tokenizer_json
