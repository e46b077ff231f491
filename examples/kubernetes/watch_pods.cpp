// Follows the pods of all namespaces, or of one, and says what becomes of them:
//   mizzen_example_watch_pods [namespace]
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/informer.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace mz = mizzen::kubernetes;
namespace asio = boost::asio;
using pod = mz::core_v1::pod;

namespace {

void say(const char* what, const pod& it) {
  std::cout << what << ' ' << it.metadata.namespace_ << '/' << it.metadata.name << ' '
            << it.status.phase << std::endl;
}

asio::awaitable<void> watch(mz::api<pod> pods) {
  asio::signal_set signals(pods.k8s().executor(), SIGINT, SIGTERM);
  // --8<-- [start:informer]
  mz::informer_options<pod> options;
  options.transform = mz::drop_managed_fields<pod>;
  options.indexes["phase"] = [](const pod& it) {
    return std::vector<std::string>{it.status.phase};
  };
  options.on_error = [](const std::exception_ptr& e) { std::cerr << mizzen::describe(e) << '\n'; };
  mz::informer<pod> informer(pods, std::move(options));

  mz::informer_handler<pod> handler;
  handler.added = [](const auto& now) { say("added  ", *now); };
  handler.updated = [](const auto& before, const auto& now) {
    if (before->status.phase != now->status.phase) say("updated", *now);
  };
  handler.deleted = [](const auto& last) { say("deleted", *last); };
  informer.add_handler(std::move(handler));
  informer.start();

  co_await informer.synced();
  std::cout << informer.store().size() << " pods, of which "
            << informer.store().by_index("phase", "Running").size() << " run; Ctrl-C ends this"
            << std::endl;
  // --8<-- [end:informer]
  co_await signals.async_wait(asio::use_awaitable);
  co_await informer.stop();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    asio::io_context context;
    const auto k8s = mz::client::from_environment(context.get_executor());
    const mz::api<pod> pods =
        argc > 1 ? mz::api<pod>(k8s, argv[1]) : mz::api<pod>(k8s, mz::all_namespaces);
    std::exception_ptr failure;
    asio::co_spawn(context, watch(pods), [&](std::exception_ptr e) { failure = e; });
    context.run();
    if (failure) std::rethrow_exception(failure);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
