// SPDX-License-Identifier: Apache-2.0
/// Digests and atomic writing for the token cache.
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>

#include "core/error.hpp"
#include "data/token_store.hpp"

namespace dstrain {
namespace {

/// Closes a file descriptor on the way out of an error.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  int close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd);
  }

 private:
  int fd_;
};

[[noreturn]] void failed(const char* what, const std::filesystem::path& path) {
  IoError error(fmt::format("{}: {}", what, std::strerror(errno)), path.string());
  throw error.with_code(ExitCode::failed);
}

void write_all(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), std::min<std::size_t>(bytes.size(), 64U << 20));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) failed("cannot be written", path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

XXH3_state_t* state_of(void* state) { return static_cast<XXH3_state_t*>(state); }

}  // namespace

ContentDigest::ContentDigest() : state_(XXH3_createState()) {
  DSTRAIN_CHECK(state_ != nullptr && XXH3_128bits_reset(state_of(state_)) == XXH_OK, "no memory for a digest");
}

ContentDigest::~ContentDigest() { XXH3_freeState(state_of(state_)); }

void ContentDigest::add(std::string_view name, std::string_view bytes) {
  for (const std::string_view part : {name, bytes}) {
    const std::uint64_t size = part.size();
    XXH3_128bits_update(state_of(state_), &size, sizeof size);
    XXH3_128bits_update(state_of(state_), part.data(), part.size());
  }
}

std::string ContentDigest::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_of(state_));
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> image) {
  // The process in the name: two runs that make the same cache do not write into each other's file.
  const std::filesystem::path temporary = path.string() + fmt::format(".{}.part", ::getpid());
  try {
    Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) failed("cannot be created", temporary);
    write_all(file.get(), image, temporary);
    if (::fsync(file.get()) != 0) failed("cannot be flushed to disk", temporary);
    if (file.close() != 0) failed("cannot be closed", temporary);
    if (::rename(temporary.c_str(), path.c_str()) != 0) failed("cannot be renamed", path);
  } catch (const IoError&) {
    ::unlink(temporary.c_str());
    throw;
  }
  const Descriptor folder(
      ::open(path.parent_path().empty() ? "." : path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
}

}  // namespace dstrain
