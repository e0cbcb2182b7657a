// SPDX-License-Identifier: Apache-2.0
/// sentencepiece's ModelProto, as far as encoding and decoding need it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dstrain {

/// Names, defaults and meaning are those of sentencepiece_model.proto.
struct SentencePieceProto {
  enum class Type : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  enum class Algorithm : std::uint8_t { unigram = 1, bpe = 2, word = 3, character = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::normal;
  };
  struct Normalizer {
    std::string precompiled_charsmap;
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
  };

  std::vector<Piece> pieces;
  Algorithm algorithm = Algorithm::unigram;
  bool treat_whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::string unk_surface = " \xE2\x81\x87 ";
  std::string unk_piece = "<unk>", bos_piece = "<s>", eos_piece = "</s>", pad_piece = "<pad>";
  Normalizer normalizer;
  std::string denormalizer_charsmap;

  std::int32_t unk_id = -1;  ///< the piece of type unknown
};

/// True where `bytes` could be a model: its first field is one of ModelProto's. Cheap, no more than a look.
bool looks_like_sentencepiece(std::string_view bytes);

/// Reads and checks a model: UTF-8, finite scores, no piece twice, one unknown piece, all bytes where byte_fallback
/// says so. Unknown fields are skipped; a message given in parts is merged, as protobuf does. Local. @throws
/// ConfigError  with the place in the file
SentencePieceProto parse_sentencepiece(std::string_view bytes, const std::string& where);

/// The byte of a piece "<0xNN>"; -1 for any other.
int byte_of_piece(std::string_view piece) noexcept;

}  // namespace dstrain
