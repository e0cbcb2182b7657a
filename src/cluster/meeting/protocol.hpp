// SPDX-License-Identifier: Apache-2.0
/// What nodes say to each other when they meet without ssh: bytes in, messages out, no sockets.
///
/// The host of a meeting greets with a nonce. A visitor answers with its own nonce, its card and a code over all of it
/// (HMAC-SHA256 with the token as key), so the token itself never travels and an overheard answer is of no use twice.
/// The host's reply carries such a code too, since a node will run what the host sends. Afterwards every message has a
/// code made with a key of this connection, its direction and its number. All lengths are bounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/launch/network.hpp"
#include "core/error.hpp"
#include "core/sha256.hpp"

namespace dstrain {

/// The other side does not speak as it should: the connection is closed.
class MeetingError : public Error {
  using Error::Error;
};

/// What a node says of itself.
struct NodeCard {
  int node_rank = -1;  ///< -1: any that is free
  int nodes = 0;       ///< how many it was told that there are
  std::string host;
  std::string machine;       ///< the same for two nodes exactly where they share machine and network
  std::string version;       ///< of dstrain
  std::string job;           ///< --rdzv_id
  std::vector<int> devices;  ///< one rank each
  std::vector<Interface> interfaces;

  friend bool operator==(const NodeCard&, const NodeCard&) = default;
};

inline constexpr std::size_t most_hello_bytes = 64 << 10;
inline constexpr std::size_t most_message_bytes = 1 << 20;

std::string encode(const NodeCard& card);
/// @throws MeetingError  not encode()'s, or beyond a bound
NodeCard decode_card(std::string_view bytes);

/// Cuts a stream into pieces with a length in front.
class FrameReader {
 public:
  explicit FrameReader(std::size_t most_bytes) : most_bytes_(most_bytes) {}
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  /// The next whole piece; none where more bytes are needed. @throws MeetingError  a piece longer than allowed
  std::optional<std::string> next();
  /// What came behind the last piece.
  std::string take_rest() { return std::exchange(buffer_, {}); }
  void set_limit(std::size_t most_bytes) noexcept { most_bytes_ = most_bytes; }

 private:
  std::string buffer_;
  std::size_t most_bytes_;
};

/// `piece` with its length in front.
std::string framed(std::string_view piece);

enum class MessageType : std::uint8_t {
  start = 'S',  ///< host to node: run this command. Agent to host: node's name, a zero byte, the command
  kill = 'K',   ///< host to node: end what runs
  done = 'D',   ///< host to node: the job is over; exit code, then a reason or nothing
  out = 'O',    ///< node to host: what the command wrote on stdout
  error = 'E',  ///< node to host: on stderr
  exit = 'X',   ///< node to host: the command ended; exit code
  stop = 'G'    ///< node to host: the job is to end after a checkpoint
};

struct MeetingMessage {
  MessageType type = MessageType::kill;
  std::string text;
};

/// A message to bytes and back. @throws MeetingError  an empty piece or an unknown type
std::string encode(const MeetingMessage& message);
MeetingMessage decode_message(std::string_view bytes);
/// A number as text: exit codes. @throws MeetingError  none from 0 to 255
std::string code_text(int code);
int parse_code(std::string_view text);

/// Messages of one connection after the welcome, each with its code.
class Session {
 public:
  Session(const Sha256Bytes& key, bool is_host);
  std::string seal(const MeetingMessage& message);
  void feed(std::string_view bytes) { reader_.feed(bytes); }
  /// @throws MeetingError  a wrong code: bytes of somebody else
  std::optional<MeetingMessage> next();

 private:
  [[nodiscard]] Sha256Bytes code_of(char direction, std::uint64_t number, std::string_view bytes) const;

  std::string key_;
  char out_, in_;
  std::uint64_t sent_ = 0, received_ = 0;
  FrameReader reader_{most_message_bytes};
};

/// The host's side of a connection until the visitor is known.
class Doorkeeper {
 public:
  Doorkeeper(std::string token, const Sha256Bytes& nonce) : token_(std::move(token)), nonce_(nonce) {}
  /// What to send first.
  [[nodiscard]] std::string greeting() const;
  void feed(std::string_view bytes) { reader_.feed(bytes); }
  /// The visitor's card once it has come, and only where the visitor has the token.
  /// @throws MeetingError  what came is no hello; WrongToken
  std::optional<NodeCard> next();
  /// The bytes of a reply, after a card: welcome where `refusal` is empty.
  [[nodiscard]] std::string reply(std::string_view refusal) const;
  /// After reply(""): the messages that follow.
  [[nodiscard]] Session session();

 private:
  std::string token_;
  Sha256Bytes nonce_;
  std::string visitor_nonce_;
  FrameReader reader_{most_hello_bytes};
};

/// The visitor does not have the host's token.
class WrongToken : public MeetingError {
  using MeetingError::MeetingError;
};

/// What the host sends to one without the token, before it closes.
std::string wrong_token_reply();

/// The visitor's side until it is welcome.
class Visitor {
 public:
  Visitor(std::string token, const Sha256Bytes& nonce, const NodeCard& card)
      : token_(std::move(token)), nonce_(nonce), card_(encode(card)) {}

  /// @return bytes to send, or nothing
  /// @throws MeetingError  the other side is no host of a meeting; WrongToken
  std::string feed(std::string_view bytes);
  [[nodiscard]] bool is_welcome() const noexcept { return welcome_; }
  /// Why the host, which has the token, does not let this node in; empty where it has not said so.
  [[nodiscard]] const std::string& refusal() const noexcept { return refusal_; }
  [[nodiscard]] Session session();

 private:
  std::string greeting_;
  std::string token_;
  Sha256Bytes nonce_;
  std::string card_;
  std::string host_nonce_;
  FrameReader reader_{most_hello_bytes};
  bool welcome_ = false;
  std::string refusal_;
};

}  // namespace dstrain
