// SPDX-License-Identifier: Apache-2.0
/// The machine of Python's pickle (Lib/pickletools.py describes it) with the few opcodes that state dicts need.
#include "io/torch/pickle.hpp"

#include <array>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/error.hpp"
#include "io/tensor_info.hpp"

namespace dstrain {

namespace {

constexpr std::size_t most_values = 4'000'000;
constexpr std::size_t most_dims = 16;

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

struct StorageType {
  const char* name;
  DType dtype;
};
constexpr std::array<StorageType, 10> storage_types = {{{"torch FloatStorage", DType::f32},
                                                        {"torch HalfStorage", DType::f16},
                                                        {"torch BFloat16Storage", DType::bf16},
                                                        {"torch DoubleStorage", DType::f64},
                                                        {"torch LongStorage", DType::i64},
                                                        {"torch IntStorage", DType::i32},
                                                        {"torch ShortStorage", DType::i16},
                                                        {"torch CharStorage", DType::i8},
                                                        {"torch ByteStorage", DType::u8},
                                                        {"torch BoolStorage", DType::boolean}}};

constexpr std::string_view ordered_dict = "collections OrderedDict";
constexpr std::string_view rebuild_tensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view rebuild_parameter = "torch._utils _rebuild_parameter";

class Machine {
 public:
  Machine(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::vector<PickledTensor> run() {
    while (!stopped_) step(static_cast<unsigned char>(take(1)[0]));
    const Value& root = at(pop());
    if (root.kind != Kind::dict) refuse("holds no dictionary of tensors");
    return tensors_of(root);
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& hint = {}) const {
    throw IoError(what, where_, hint);
  }

  // --- bytes

  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) refuse(fmt::format("its pickle ends in the middle, at byte {}", at_));
    const auto part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    const auto part = take(size);
    for (std::size_t i = size; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(part[i]);
    return value;
  }
  std::string line() {
    const auto end = bytes_.find('\n', at_);
    if (end == std::string_view::npos || end - at_ > 256) refuse("its pickle has a name without an end");
    std::string text(take(end - at_));
    (void)take(1);
    return text;
  }

  // --- values

