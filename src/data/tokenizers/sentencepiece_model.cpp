// SPDX-License-Identifier: Apache-2.0
/// tokenizer.model files of sentencepiece.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/error.hpp"
#include "data/tokenizers/bpe.hpp"
#include "data/tokenizers/load.hpp"
#include "data/tokenizers/normalizers.hpp"
#include "data/tokenizers/sentencepiece_normalizer.hpp"
#include "data/tokenizers/sentencepiece_proto.hpp"
#include "data/tokenizers/text_model.hpp"
#include "data/tokenizers/unicode.hpp"
#include "data/tokenizers/unigram.hpp"

namespace dstrain {
namespace {

constexpr const char* model_file = "tokenizer.model";
constexpr std::string_view mark = "\xE2\x96\x81";
using Type = SentencePieceProto::Type;

Vocabulary::Entries entries_of(const SentencePieceProto& proto) {
  Vocabulary::Entries entries;
  entries.reserve(proto.pieces.size());
  for (const auto& piece : proto.pieces) entries.emplace_back(piece.text, static_cast<std::int32_t>(entries.size()));
  return entries;
}

/// Higher scores first; equal scores have equal ranks, so that the leftmost of them merges first.
std::unique_ptr<const WordModel> make_bpe(const SentencePieceProto& proto) {
  std::set<float, std::greater<>> scores;
  for (const auto& piece : proto.pieces) scores.insert(piece.score);
  std::unordered_map<float, std::uint32_t> rank_of;
  for (const float score : scores) rank_of.emplace(score, static_cast<std::uint32_t>(rank_of.size()));
  BpeDefinition bpe;
  Vocabulary::Entries mergeable;
  std::vector<std::uint32_t> ranks;
  bpe.vocab = entries_of(proto);
  for (std::size_t id = 0; id < proto.pieces.size(); ++id) {
    const auto& piece = proto.pieces[id];
    if (piece.type == Type::user_defined) bpe.whole.push_back(static_cast<std::int32_t>(id));
    if (piece.type != Type::normal || proto.algorithm == SentencePieceProto::Algorithm::character) continue;
    mergeable.push_back(bpe.vocab[id]);
    ranks.push_back(rank_of.at(piece.score));
  }
  bpe.loose = loose_characters(bpe.vocab, mergeable);
  for (std::size_t i = 0; i < bpe.loose.size(); ++i) {
    mergeable.emplace_back(bpe.loose[i], static_cast<std::int32_t>(bpe.vocab.size() + i));
    ranks.push_back(0);
  }
  bpe.merges = merges_by_token(mergeable, ranks, model_file);
  bpe.unk_token = proto.pieces[static_cast<std::size_t>(proto.unk_id)].text;
  bpe.fuse_unk = true;
  bpe.byte_fallback = proto.byte_fallback;
  return std::make_unique<BpeModel>(std::move(bpe), model_file);
}

std::unique_ptr<const WordModel> make_unigram(const SentencePieceProto& proto) {
  UnigramDefinition unigram;
  for (const auto& piece : proto.pieces) {
    unigram.pieces.emplace_back(piece.text, static_cast<double>(piece.score));
    unigram.counts_for_unknown.push_back(piece.type == Type::normal);
    unigram.searched.push_back(piece.type == Type::normal || piece.type == Type::user_defined);
    unigram.user_defined.push_back(piece.type == Type::user_defined);
  }
  unigram.unk_id = proto.unk_id;
  unigram.byte_fallback = proto.byte_fallback;
  unigram.single_precision = true;
  return std::make_unique<UnigramModel>(std::move(unigram), model_file);
}

std::unique_ptr<const WordModel> make_model(const SentencePieceProto& proto) {
  switch (proto.algorithm) {
    case SentencePieceProto::Algorithm::bpe:
    case SentencePieceProto::Algorithm::character:  // nothing merges
      return make_bpe(proto);
    case SentencePieceProto::Algorithm::unigram:
      return make_unigram(proto);
    case SentencePieceProto::Algorithm::word:
      throw ConfigError("model_type WORD is not supported", model_file, "BPE, Unigram and CHAR models are");
  }
  throw ConfigError("model_type is not known", model_file);
}

/// Encodes as the sentencepiece library does (0.2), and as the classes around it: see SentencePieceFamily.
class SentencePieceModel final : public TextModel {
 public:
  SentencePieceModel(SentencePieceProto proto, SentencePieceFamily family)
      : proto_(std::move(proto)),
        family_(std::move(family)),
        normalizer_(proto_, model_file),
        model_(make_model(proto_)) {
    if (!proto_.denormalizer_charsmap.empty()) denormalizer_.emplace(proto_.denormalizer_charsmap, model_file);
  }

  std::string normalize(std::string_view text) const override { return std::string(text); }

  std::optional<std::string> prepared(std::string_view text) const override {
    if (family_.legacy || text.empty()) return std::nullopt;
    std::string out(family_.add_prefix_space ? mark : "");
    return out + pipeline::replace_all({.pattern = {}, .literal = std::string(mark), .content = " "}, text);
  }

