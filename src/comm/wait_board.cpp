// SPDX-License-Identifier: Apache-2.0
#include "comm/wait_board.hpp"

#include <algorithm>
#include <array>
#include <type_traits>

namespace dstrain {
namespace {

constexpr int tag_of_questions = 1;
constexpr int tag_of_answers = 2;
/// Messages taken at one look, so that a flood cannot hold the watchdog.
constexpr int most_per_look = 4096;
constexpr std::size_t host_letters = 64;

}  // namespace

WaitBoard::WaitBoard(MPI_Comm parent, const FlightRecorder& recorder) : recorder_(recorder) {
  static_assert(std::is_trivially_copyable_v<Message>, "messages are sent as bytes");
  MPI_Comm comm = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(parent, &comm), "MPI_Comm_dup");
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  comm_.reset(comm);
  int size = 1;
  mpi_check(MPI_Comm_rank(comm, &rank_), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  reports_.resize(static_cast<std::size_t>(size));
  asked_as_.assign(reports_.size(), 0);

  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  mpi_check(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name");
  std::array<char, host_letters> own{};
  std::copy_n(name.begin(), std::min<std::size_t>(static_cast<std::size_t>(length), host_letters - 1), own.begin());
  std::vector<char> all(reports_.size() * host_letters);
  mpi_check(MPI_Allgather(own.data(), host_letters, MPI_CHAR, all.data(), host_letters, MPI_CHAR, comm),
            "MPI_Allgather");
  for (std::size_t r = 0; r < reports_.size(); ++r) hosts_.emplace_back(all.data() + r * host_letters);
}

WaitBoard::~WaitBoard() = default;

void WaitBoard::serve() {
  for (int taken = 0; taken < most_per_look; ++taken) {
    int there = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.get(), &there, &status) != MPI_SUCCESS || there == 0) break;
    Message message;
    if (MPI_Recv(&message, sizeof message, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, comm_.get(), &status) !=
        MPI_SUCCESS)
      break;
    const auto from = static_cast<std::size_t>(status.MPI_SOURCE);
    if (status.MPI_TAG == tag_of_questions) {
      send({message.serial, whereabouts(recorder_)}, status.MPI_SOURCE, tag_of_answers);
    } else if (message.serial == asked_as_[from]) {  // not the late answer to an older question
      message.where.label.back() = '\0';
      reports_[from].answer = message.where;
      asked_as_[from] = 0;
    } else {
      asked_as_[from] = 0;  // it answers again: it can be asked again
    }
  }
  drop_sent();
}

void WaitBoard::ask(int to) {
  const auto index = static_cast<std::size_t>(to);
  RankReport& report = reports_[index];
  report.asked = true;
  report.answer.reset();
  if (asked_as_[index] != 0) return;  // still on its way: a rank that is stopped is not sent more and more
  asked_as_[index] = ++serial_;
  send({serial_, {}}, to, tag_of_questions);
}

void WaitBoard::forget() { std::fill(reports_.begin(), reports_.end(), RankReport{}); }

void WaitBoard::send(const Message& message, int to, int tag) {
  Outgoing& out = outgoing_.emplace_back();
  out.message = message;
  if (MPI_Isend(&out.message, sizeof out.message, MPI_BYTE, to, tag, comm_.get(), &out.request) != MPI_SUCCESS)
    outgoing_.pop_back();
}

void WaitBoard::drop_sent() {
  for (auto at = outgoing_.begin(); at != outgoing_.end();) {
    int sent = 0;
    const bool over = MPI_Test(&at->request, &sent, MPI_STATUS_IGNORE) != MPI_SUCCESS || sent != 0;
    at = over ? outgoing_.erase(at) : std::next(at);
  }
}

void WaitBoard::close() {
  drop_sent();
  for (auto& out : outgoing_) MPI_Request_free(&out.request);
  // What a peer never took may still be read by the library: those few bytes live to the end of the process.
  if (!outgoing_.empty()) static_cast<void>(new std::list<Outgoing>(std::move(outgoing_)));
  outgoing_.clear();
  MPI_Comm comm = comm_.release();
  mpi_check(MPI_Comm_free(&comm), "MPI_Comm_free");
}

}  // namespace dstrain