  [[nodiscard]] Value& at(Ref ref) { return pool_[ref]; }
  Ref make(Kind kind) {
    if (pool_.size() >= most_values) refuse(fmt::format("its pickle has more than {} values", most_values));
    pool_.emplace_back().kind = kind;
    return static_cast<Ref>(pool_.size() - 1);
  }
  void push(Ref ref) { stack_.push_back(ref); }
  void push(Kind kind) { push(make(kind)); }
  void push_integer(std::int64_t value, Kind kind = Kind::integer) {
    push(kind);
    at(stack_.back()).integer = value;
  }
  void push_text(std::string_view text) {
    push(Kind::text);
    at(stack_.back()).text = text;
  }
  Ref pop() {
    if (stack_.size() <= floor()) refuse("its pickle takes a value that is not there");
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  Value& top() {
    if (stack_.size() <= floor()) refuse("its pickle takes a value that is not there");
    return at(stack_.back());
  }
  /// Values above the last mark may be taken, those below not.
  [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<Ref> pop_to_mark() {
    if (marks_.empty()) refuse("its pickle ends a group that was not begun");
    const std::size_t begin = marks_.back();
    marks_.pop_back();
    std::vector<Ref> values(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
    return values;
  }
  void push_tuple(std::size_t count) {
    std::vector<Ref> parts(count);
    for (std::size_t i = count; i-- > 0;) parts[i] = pop();
    push(Kind::tuple);
    at(stack_.back()).parts = std::move(parts);
  }
  void append(Value& to, Kind kind, const std::vector<Ref>& values) {
    if (to.kind != kind || (kind == Kind::dict && values.size() % 2 != 0)) refuse("its pickle fills something else");
    to.parts.insert(to.parts.end(), values.begin(), values.end());
    filled_ += values.size();
    if (filled_ > most_values) refuse(fmt::format("its pickle has more than {} entries", most_values));
  }
  void remember(std::uint64_t key) {
    (void)top();
    memo_[key] = stack_.back();
    if (memo_.size() > most_values) refuse("its pickle remembers too much");
  }
  void recall(std::uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse(fmt::format("its pickle recalls value {}, which it never kept", key));
    push(found->second);
  }

  // --- what state dicts are made of

  void push_global(const std::string& name) {
    for (const StorageType& type : storage_types) {
      if (name == type.name) return push_integer(static_cast<std::int64_t>(type.dtype), Kind::storage_type);
    }
    if (name != ordered_dict && name != rebuild_tensor && name != rebuild_parameter) {
      refuse(fmt::format("its pickle asks for \"{}\", which no state dict needs", name),
             "it may be malicious, or hold more than weights; save the state dict alone, or as safetensors");
    }
    push(Kind::callable);
    at(stack_.back()).text = name;
  }

  /// ('storage', type, key, location, count)
  void push_storage(Ref id) {
    const std::vector<Ref> parts = at(id).parts;
    const bool good = at(id).kind == Kind::tuple && parts.size() == 5 && at(parts[0]).kind == Kind::text &&
                      at(parts[0]).text == "storage" && at(parts[1]).kind == Kind::storage_type &&
                      at(parts[2]).kind == Kind::text && at(parts[4]).kind == Kind::integer;
    if (!good) refuse("its pickle refers to something that is no storage");
    push_integer(at(parts[1]).integer, Kind::storage);
    at(stack_.back()).text = at(parts[2]).text;
    at(stack_.back()).parts = {parts[4]};
  }

  void call() {
    const Ref arguments = pop();
    const Ref callable = pop();
    if (at(callable).kind != Kind::callable || at(arguments).kind != Kind::tuple)
      refuse("its pickle calls something that is no function");
    const std::string name = at(callable).text;
    const std::vector<Ref> parts = at(arguments).parts;
    if (name == ordered_dict && parts.empty()) return push(Kind::dict);
    if (name == rebuild_parameter && !parts.empty() && at(parts[0]).kind == Kind::tensor) return push(parts[0]);
    const bool tensor = name == rebuild_tensor && parts.size() >= 4 && at(parts[0]).kind == Kind::storage &&
                        at(parts[1]).kind == Kind::integer && at(parts[2]).kind == Kind::tuple &&
                        at(parts[3]).kind == Kind::tuple;
    if (!tensor) refuse(fmt::format("its pickle calls \"{}\" with other arguments than torch does", name));
    push(Kind::tensor);
    at(stack_.back()).parts = {parts[0], parts[1], parts[2], parts[3]};
  }

  std::vector<std::int64_t> extents(Ref tuple, const std::string& name) {
    std::vector<std::int64_t> values;
    for (const Ref part : at(tuple).parts) {
      if (at(part).kind != Kind::integer || at(part).integer < 0)
        refuse(fmt::format("tensor \"{}\" has an extent or stride that is no size", name));
      values.push_back(at(part).integer);
    }
    if (values.size() > most_dims) refuse(fmt::format("tensor \"{}\" has {} dims", name, values.size()));
    return values;
  }

  PickledTensor tensor_of(const std::string& name, const Value& value) {
    const Value& storage = at(value.parts[0]);
    PickledTensor tensor;
    tensor.name = name;
    tensor.storage = storage.text;
    tensor.dtype = static_cast<DType>(storage.integer);
    tensor.storage_count = at(storage.parts[0]).integer;
    tensor.offset = at(value.parts[1]).integer;
    tensor.shape = extents(value.parts[2], name);
    tensor.strides = extents(value.parts[3], name);
    return tensor;
  }

  std::vector<PickledTensor> tensors_of(const Value& root) {
    std::vector<PickledTensor> tensors;
    std::set<std::string> names;
    for (std::size_t i = 0; i + 1 < root.parts.size(); i += 2) {
      const Value& key = at(root.parts[i]);
      const Value& value = at(root.parts[i + 1]);
      if (key.kind != Kind::text) refuse("its dictionary has a key that is no name");
      if (value.kind != Kind::tensor) {
        refuse(fmt::format("its entry \"{}\" is no tensor", key.text),
               "a state dict is needed: model.state_dict(), not a whole checkpoint");
      }
      if (!names.insert(key.text).second) refuse(fmt::format("its entry \"{}\" stands twice", key.text));
      tensors.push_back(tensor_of(key.text, value));
    }
    return tensors;
  }

  // --- opcodes

  void step(unsigned char opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const auto protocol = number(1); protocol < 2 || protocol > 5)
          refuse(fmt::format("is a pickle of protocol {}; 2 to 5 are read", protocol));
        return;
      case 0x95:  // FRAME
        (void)number(8);
        return;
      case '.':
        stopped_ = true;
        return;
      case '(':
        marks_.push_back(stack_.size());
        if (marks_.size() > most_values) refuse("its pickle opens too many groups");
        return;
      default:
        if (!step_value(opcode) && !step_container(opcode) && !step_object(opcode))
          refuse(fmt::format("its pickle has opcode 0x{:02x} at byte {}, which no state dict needs", opcode, at_ - 1));
    }
  }

  /// Constants and the memo.
  bool step_value(unsigned char opcode) {
    switch (opcode) {
      case 'N':
        push(Kind::none);
        return true;
      case 0x88:
        push_integer(1, Kind::boolean);
        return true;
      case 0x89:
        push_integer(0, Kind::boolean);
        return true;
      case 'J':
        push_integer(static_cast<std::int32_t>(number(4)));
        return true;
      case 'K':
        push_integer(static_cast<std::int64_t>(number(1)));
        return true;
      case 'M':
        push_integer(static_cast<std::int64_t>(number(2)));
        return true;
      case 0x8a:
        push_long();
        return true;
      case 'G':
        (void)take(8), push(Kind::real);
        return true;
      case 'X':
        push_text(take(number(4)));
        return true;
      case 0x8c:
        push_text(take(number(1)));
        return true;
      case 'q':
        remember(number(1));
        return true;
      case 'r':
        remember(number(4));
        return true;
      case 0x94:
        remember(memo_.size());
        return true;
      case 'h':
        recall(number(1));
        return true;
      case 'j':
        recall(number(4));
        return true;
      default:
        return false;
    }
  }

  /// LONG1: little-endian two's complement of up to eight bytes.
  void push_long() {
    const auto size = static_cast<std::size_t>(number(1));
    if (size > 8) refuse("its pickle has a number beyond 64 bits");
    std::uint64_t value = number(size);
    if (size > 0 && size < 8 && (value >> (8 * size - 1)) != 0) value |= ~std::uint64_t{0} << (8 * size);
    push_integer(static_cast<std::int64_t>(value));
  }

  bool step_container(unsigned char opcode) {
    switch (opcode) {
      case '}':
        push(Kind::dict);
        return true;
      case ']':
        push(Kind::list);
        return true;
      case ')':
        push_tuple(0);
        return true;
      case 0x85:
        push_tuple(1);
        return true;
      case 0x86:
        push_tuple(2);
        return true;
      case 0x87:
        push_tuple(3);
        return true;
      case 't': {
        auto parts = pop_to_mark();
        push(Kind::tuple);
        at(stack_.back()).parts = std::move(parts);
        return true;
      }
      case 's': {
        const Ref value = pop();
        const Ref key = pop();
        append(top(), Kind::dict, {key, value});
        return true;
      }
      case 'u': {
        const auto values = pop_to_mark();
        append(top(), Kind::dict, values);
        return true;
      }
      case 'a': {
        const Ref value = pop();
        append(top(), Kind::list, {value});
        return true;
      }
      case 'e': {
        const auto values = pop_to_mark();
        append(top(), Kind::list, values);
        return true;
      }
      default:
        return false;
    }
  }

  bool step_object(unsigned char opcode) {
    switch (opcode) {
      case 'c': {
        const std::string module = line();
        push_global(module + " " + line());
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const Ref name = pop();
        const Ref module = pop();
        if (at(name).kind != Kind::text || at(module).kind != Kind::text) refuse("its pickle names no function");
        push_global(at(module).text.substr(0, 256) + " " + at(name).text.substr(0, 256));
        return true;
      }
      case 'R':
        call();
        return true;
      case 'Q':
        push_storage(pop());
        return true;
      case 'b': {  // BUILD: the attributes of an OrderedDict (_metadata), which hold no tensors
        (void)pop();
        if (top().kind != Kind::dict) refuse("its pickle sets the state of something that is no dictionary");
        return true;
      }
      default:
        return false;
    }
  }

  std::string_view bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::size_t filled_ = 0;
  bool stopped_ = false;
  std::vector<Value> pool_;
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Ref> memo_;
};

}  // namespace

std::vector<PickledTensor> read_state_dict(std::string_view bytes, const std::string& where) {
  return Machine(bytes, where).run();
}

}  // namespace dstrain
