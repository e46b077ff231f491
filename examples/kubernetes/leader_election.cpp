// One of several copies of this program leads; end it, and another takes over:
//   mizzen_example_leader_election [namespace [lease]]
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/leader_election.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <utility>

namespace mz = mizzen::kubernetes;
namespace asio = boost::asio;

namespace {

asio::awaitable<void> lead(mz::client k8s, mz::leader_election_options options) {
  using namespace asio::experimental::awaitable_operators;
  asio::signal_set signals(k8s.executor(), SIGINT, SIGTERM);
  // --8<-- [start:lead]
  mz::leader_election election(k8s, std::move(options));
  std::cout << "I am " << election.identity() << std::endl;
  for (bool ended = false; !ended;) {
    ended = (co_await (election.acquire() || signals.async_wait(asio::use_awaitable))).index() == 1;
    if (ended) break;
    std::cout << "I lead" << std::endl;
    // What only the leader does would run here, beside lost().
    ended = (co_await (election.lost() || signals.async_wait(asio::use_awaitable))).index() == 1;
    if (!ended) std::cout << "I lead no more" << std::endl;
  }
  co_await election.resign();
  // --8<-- [end:lead]
}

}  // namespace

int main(int argc, char** argv) {
  try {
    asio::io_context context;
    const auto k8s = mz::client::from_environment(context.get_executor());
    mz::leader_election_options options;
    options.namespace_ = argc > 1 ? argv[1] : k8s.default_namespace();
    options.name = argc > 2 ? argv[2] : "mizzen-example";
    options.on_new_leader = [](const std::string& who) {
      std::cout << (who.empty() ? "nobody" : who) << " leads" << std::endl;
    };
    options.on_error = [](const std::exception_ptr& e) {
      std::cerr << mizzen::describe(e) << '\n';
    };
    std::exception_ptr failure;
    asio::co_spawn(context, lead(k8s, std::move(options)),
                   [&](std::exception_ptr e) { failure = e; });
    context.run();
    if (failure) std::rethrow_exception(failure);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
