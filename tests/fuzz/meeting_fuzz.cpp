// SPDX-License-Identifier: Apache-2.0
/// Any bytes at every place where a meeting reads: refused, and nobody is let in, believed or obeyed without the token.
#include <cstdlib>

#include "cluster/launch/network.hpp"
#include "cluster/meeting/guests.hpp"
#include "cluster/meeting/protocol.hpp"
#include "fuzz.hpp"

namespace {

using namespace dstrain;

constexpr const char* token = "what nobody outside can know";

Sha256Bytes nonce(std::uint8_t fill) {
  Sha256Bytes bytes;
  bytes.fill(fill);
  return bytes;
}

/// In two pieces, as a network would.
template <typename Reader>
void feed_in_pieces(Reader& reader, std::string_view bytes, std::size_t first) {
  reader.feed(bytes.substr(0, first));
  (void)reader.next();
  reader.feed(bytes.substr(first));
}

void as_visitor(std::string_view bytes, std::size_t first) {
  Doorkeeper door(token, nonce(1));
  fuzz::refuse_or_survive([&] {
    feed_in_pieces(door, bytes, first);
    if (door.next()) std::abort();  // let in without the token
  });
}

void as_host(std::string_view bytes, std::size_t first) {
  Visitor visitor(token, nonce(2), {});
  fuzz::refuse_or_survive([&] {
    (void)visitor.feed(bytes.substr(0, first));
    (void)visitor.feed(bytes.substr(first));
  });
  if (visitor.is_welcome() || !visitor.refusal().empty()) std::abort();  // believed without the token
}

/// Behind the real greeting, so that the reply's own reader is reached.
void as_host_that_greets(std::string_view bytes) {
  Visitor visitor(token, nonce(2), {});
  fuzz::refuse_or_survive([&] {
    (void)visitor.feed(Doorkeeper(token, nonce(3)).greeting());
    (void)visitor.feed(bytes);
  });
  if (visitor.is_welcome() || !visitor.refusal().empty()) std::abort();
}

void as_session(std::string_view bytes, std::size_t first) {
  Session session(nonce(4), bytes.size() % 2 == 0);
  fuzz::refuse_or_survive([&] {
    feed_in_pieces(session, bytes, first);
    if (session.next()) std::abort();  // obeyed without the key
  });
}

/// What somebody who has the token may send: a card is read in bounds, means the same when sent on, and is seated or
/// refused.
void as_guest(std::string_view bytes) {
  fuzz::refuse_or_survive([&] {
    const NodeCard card = decode_card(bytes);
    if (card.interfaces.size() <= 256 && decode_card(encode(card)) != card) std::abort();
    NodeCard own{0, card.nodes, "host", "machine", card.version, card.job, {0}, {}};
    if (own.nodes < 1) return;
    Guests guests(own);
    (void)guests.add(card, "10.0.0.2");
    (void)guests.add(card, "10.0.0.3");
    (void)guests.report();
    if (guests.is_complete()) {
      guests.assign_numbers();
      (void)seat_ranks(guests, "10.0.0.1");
    }
  });
  fuzz::refuse_or_survive([&] { (void)decode_message(bytes); });
  fuzz::refuse_or_survive([&] { (void)parse_code(bytes); });
  (void)parse_subnet(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = dstrain::fuzz::text_of(data, size);
  const std::size_t first = size == 0 ? 0 : data[size - 1] % (size + 1);
  as_visitor(bytes, first);
  as_host(bytes, first);
  as_host_that_greets(bytes);
  as_session(bytes, first);
  as_guest(bytes);
  return 0;
}
