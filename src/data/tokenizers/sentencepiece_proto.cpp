// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizers/sentencepiece_proto.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "core/error.hpp"
#include "data/tokenizers/unicode.hpp"
#include "data/tokenizers/word_model.hpp"

namespace dstrain {
namespace {

/// Walks over the fields of one message of protobuf's wire format.
class Fields {
 public:
  Fields(std::string_view bytes, const std::string& where) : rest_(bytes), where_(where) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const std::uint64_t tag = varint();
    number_ = tag >> 3U;
    kind_ = static_cast<unsigned>(tag & 7U);
    if (number_ == 0) damaged();
    switch (kind_) {
      case 0:
        number_value_ = varint();
        break;
      case 1:
        bytes_ = take(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        bytes_ = take(4);
        break;
      default:
        damaged();
    }
    return true;
  }

  [[nodiscard]] std::uint64_t field() const noexcept { return number_; }
  [[nodiscard]] std::string_view bytes() const {
    if (kind_ != 2) damaged();
    return bytes_;
  }
  [[nodiscard]] std::uint64_t integer() const {
    if (kind_ != 0) damaged();
    return number_value_;
  }
  [[nodiscard]] float real() const {
    if (kind_ != 5) damaged();
    static_assert(std::endian::native == std::endian::little);
    float value = 0;
    std::memcpy(&value, bytes_.data(), sizeof value);
    return value;
  }

 private:
  [[noreturn]] void damaged() const {
    throw ConfigError("is not a sentencepiece model: it is not a protobuf message of that form", where_);
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) damaged();
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    damaged();
  }
  std::string_view take(std::uint64_t count) {
    if (count > rest_.size()) damaged();
    const auto part = rest_.substr(0, static_cast<std::size_t>(count));
    rest_.remove_prefix(static_cast<std::size_t>(count));
    return part;
  }

  std::string_view rest_;
  const std::string& where_;
  std::uint64_t number_ = 0;
  unsigned kind_ = 0;
  std::uint64_t number_value_ = 0;
  std::string_view bytes_;
};

SentencePieceProto::Piece read_piece(std::string_view bytes, const std::string& where) {
  SentencePieceProto::Piece piece;
  for (Fields fields(bytes, where); fields.next();) {
    switch (fields.field()) {
      case 1:
        piece.text = fields.bytes();
        break;
      case 2:
        piece.score = fields.real();
        break;
      case 3:
        if (fields.integer() < 1 || fields.integer() > 6) {
          throw ConfigError(fmt::format("piece \"{}\" has the type {}", piece.text, fields.integer()), where);
        }
        piece.type = static_cast<SentencePieceProto::Type>(fields.integer());
        break;
      default:
        break;
    }
  }
  return piece;
}

void read_trainer(std::string_view bytes, const std::string& where, SentencePieceProto& proto) {
  for (Fields fields(bytes, where); fields.next();) {
    switch (fields.field()) {
      case 3:
        if (fields.integer() < 1 || fields.integer() > 4) {
          throw ConfigError(fmt::format("model_type {} is not known", fields.integer()), where);
        }
        proto.algorithm = static_cast<SentencePieceProto::Algorithm>(fields.integer());
        break;
      case 24:
        proto.treat_whitespace_as_suffix = fields.integer() != 0;
        break;
      case 35:
        proto.byte_fallback = fields.integer() != 0;
        break;
      case 44:
        proto.unk_surface = fields.bytes();
        break;
      case 45:
        proto.unk_piece = fields.bytes();
        break;
      case 46:
        proto.bos_piece = fields.bytes();
        break;
      case 47:
        proto.eos_piece = fields.bytes();
        break;
      case 48:
        proto.pad_piece = fields.bytes();
        break;
      default:
        break;
    }
  }
}

void read_normalizer(std::string_view bytes, const std::string& where, SentencePieceProto::Normalizer& normalizer) {
  for (Fields fields(bytes, where); fields.next();) {
    switch (fields.field()) {
      case 2:
        normalizer.precompiled_charsmap = fields.bytes();
        break;
      case 3:
        normalizer.add_dummy_prefix = fields.integer() != 0;
        break;
      case 4:
        normalizer.remove_extra_whitespaces = fields.integer() != 0;
        break;
      case 5:
        normalizer.escape_whitespaces = fields.integer() != 0;
        break;
      default:
        break;
    }
  }
}

void check(SentencePieceProto& proto, const std::string& where) {
  using Type = SentencePieceProto::Type;
  if (proto.pieces.empty()) throw ConfigError("is not a sentencepiece model: it has no pieces", where);
  if (proto.pieces.size() > static_cast<std::size_t>(max_vocabulary)) {
    throw ConfigError(fmt::format("{} pieces; at most {} are read", proto.pieces.size(), max_vocabulary), where);
  }
  std::unordered_set<std::string_view> seen;
  std::array<bool, 256> bytes{};
  std::size_t byte_count = 0;
  for (std::size_t id = 0; id < proto.pieces.size(); ++id) {
    const auto& piece = proto.pieces[id];
    const auto refuse = [&](std::string_view why) {
      throw ConfigError(fmt::format("piece {} (\"{}\") {}", id, piece.text, why), where);
    };
    if (piece.text.empty()) refuse("is empty");
    if (!unicode::is_valid_utf8(piece.text)) refuse("is not UTF-8");
    if (!std::isfinite(piece.score)) refuse("has a score that is not finite");
    if (!seen.insert(piece.text).second) refuse("stands there twice");
    if (piece.type == Type::unknown) {
      if (proto.unk_id >= 0) refuse("is a second unknown piece");
      proto.unk_id = static_cast<std::int32_t>(id);
    }
    if (piece.type != Type::byte) continue;
    const int byte = byte_of_piece(piece.text);
    if (byte < 0 || !proto.byte_fallback) refuse("is a byte piece that cannot be one");
    byte_count += bytes[static_cast<std::size_t>(byte)] ? 0 : 1;
    bytes[static_cast<std::size_t>(byte)] = true;
  }
  if (proto.unk_id < 0) throw ConfigError("has no unknown piece", where);
  if (proto.byte_fallback && byte_count != bytes.size()) {
    throw ConfigError(fmt::format("byte_fallback, but only {} of 256 byte pieces", byte_count), where);
  }
}

}  // namespace

int byte_of_piece(std::string_view piece) noexcept {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

bool looks_like_sentencepiece(std::string_view bytes) {
  // pieces, trainer_spec, normalizer_spec, self_test_data or denormalizer_spec, each a message
  return !bytes.empty() && (bytes[0] & 7) == 2 && (bytes[0] >> 3) >= 1 && (bytes[0] >> 3) <= 5;
}

SentencePieceProto parse_sentencepiece(std::string_view bytes, const std::string& where) {
  SentencePieceProto proto;
  SentencePieceProto::Normalizer denormalizer;
  for (Fields fields(bytes, where); fields.next();) {
    switch (fields.field()) {
      case 1:
        proto.pieces.push_back(read_piece(fields.bytes(), where));
        break;
      case 2:
        read_trainer(fields.bytes(), where, proto);
        break;
      case 3:
        read_normalizer(fields.bytes(), where, proto.normalizer);
        break;
      case 5:
        read_normalizer(fields.bytes(), where, denormalizer);
        break;
      default:
        break;
    }
  }
  proto.denormalizer_charsmap = std::move(denormalizer.precompiled_charsmap);
  check(proto, where);
  return proto;
}

}  // namespace dstrain
