// SPDX-License-Identifier: Apache-2.0
/// After PKWARE's APPNOTE.TXT 6.3.9, sections 4.3 to 4.5.
#include "io/torch/zip.hpp"

#include <algorithm>
#include <limits>

#include "core/error.hpp"

namespace dstrain {

namespace {

constexpr std::int64_t most_directory_bytes = 256LL << 20;
constexpr std::int64_t most_members = 4'000'000;
constexpr std::int64_t end_record_bytes = 22;
constexpr std::int64_t longest_comment = 65535;
constexpr std::int64_t locator64_bytes = 20;
constexpr std::int64_t end_record64_bytes = 56;
constexpr std::int64_t local_header_bytes = 30;
constexpr std::int64_t directory_entry_bytes = 46;
constexpr std::uint32_t end_signature = 0x06054b50, locator64_signature = 0x07064b50, end64_signature = 0x06064b50,
                        entry_signature = 0x02014b50, local_signature = 0x04034b50;
constexpr std::uint32_t in_zip64 = 0xffffffffU;
constexpr std::uint16_t zip64_field = 1;

/// A little-endian number of `size` bytes.
std::uint64_t number(const unsigned char* at, int size) {
  std::uint64_t value = 0;
  for (int i = size; i-- > 0;) value = (value << 8) | at[i];
  return value;
}
std::uint32_t u32(const unsigned char* at) { return static_cast<std::uint32_t>(number(at, 4)); }
std::uint16_t u16(const unsigned char* at) { return static_cast<std::uint16_t>(number(at, 2)); }

const unsigned char* bytes_of(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }

/// Walks the extra fields of an entry and hands the zip64 one to `body(begin, end)`.
template <typename Body>
void for_zip64_field(const unsigned char* at, const unsigned char* end, const Body& body) {
  while (end - at >= 4) {
    const std::uint16_t id = u16(at);
    const std::uint16_t size = u16(at + 2);
    at += 4;
    if (size > end - at) return;
    if (id == zip64_field) body(at, at + size);
    at += size;
  }
}

}  // namespace

void ZipArchive::refuse(const std::string& what, const std::string& hint) const {
  throw IoError(what, path_.string(), hint);
}

ZipArchive ZipArchive::open(const std::filesystem::path& path) {
  ZipArchive zip;
  zip.path_ = path;
  zip.file_ = open_to_read(path);
  zip.file_bytes_ = dstrain::file_bytes(zip.file_, path);
  zip.read_directory(zip.find_directory());
  zip.check_local_headers();
  return zip;
}

ZipArchive::Directory ZipArchive::find_directory() const {
  if (file_bytes_ < end_record_bytes) refuse(fmt::format("has {} bytes, too short for a zip archive", file_bytes_));
  // The end record lies behind everything but a comment; the last signature that fits is the right one.
  const std::int64_t tail = std::min(file_bytes_, end_record_bytes + longest_comment);
  std::string bytes(static_cast<std::size_t>(tail), '\0');
  read_at(file_, file_bytes_ - tail, bytes.data(), tail, path_);
  for (std::int64_t at = tail - end_record_bytes; at >= 0; --at) {
    const unsigned char* record = bytes_of(bytes) + at;
    if (u32(record) != end_signature || u16(record + 20) != tail - at - end_record_bytes) continue;
    if (u16(record + 4) != 0 && u16(record + 4) != 0xffff) refuse("is one part of a split zip archive");
    const std::int64_t end_at = file_bytes_ - tail + at;
    if (u16(record + 10) == 0xffff || u32(record + 12) == in_zip64 || u32(record + 16) == in_zip64)
      return find_directory64(end_at);
    return {u32(record + 16), u32(record + 12), u16(record + 10)};
  }
  refuse("is not a whole zip archive: it has no end record", "the file was cut short; copy or download it again");
}

ZipArchive::Directory ZipArchive::find_directory64(std::int64_t end_at) const {
  if (end_at < locator64_bytes) refuse("has no zip64 locator in front of its end record");
  std::string bytes(static_cast<std::size_t>(std::max(locator64_bytes, end_record64_bytes)), '\0');
  read_at(file_, end_at - locator64_bytes, bytes.data(), locator64_bytes, path_);
  if (u32(bytes_of(bytes)) != locator64_signature) refuse("has no zip64 locator in front of its end record");
  const std::uint64_t record_at = number(bytes_of(bytes) + 8, 8);
  if (record_at > static_cast<std::uint64_t>(end_at)) refuse("has a zip64 end record outside the file");
  if (static_cast<std::int64_t>(record_at) > end_at - end_record64_bytes)
    refuse("has a zip64 end record outside the file");
  read_at(file_, static_cast<std::int64_t>(record_at), bytes.data(), end_record64_bytes, path_);
  const unsigned char* record = bytes_of(bytes);
  if (u32(record) != end64_signature) refuse("has no zip64 end record where its locator says");
  const std::uint64_t entries = number(record + 32, 8), size = number(record + 40, 8), offset = number(record + 48, 8);
  constexpr auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (entries > limit || size > limit || offset > limit) refuse("has a zip64 end record with numbers beyond 2^63");
  return {static_cast<std::int64_t>(offset), static_cast<std::int64_t>(size), static_cast<std::int64_t>(entries)};
}

void ZipArchive::read_directory(const Directory& d) {
  if (d.bytes > most_directory_bytes || d.entries > most_members)
    refuse(fmt::format("claims {} members in a directory of {} bytes", d.entries, d.bytes));
  if (d.offset > file_bytes_ || d.bytes > file_bytes_ - d.offset)
    refuse("has its directory outside the file", "the file was cut short; copy or download it again");
  std::string directory(static_cast<std::size_t>(d.bytes), '\0');
  read_at(file_, d.offset, directory.data(), d.bytes, path_);
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < d.entries; ++i) {
    if (d.bytes - at < directory_entry_bytes) refuse(fmt::format("has {} of {} directory entries", i, d.entries));
    const unsigned char* entry = bytes_of(directory) + at;
    if (u32(entry) != entry_signature) refuse(fmt::format("has no directory entry {} where it should be", i));
    const std::int64_t name_bytes = u16(entry + 28), extra_bytes = u16(entry + 30), comment_bytes = u16(entry + 32);
    const std::int64_t whole = directory_entry_bytes + name_bytes + extra_bytes + comment_bytes;
    if (whole > d.bytes - at) refuse(fmt::format("has a directory entry {} that runs over its end", i));
    ZipMember member;
    member.name.assign(directory, static_cast<std::size_t>(at + directory_entry_bytes),
                       static_cast<std::size_t>(name_bytes));
    if ((u16(entry + 8) & 1U) != 0) refuse(fmt::format("has an encrypted member \"{}\"", member.name));
    if (u16(entry + 10) != 0)
      refuse(fmt::format("has a compressed member \"{}\"; torch.save stores them", member.name));
    std::uint64_t packed = u32(entry + 20), size = u32(entry + 24), offset = u32(entry + 42);
    const unsigned char* extra = entry + directory_entry_bytes + name_bytes;
    for_zip64_field(extra, extra + extra_bytes, [&](const unsigned char* field, const unsigned char* end) {
      for (std::uint64_t* value : {&size, &packed, &offset}) {
        if (*value != in_zip64 || end - field < 8) continue;
        *value = number(field, 8);
        field += 8;
      }
    });
    if (packed != size) refuse(fmt::format("has a member \"{}\" of two sizes, {} and {}", member.name, packed, size));
    if (offset > static_cast<std::uint64_t>(file_bytes_) || size > static_cast<std::uint64_t>(file_bytes_))
      refuse(fmt::format("has a member \"{}\" outside the file", member.name));
    member.offset = static_cast<std::int64_t>(offset);
    member.bytes = static_cast<std::int64_t>(size);
    if (!index_.emplace(member.name, members_.size()).second)
      refuse(fmt::format("has two members \"{}\"", member.name));
    members_.push_back(std::move(member));
    at += whole;
  }
}

