// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_transport.hpp"

#include <algorithm>

#include "comm/fold.hpp"

namespace dstrain {
namespace {

constexpr int tag_of_pieces = 1;

}  // namespace

void Requests::send(const void* data, std::int64_t bytes, int to, MPI_Comm comm) {
  MPI_Request request = MPI_REQUEST_NULL;
  mpi_check(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag_of_pieces, comm, &request), "MPI_Isend");
  requests_.push_back(request);
}

void Requests::recv(void* data, std::int64_t bytes, int from, MPI_Comm comm) {
  MPI_Request request = MPI_REQUEST_NULL;
  mpi_check(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, tag_of_pieces, comm, &request), "MPI_Irecv");
  requests_.push_back(request);
}

void Requests::wait() {
  if (requests_.empty()) return;
  const int code = MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  requests_.clear();
  mpi_check(code, "MPI_Waitall");
}

void Transport::exchange_places(std::span<const SharedPlace> own) {
  node->publish(own);
  node->barrier();
  const auto locals = static_cast<std::size_t>(local_size());
  places.resize(own.size() * locals);
  for (std::size_t buffer = 0; buffer < own.size(); ++buffer) {
    for (std::size_t local = 0; local < locals; ++local) {
      places[buffer * locals + local] = node->published(static_cast<int>(local), static_cast<int>(buffer));
    }
  }
  node->flip();
}

void all_reduce(Transport& t, View values, ReduceOp op) {
  const auto item = static_cast<std::int64_t>(size_of(values.dtype));
  const std::int64_t room = t.one_node() ? t.half_bytes : t.half_bytes / t.size;
  const std::int64_t piece = room / item;
  t.sources.resize(static_cast<std::size_t>(t.size));
  for (std::int64_t begin = 0; begin < values.count; begin += piece) {
    const View part = values.slice(begin, std::min(piece, values.count - begin));
    if (t.one_node()) {
      copy_bytes(t.node->staging(t.rank), part.data, part.bytes());
      t.node->barrier();
      for (int r = 0; r < t.size; ++r) t.sources[static_cast<std::size_t>(r)] = t.node->staging(r);
    } else {
      char* gathered = t.scratch.received[0].data();
      mpi_check(MPI_Allgather(part.data, static_cast<int>(part.bytes()), MPI_BYTE, gathered,
                              static_cast<int>(part.bytes()), MPI_BYTE, t.comm.get()),
                "MPI_Allgather");
      for (int r = 0; r < t.size; ++r) t.sources[static_cast<std::size_t>(r)] = gathered + r * part.bytes();
    }
    fold(part.data, t.sources, part.dtype, part.count, op);
    if (t.one_node()) t.node->flip();
  }
}

void broadcast(Transport& t, View values, int root) {
  const std::int64_t bytes = values.bytes();
  if (!t.one_node()) {
    for (std::int64_t begin = 0; begin < bytes; begin += largest_message) {
      const auto n = static_cast<int>(std::min(largest_message, bytes - begin));
      mpi_check(MPI_Bcast(static_cast<char*>(values.data) + begin, n, MPI_BYTE, root, t.comm.get()), "MPI_Bcast");
    }
    return;
  }
  for (std::int64_t begin = 0; begin < bytes; begin += t.half_bytes) {
    const std::int64_t n = std::min(t.half_bytes, bytes - begin);
    char* part = static_cast<char*>(values.data) + begin;
    if (t.rank == root) copy_bytes(t.node->staging(root), part, n);
    t.node->barrier();
    if (t.rank != root) copy_bytes(part, t.node->staging(root), n);
    t.node->flip();
  }
}

}  // namespace dstrain
