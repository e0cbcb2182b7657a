// SPDX-License-Identifier: Apache-2.0
#include "cluster/meeting/protocol.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace dstrain {
namespace {

constexpr std::string_view magic = "dstrain meeting 1\n";
constexpr std::size_t code_bytes = 32;
constexpr std::size_t nonce_bytes = 32;
constexpr std::size_t most_text = 1024;
constexpr std::size_t most_entries = 4096;
constexpr char welcome_byte = 'W';
constexpr char refused_byte = 'R';
constexpr char wrong_token_byte = 'T';

std::string_view text_of(const Sha256Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// The code of a piece of the handshake: both nonces are in it, and what the piece is for.
Sha256Bytes handshake_code(const std::string& token, std::string_view purpose, std::string_view host_nonce,
                           std::string_view visitor_nonce, std::string_view body) {
  std::string message(purpose);
  message += '\0';
  message.append(host_nonce).append(visitor_nonce).append(body);
  return hmac_sha256(token, message);
}

void put(std::string& out, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(number >> shift & 255);
}

void put(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::uint32_t number() {
    if (rest_.size() < 4) throw MeetingError("a node's card is cut off");
    std::uint32_t value = 0;
    for (const char c : rest_.substr(0, 4)) value = value << 8 | static_cast<std::uint8_t>(c);
    rest_.remove_prefix(4);
    return value;
  }

  std::uint32_t number_up_to(std::uint32_t most) {
    const auto value = number();
    if (value > most) throw MeetingError("a number on a node's card is too large");
    return value;
  }

  std::string text() {
    const auto size = number();
    if (size > most_text || size > rest_.size()) throw MeetingError("a text on a node's card is too long");
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    // It is printed: nothing that moves a terminal's cursor.
    std::ranges::replace_if(
        value, [](unsigned char c) { return c < 32 || c == 127; }, '?');
    return value;
  }

  void end() const {
    if (!rest_.empty()) throw MeetingError("a node's card has something behind its end");
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string encode(const NodeCard& card) {
  std::string out;
  put(out, static_cast<std::uint32_t>(card.node_rank + 1));
  put(out, static_cast<std::uint32_t>(card.nodes));
  for (const auto* text : {&card.host, &card.machine, &card.version, &card.job})
    put(out, std::string_view(*text).substr(0, most_text));
  put(out, static_cast<std::uint32_t>(card.devices.size()));
  for (const int device : card.devices) put(out, static_cast<std::uint32_t>(device));
  const auto interfaces = std::min(card.interfaces.size(), most_entries / 16);
  put(out, static_cast<std::uint32_t>(interfaces));
  for (std::size_t i = 0; i < interfaces; ++i) {
    put(out, card.interfaces[i].name);
    put(out, card.interfaces[i].address);
    put(out, static_cast<std::uint32_t>(card.interfaces[i].prefix));
  }
  return out;
}

NodeCard decode_card(std::string_view bytes) {
  Reader in(bytes);
  NodeCard card;
  card.node_rank = static_cast<int>(in.number_up_to(1 << 20)) - 1;
  card.nodes = static_cast<int>(in.number_up_to(1 << 20));
  for (auto* text : {&card.host, &card.machine, &card.version, &card.job}) *text = in.text();
  for (auto count = in.number_up_to(most_entries); count > 0; --count)
    card.devices.push_back(static_cast<int>(in.number_up_to(1 << 20)));
  for (auto count = in.number_up_to(most_entries); count > 0; --count) {
    Interface interface;
    interface.name = in.text();
    interface.address = in.number();
    interface.prefix = static_cast<int>(in.number_up_to(32));
    card.interfaces.push_back(std::move(interface));
  }
  in.end();
  return card;
}

std::optional<std::string> FrameReader::next() {
  if (buffer_.size() < 4) return std::nullopt;
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<std::uint8_t>(buffer_[i]);
  if (size > most_bytes_) throw MeetingError(fmt::format("a message of {} bytes", size));
  if (buffer_.size() - 4 < size) return std::nullopt;
  std::string piece = buffer_.substr(4, size);
  buffer_.erase(0, size + 4);
  return piece;
}

std::string framed(std::string_view piece) {
  std::string out;
  put(out, piece);
  return out;
}

std::string encode(const MeetingMessage& message) { return static_cast<char>(message.type) + message.text; }

MeetingMessage decode_message(std::string_view bytes) {
  constexpr std::string_view known = "SKDOEXG";
  if (bytes.empty() || known.find(bytes.front()) == std::string_view::npos)
    throw MeetingError("a message of a kind that there is not");
  return {static_cast<MessageType>(bytes.front()), std::string(bytes.substr(1))};
}

std::string code_text(int code) { return std::to_string(code); }

int parse_code(std::string_view text) {
  int code = -1;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  if (error != std::errc() || code < 0 || code > 255) throw MeetingError("an exit code that is none");
  (void)stopped;
  return code;
}

Session::Session(const Sha256Bytes& key, bool is_host)
    : key_(text_of(key)), out_(is_host ? 'h' : 'v'), in_(is_host ? 'v' : 'h') {}

Sha256Bytes Session::code_of(char direction, std::uint64_t number, std::string_view bytes) const {
  std::string message(1, direction);
  put(message, static_cast<std::uint32_t>(number >> 32));
  put(message, static_cast<std::uint32_t>(number));
  message.append(bytes);
  return hmac_sha256(key_, message);
}

std::string Session::seal(const MeetingMessage& message) {
  std::string bytes = encode(message);
  const auto code = code_of(out_, sent_++, bytes);
  return framed(bytes.append(text_of(code)));
}

std::optional<MeetingMessage> Session::next() {
  const auto piece = reader_.next();
  if (!piece) return std::nullopt;
  if (piece->size() < code_bytes) throw MeetingError("a message without its code");
  const std::string_view bytes = std::string_view(*piece).substr(0, piece->size() - code_bytes);
  const auto code = code_of(in_, received_++, bytes);
  if (!equal_in_constant_time(code, bytes_of(std::string_view(*piece).substr(bytes.size()))))
    throw MeetingError("a message with a wrong code");
  return decode_message(bytes);
}

std::string Doorkeeper::greeting() const { return std::string(magic).append(text_of(nonce_)); }

std::optional<NodeCard> Doorkeeper::next() {
  const auto piece = reader_.next();
  if (!piece) return std::nullopt;
  if (piece->size() < nonce_bytes + code_bytes) throw MeetingError("a hello that is too short");
  const std::string_view hello = *piece;
  const auto visitor_nonce = hello.substr(0, nonce_bytes);
  const auto card = hello.substr(nonce_bytes, hello.size() - nonce_bytes - code_bytes);
  const auto code = handshake_code(token_, "hello", text_of(nonce_), visitor_nonce, card);
  if (!equal_in_constant_time(code, bytes_of(hello.substr(hello.size() - code_bytes)))) throw WrongToken("wrong token");
  visitor_nonce_ = visitor_nonce;
  return decode_card(card);
}

std::string Doorkeeper::reply(std::string_view refusal) const {
  std::string body(1, refusal.empty() ? welcome_byte : refused_byte);
  body.append(refusal);
  const auto code = handshake_code(token_, "reply", text_of(nonce_), visitor_nonce_, body);
  return framed(body.append(text_of(code)));
}

Session Doorkeeper::session() {
  Session session(handshake_code(token_, "session", text_of(nonce_), visitor_nonce_, {}), true);
  session.feed(reader_.take_rest());
  return session;
}

std::string wrong_token_reply() { return framed(std::string(1, wrong_token_byte)); }

std::string Visitor::feed(std::string_view bytes) {
  if (welcome_ || !refusal_.empty()) throw MeetingError("the host speaks out of turn");
  std::string to_send;
  if (host_nonce_.empty()) {
    greeting_.append(bytes);
    const auto known = std::min(greeting_.size(), magic.size());
    if (greeting_.compare(0, known, magic, 0, known) != 0)
      throw MeetingError("something else than dstrain answers there");
    if (greeting_.size() < magic.size() + nonce_bytes) return {};
    host_nonce_ = greeting_.substr(magic.size(), nonce_bytes);
    reader_.feed(greeting_.substr(magic.size() + nonce_bytes));
    const auto code = handshake_code(token_, "hello", host_nonce_, text_of(nonce_), card_);
    to_send = framed(std::string(text_of(nonce_)).append(card_).append(text_of(code)));
  } else {
    reader_.feed(bytes);
  }
  const auto piece = reader_.next();
  if (!piece) return to_send;
  if (piece->size() == 1 && piece->front() == wrong_token_byte) throw WrongToken("wrong token");
  if (piece->size() < 1 + code_bytes) throw MeetingError("a reply that is too short");
  const std::string_view body = std::string_view(*piece).substr(0, piece->size() - code_bytes);
  const auto code = handshake_code(token_, "reply", host_nonce_, text_of(nonce_), body);
  if (!equal_in_constant_time(code, bytes_of(std::string_view(*piece).substr(body.size()))))
    throw WrongToken("the host does not have this node's token");
  if (body.front() == welcome_byte && body.size() == 1) {
    welcome_ = true;
  } else if (body.front() == refused_byte && body.size() > 1) {
    refusal_ = body.substr(1);
  } else {
    throw MeetingError("a reply that is neither yes nor no");
  }
  return to_send;
}

Session Visitor::session() {
  Session session(handshake_code(token_, "session", host_nonce_, text_of(nonce_), {}), false);
  session.feed(reader_.take_rest());
  return session;
}

}  // namespace dstrain