/// From the offsets of headers to those of the data, which lie behind names and extra fields of their own.
void ZipArchive::check_local_headers() {
  std::string header(static_cast<std::size_t>(local_header_bytes), '\0');
  for (ZipMember& member : members_) {
    if (member.offset > file_bytes_ - local_header_bytes)
      refuse(fmt::format("has a member \"{}\" outside the file", member.name));
    read_at(file_, member.offset, header.data(), local_header_bytes, path_);
    const unsigned char* h = bytes_of(header);
    if (u32(h) != local_signature) refuse(fmt::format("has no member \"{}\" where its directory says", member.name));
    member.offset += local_header_bytes + u16(h + 26) + u16(h + 28);
    if (member.offset > file_bytes_ || member.bytes > file_bytes_ - member.offset)
      refuse(fmt::format("has a member \"{}\" that runs over the end of the file", member.name));
  }
}

const ZipMember* ZipArchive::find(std::string_view name) const {
  const auto at = index_.find(std::string(name));
  return at == index_.end() ? nullptr : &members_[at->second];
}

void ZipArchive::read(const ZipMember& member, std::int64_t begin, void* to, std::int64_t bytes) const {
  if (begin < 0 || bytes < 0 || begin > member.bytes - bytes)
    throw ShapeError(
        fmt::format("bytes [{}, {}) of \"{}\", which has {}", begin, begin + bytes, member.name, member.bytes),
        path_.string());
  read_at(file_, member.offset + begin, to, bytes, path_);
}

}  // namespace dstrain
