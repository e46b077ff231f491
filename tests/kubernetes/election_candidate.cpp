// A candidate for leadership, to be killed or frozen. While it leads, it writes so into a file:
// "IDENTITY TERM BEFORE AFTER" says that is_leader() was true between two times of the machine's
// steady clock (nanoseconds), "IDENTITY TERM lost" that a term has ended.
// usage: election_candidate KUBECONFIG NAMESPACE LEASE IDENTITY RECORD
//        LEASE_DURATION RENEW_DEADLINE RETRY_PERIOD (milliseconds)
// It prints its process ID and ends with its standard input.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/leader_election.hpp>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <fcntl.h>
#include <iostream>
#include <string>
#include <thread>
#include <unistd.h>

namespace mz = mizzen::kubernetes;

namespace {

std::string now() {
  return std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::steady_clock::now().time_since_epoch())
                            .count());
}

// Whole lines, also when several processes write: O_APPEND.
void append(int to, const std::string& line) {
  if (::write(to, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::_Exit(3);
}

boost::asio::awaitable<void> stand(mz::client k8s, mz::leader_election_options options,
                                   int record) {
  const std::string identity = options.identity;
  mz::leader_election election(k8s, std::move(options));
  boost::asio::steady_timer pause(k8s.executor());
  for (int term = 1;; ++term) {
    co_await election.acquire();
    const std::string start = identity + " " + std::to_string(term) + " ";
    for (;;) {
      const std::string before = now();
      if (!election.is_leader()) break;
      append(record, start + before + " " + now() + "\n");
      pause.expires_after(std::chrono::milliseconds(10));
      co_await pause.async_wait(boost::asio::use_awaitable);
    }
    append(record, start + "lost\n");
    co_await election.lost();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) return 2;
  const int record = ::open(argv[5], O_WRONLY | O_APPEND | O_CLOEXEC);
  if (record < 0) return 2;
  std::cout << ::getpid() << std::endl;
  std::thread([] {
    for (std::string line; std::getline(std::cin, line);) continue;
    std::_Exit(0);
  }).detach();
  try {
    mz::leader_election_options options{
        .namespace_ = argv[2],
        .name = argv[3],
        .identity = argv[4],
        .lease_duration = std::chrono::milliseconds(std::stoi(argv[6])),
        .renew_deadline = std::chrono::milliseconds(std::stoi(argv[7])),
        .retry_period = std::chrono::milliseconds(std::stoi(argv[8]))};
    options.on_error = [](const std::exception_ptr& e) {
      std::cerr << mizzen::describe(e) << '\n';
    };
    mz::blocking k8s(mz::config::from_file(argv[1]));
    k8s.run(stand(k8s.client(), std::move(options), record));
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
  }
  return 1;
}
