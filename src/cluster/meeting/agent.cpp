// SPDX-License-Identifier: Apache-2.0
/// What mpirun runs in place of ssh.
#include <poll.h>
#include <unistd.h>

#include <cstdlib>

#include "cluster/meeting/meeting.hpp"

namespace dstrain {
namespace {

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = write(fd, bytes.data(), bytes.size());
    if (written <= 0) return;  // nobody listens any more
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

int run_agent(const std::vector<std::string>& words) {
  const char* path = std::getenv(meeting_variable);
  std::size_t at = 0;
  while (at < words.size() && words[at].starts_with('-')) ++at;
  if (path == nullptr || at + 2 > words.size())
    throw ConfigError("launch-agent is for mpirun", "command line", "`dstrain launch` starts it where it is needed");
  std::string text = words[at] + '\0';
  for (std::size_t i = at + 1; i < words.size(); ++i) text += (i == at + 1 ? "" : " ") + words[i];
  if (text.size() + 1 > most_message_bytes) throw ConfigError("mpirun's command is too long", "launch-agent");

  const Descriptor connection = connect_at(path);
  if (!send_all(connection, framed(encode(MeetingMessage{MessageType::start, text}))))
    throw CommError("the meeting takes no command", "launch-agent");
  FrameReader reader(most_message_bytes);
  for (;;) {
    pollfd waiting{connection.get(), POLLIN, 0};
    poll(&waiting, 1, -1);
    const auto bytes = receive_some(connection);
    if (!bytes) continue;
    if (bytes->empty()) return static_cast<int>(ExitCode::failed);  // the node is gone; `launch` has said so
    reader.feed(*bytes);
    while (const auto piece = reader.next()) {
      const auto message = decode_message(*piece);
      if (message.type == MessageType::out) write_all(STDOUT_FILENO, message.text);
      if (message.type == MessageType::error) write_all(STDERR_FILENO, message.text);
      if (message.type == MessageType::exit) return parse_code(message.text);
    }
  }
}

}  // namespace dstrain
