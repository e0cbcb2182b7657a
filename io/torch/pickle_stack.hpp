// SPDX-License-Identifier: Apache-2.0
/// What the machine of a pickle holds while it runs: values, the stack with its marks, and the memo.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dstrain::pickle {

/// A value's place in the machine's pool. Values are never copied, so that nothing grows beyond the pickle.
using Ref = std::uint32_t;

enum class Kind : std::uint8_t {
  none,
  boolean,
  integer,
  real,
  text,
  tuple,
  list,
  dict,
  callable,
  storage_type,
  storage,
  tensor
};

struct Value {
  Kind kind = Kind::none;
  std::int64_t integer = 0;  ///< number; storage_type, storage: dtype; storage: see parts
  std::string text;          ///< text; callable: its name; storage: its key
  std::vector<Ref> parts;    ///< tuple, list; dict: key, value, key, value ..; tensor: storage, offset, shape, strides
};

/// The values of one pickle. Local; every function throws IoError naming the file where the pickle asks for something
/// that is not there, or for more than 4 million of anything.
class Stack {
 public:
  /// @param where  the file, for messages; outlives the stack
  explicit Stack(const std::string& where) : where_(where) {}

  [[noreturn]] void refuse(const std::string& what, const std::string& hint = {}) const;

  [[nodiscard]] Value& at(Ref ref) { return pool_[ref]; }
  Value& top();
  void push(Ref ref) { stack_.push_back(ref); }
  /// A new value on the stack; valid until the next one is made.
  Value& push(Kind kind);
  void push_integer(std::int64_t value, Kind kind = Kind::integer) { push(kind).integer = value; }
  void push_text(std::string_view text) { push(Kind::text).text = text; }
  /// A tuple of the last `count` values.
  void push_tuple(std::size_t count);
  Ref pop();

  void mark();
  /// The values behind the last mark, and the mark.
  std::vector<Ref> pop_to_mark();
  /// Adds entries to a list or dictionary (there key, value, key, value ..).
  void append(Value& to, Kind kind, const std::vector<Ref>& values);

  void remember(std::uint64_t key);
  /// Under the next free key.
  void remember() { remember(memo_.size()); }
  void recall(std::uint64_t key);

 private:
  /// Values above the last mark may be taken, those below not.
  [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  const std::string& where_;
  std::size_t filled_ = 0;  ///< entries of all lists and dictionaries
  std::vector<Value> pool_;
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Ref> memo_;
};

}  // namespace dstrain::pickle
