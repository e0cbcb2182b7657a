// SPDX-License-Identifier: Apache-2.0
#include "comm/bootstrap.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>

#include "comm/agreed_error.hpp"
#include "comm/first_contact.hpp"
#include "comm/launcher.hpp"
#include "comm/mca_defaults.hpp"
#include "comm/mpi_handles.hpp"
#include "core/log.hpp"

namespace dstrain {
namespace {

bool mpi_is_up() noexcept {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

[[noreturn]] void end_process(int exit_code) noexcept {
  std::fflush(nullptr);
  if (mpi_is_up()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

int code_of(const std::exception& error) noexcept {
  const auto* known = dynamic_cast<const Error*>(&error);
  return static_cast<int>(known == nullptr ? ExitCode::failed : known->exit_code());
}

/// For exceptions that no one can catch: from another thread, or through noexcept.
[[noreturn]] void terminate_job() noexcept {
  if (const auto exception = std::current_exception()) {
    try {
      std::rethrow_exception(exception);
    } catch (const std::exception& error) {
      die(error);
    } catch (...) {
    }
  }
  std::fprintf(stderr, "error: terminated without an exception (%s)\n", log::tag().c_str());
  end_process(static_cast<int>(ExitCode::failed));
}

/// Runs the body; an agreed error becomes its exit code, printed once.
ExitCode run_body(MpiSession& session, const std::function<ExitCode(MpiSession&)>& body) {
  try {
    return body(session);
  } catch (const AgreedError& error) {
    if (session.rank() == 0) print_error(error, "");
    return error.exit_code();
  }
}

}  // namespace

MpiSession::MpiSession(int& argc, char**& argv) {
  const LauncherVariables launcher = read_launcher_variables();
  log::set_rank(launcher.rank, launcher.world_size, host_name());  // until MPI says it
  refuse_lone_ranks(launcher);
  const double timeout_s = start_timeout_s();
  set_mca_defaults();
  int provided = MPI_THREAD_SINGLE;
  {
    const InitWatch watch(launcher, timeout_s);
    mpi_check(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  }
  open_ = true;
  if (provided < MPI_THREAD_SERIALIZED) {
    throw CommError("this MPI cannot be called from more than one thread", "MPI_Init_thread",
                    "build or load an MPI with thread support");
  }
  meet_all_ranks(timeout_s);
  topology_ = discover_topology();
  log::set_rank(rank(), size(), topology_.hosts[static_cast<std::size_t>(rank())]);
}

MpiSession::~MpiSession() = default;

void MpiSession::finalize() {
  if (!open_) return;
  open_ = false;
  std::fflush(nullptr);
  mpi_check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
  mpi_check(MPI_Finalize(), "MPI_Finalize");
}

void print_error(const std::exception& error, const std::string& tag) {
  const auto* known = dynamic_cast<const Error*>(&error);
  const std::string what = dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? "out of memory" : error.what();
  std::string where = known == nullptr ? "" : known->where();
  if (!tag.empty()) where += where.empty() ? tag : "; " + tag;
  std::string text = fmt::format("error: {}{}\n", what, where.empty() ? "" : fmt::format(" ({})", where));
  if (known != nullptr && !known->hint().empty()) text += fmt::format("  hint: {}\n", known->hint());
  std::fflush(stdout);
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void die(const std::exception& error) noexcept {
  try {
    // A process that has nothing to add to what another says (LoneRank) ends without a word.
    if (*error.what() != '\0') print_error(error, log::tag());
  } catch (...) {  // no memory for the message: the bare text needs none
    std::fputs(error.what(), stderr);
  }
  end_process(code_of(error));
}

int spmd_main(int argc, char** argv, const std::function<ExitCode(MpiSession&)>& body) {
  std::set_terminate(terminate_job);
  try {
    MpiSession session(argc, argv);
    const ExitCode code = run_body(session, body);
    session.finalize();
    return session.rank() == 0 ? static_cast<int>(code) : 0;
  } catch (const std::exception& error) {
    die(error);
  } catch (...) {
    terminate_job();
  }
}

}  // namespace dstrain
