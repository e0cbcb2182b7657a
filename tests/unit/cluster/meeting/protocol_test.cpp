// SPDX-License-Identifier: Apache-2.0
#include "cluster/meeting/protocol.hpp"

#include <gtest/gtest.h>

namespace dstrain::protocol_test {
namespace {

const std::string long_token = "a token of more than sixteen letters";

Sha256Bytes nonce(std::uint8_t fill) {
  Sha256Bytes bytes;
  bytes.fill(fill);
  return bytes;
}

NodeCard card_of_rank(int rank) {
  return {rank, 4, "worker", "machine 1", "0.1.0", "job", {0, 2}, {{"eth0", 0x0a000001, 24}}};
}

TEST(NodeCard, SurvivesTheWay) {
  const auto card = card_of_rank(-1);
  EXPECT_EQ(decode_card(encode(card)), card);
}

TEST(NodeCard, CutOffOrLengthenedIsRefused) {
  const auto bytes = encode(card_of_rank(1));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(decode_card(std::string_view(bytes).substr(0, size)), MeetingError) << size;
  EXPECT_THROW(decode_card(bytes + "x"), MeetingError);
}

TEST(NodeCard, TextsCannotMoveATerminalsCursor) {
  auto card = card_of_rank(1);
  card.host = "a\x1b[2Jb\n";
  EXPECT_EQ(decode_card(encode(card)).host, "a?[2Jb?");
}

TEST(Handshake, LetsInWhoHasTheToken) {
  Doorkeeper door(long_token, nonce(1));
  Visitor visitor(long_token, nonce(2), card_of_rank(3));

  door.feed(visitor.feed(door.greeting()));
  const auto card = door.next();
  ASSERT_TRUE(card);
  EXPECT_EQ(*card, card_of_rank(3));
  visitor.feed(door.reply(""));

  EXPECT_TRUE(visitor.is_welcome());
  auto host = door.session();
  auto node = visitor.session();
  node.feed(host.seal({MessageType::start, "orted"}));
  EXPECT_EQ(node.next()->text, "orted");
  host.feed(node.seal({MessageType::exit, "7"}));
  EXPECT_EQ(parse_code(host.next()->text), 7);
}

// One byte at a time, also of what follows the welcome.
TEST(Handshake, WorksInPiecesOfAnySize) {
  Doorkeeper door(long_token, nonce(1));
  Visitor visitor(long_token, nonce(2), card_of_rank(3));
  std::string hello;
  for (const char c : door.greeting()) hello += visitor.feed(std::string_view(&c, 1));
  std::optional<NodeCard> card;
  for (const char c : hello) {
    EXPECT_FALSE(card);
    door.feed(std::string_view(&c, 1));
    card = door.next();
  }
  EXPECT_TRUE(card);
  const auto reply = door.reply("");
  auto host = door.session();
  visitor.feed(reply + host.seal({MessageType::kill, ""}));
  auto node = visitor.session();
  EXPECT_EQ(node.next()->type, MessageType::kill);
}

TEST(Handshake, RefusesAnotherTokenOnBothSides) {
  Doorkeeper door("another token of many letters", nonce(1));
  Visitor visitor(long_token, nonce(2), card_of_rank(3));
  door.feed(visitor.feed(door.greeting()));
  EXPECT_THROW(door.next(), WrongToken);
  EXPECT_THROW(visitor.feed(wrong_token_reply()), WrongToken);

  // A host that pretends: its yes has no code that the node believes.
  Visitor second(long_token, nonce(2), card_of_rank(3));
  second.feed(door.greeting());
  EXPECT_THROW(second.feed(door.reply("")), WrongToken);
  EXPECT_FALSE(second.is_welcome());
}

// What was overheard is of no use with another nonce.
TEST(Handshake, AHelloIsGoodForOneConnection) {
  Doorkeeper first(long_token, nonce(1)), second(long_token, nonce(9));
  Visitor visitor(long_token, nonce(2), card_of_rank(3));
  const auto hello = visitor.feed(first.greeting());
  second.feed(hello);
  EXPECT_THROW(second.next(), WrongToken);
}

TEST(Handshake, ANoIsBelievedOnlyWithItsReason) {
  Doorkeeper door(long_token, nonce(1));
  Visitor visitor(long_token, nonce(2), card_of_rank(3));
  door.feed(visitor.feed(door.greeting()));
  (void)door.next();
  visitor.feed(door.reply("node 3 is here already"));
  EXPECT_FALSE(visitor.is_welcome());
  EXPECT_EQ(visitor.refusal(), "node 3 is here already");
}

TEST(Handshake, EveryChangedBitIsNoticed) {
  Doorkeeper door(long_token, nonce(1));
  Visitor visitor(long_token, nonce(2), card_of_rank(3));
  const auto hello = visitor.feed(door.greeting());
  for (std::size_t i = 4; i < hello.size(); ++i) {
    auto changed = hello;
    changed[i] = static_cast<char>(changed[i] ^ 4);
    Doorkeeper other(long_token, nonce(1));
    other.feed(changed);
    EXPECT_THROW(other.next(), MeetingError) << i;
  }
}

TEST(Handshake, GarbageIsRefusedSoonAndInBounds) {
  Doorkeeper door(long_token, nonce(1));
  door.feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THROW(door.next(), MeetingError);  // "GET " is a length beyond any hello
  Visitor visitor(long_token, nonce(2), card_of_rank(0));
  EXPECT_THROW(visitor.feed("SSH-2.0-OpenSSH_9.2\r\n"), MeetingError);
}

TEST(Session, MessagesOfAnotherConnectionOrderOrDirectionAreRefused) {
  Session host(nonce(5), true), node(nonce(5), false), stranger(nonce(6), true);
  EXPECT_THROW((node.feed(stranger.seal({MessageType::start, "x"})), node.next()), MeetingError);
  Session again(nonce(5), false);
  const auto first = host.seal({MessageType::start, "x"});
  again.feed(first);
  EXPECT_TRUE(again.next());
  again.feed(first);  // replayed
  EXPECT_THROW(again.next(), MeetingError);
  Session reflected(nonce(5), true);
  reflected.feed(first);
  EXPECT_THROW(reflected.next(), MeetingError);
}

TEST(FrameReader, RefusesLengthsBeyondItsLimit) {
  FrameReader reader(8);
  reader.feed(framed("12345678"));
  EXPECT_EQ(reader.next(), "12345678");
  reader.feed(framed("123456789"));
  EXPECT_THROW(reader.next(), MeetingError);
}

}  // namespace
}  // namespace dstrain::protocol_test