  std::int32_t lead_id() const override {
    return family_.legacy || !family_.add_prefix_space ? -1 : model_->vocabulary().find(mark);
  }

  void encode(std::string_view text, bool /*at_start*/, std::vector<std::int32_t>& ids) const override {
    SentencePieceNormalizer::Options options;
    options.add_dummy_prefix = proto_.normalizer.add_dummy_prefix && family_.legacy;
    options.keep_leading_blanks = !family_.legacy && (text.starts_with(' ') || text.starts_with(mark));
    model_->encode(normalizer_.normalize(text, options), ids);
  }

  std::string join(std::vector<DecodedToken> tokens) const override {
    std::string out;
    std::vector<std::int32_t> run;
    const auto flush = [&] {
      out += decode_run(run);
      run.clear();
    };
    for (const auto& token : tokens) {
      if (!token.added && token.id < own_size()) {
        run.push_back(token.id);
      } else {
        flush();
        out += token.text;
      }
    }
    flush();
    return out;
  }

  std::int32_t size() const override { return own_size() + static_cast<std::int32_t>(family_.extra_tokens.size()); }

  std::optional<std::int32_t> find(std::string_view token) const override {
    if (const std::int32_t id = model_->vocabulary().find(token); id >= 0) return id;
    const auto& extra = family_.extra_tokens;
    const auto it = std::find(extra.begin(), extra.end(), token);
    if (it == extra.end()) return std::nullopt;
    return own_size() + static_cast<std::int32_t>(it - extra.begin());
  }

  std::string token(std::int32_t id) const override {
    if (id < 0 || id >= size()) return {};
    if (id < own_size()) return std::string(model_->vocabulary().token(id));
    return family_.extra_tokens[static_cast<std::size_t>(id - own_size())];
  }

 private:
  [[nodiscard]] std::int32_t own_size() const { return model_->vocabulary().size(); }

  /// SentencePieceProcessor::Decode: control pieces vanish, byte pieces become characters, the blank that was put in
  /// front is taken away.
  [[nodiscard]] std::string decode_run(const std::vector<std::int32_t>& ids) const {
    std::string out;
    std::string bytes;
    bool at_start = true;
    const auto flush_bytes = [&] {
      out += unicode::replace_each_invalid_byte(bytes);
      bytes.clear();
    };
    for (const std::int32_t id : ids) {
      const auto& piece = proto_.pieces[static_cast<std::size_t>(id)];
      if (piece.type == Type::byte) {
        bytes += static_cast<char>(byte_of_piece(piece.text));
        continue;
      }
      flush_bytes();
      append_piece(piece, at_start && out.empty(), at_start, out);
    }
    flush_bytes();
    if (!denormalizer_) return out;
    std::string denormalized;
    for (std::size_t pos = 0; pos < out.size();) {
      const std::string_view rest = std::string_view(out).substr(pos);
      std::size_t length = 0;
      if (const auto rule = denormalizer_->longest(rest, length)) {
        denormalized += *rule;
        pos += length;
      } else {
        const std::size_t begin = pos;
        unicode::next_code_point(out, pos);
        denormalized.append(out, begin, pos - begin);
      }
    }
    return denormalized;
  }

  void append_piece(const SentencePieceProto::Piece& piece, bool expects_blank, bool& at_start,
                    std::string& out) const {
    if (piece.type == Type::control) return;
    if (piece.type == Type::unknown) {
      out += proto_.unk_surface;
      return;
    }
    const auto& normalizer = proto_.normalizer;
    std::string_view text = piece.text;
    if (expects_blank && (normalizer.add_dummy_prefix || normalizer.remove_extra_whitespaces) &&
        text.starts_with(mark)) {
      text.remove_prefix(mark.size());
      // Where runs of blanks were removed, all of those in front go; else the one that was put there.
      at_start = normalizer.remove_extra_whitespaces;
    }
    while (!text.empty()) {
      const auto at = text.find(mark);
      out += text.substr(0, at);
      if (at == std::string_view::npos) break;
      out += ' ';
      text.remove_prefix(at + mark.size());
    }
  }

  SentencePieceProto proto_;
  SentencePieceFamily family_;
  SentencePieceNormalizer normalizer_;
  std::unique_ptr<const WordModel> model_;
  std::optional<Charsmap> denormalizer_;
};

}  // namespace

std::unique_ptr<const TextModel> read_sentencepiece(std::string_view bytes, SentencePieceFamily family) {
  return std::make_unique<SentencePieceModel>(parse_sentencepiece(bytes, model_file), std::move(family));
}

SentencePieceTokens sentencepiece_tokens(std::string_view bytes) {
  const SentencePieceProto proto = parse_sentencepiece(bytes, model_file);
  SentencePieceTokens tokens;
  tokens.unk = proto.pieces[static_cast<std::size_t>(proto.unk_id)].text;
  for (const auto& piece : proto.pieces) {
    if (piece.type != Type::control) continue;
    if (piece.text == proto.bos_piece) tokens.bos = piece.text;
    if (piece.text == proto.eos_piece) tokens.eos = piece.text;
    if (piece.text == proto.pad_piece) tokens.pad = piece.text;
  }
  return tokens;
}

}  // namespace dstrain
