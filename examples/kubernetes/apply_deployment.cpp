// Applies a Deployment (server side), on an event loop: apply_deployment <name> <image> [replicas]
// Run it twice and nothing changes; run it with another image and the Deployment rolls.
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/types/apps_v1.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <cstdlib>
#include <iostream>
#include <string>

namespace asio = boost::asio;
namespace mz = mizzen;
namespace apps_v1 = mizzen::kubernetes::apps_v1;

asio::awaitable<void> apply(std::string name, std::string image, int replicas) {
  const auto k8s = mz::kubernetes::client::from_environment(co_await asio::this_coro::executor);

  // --8<-- [start:apply]
  apps_v1::deployment wish;
  wish.metadata.name = name;
  wish.spec.replicas = replicas;
  wish.spec.selector.emplace().match_labels["app"] = name;
  wish.spec.template_.metadata.labels["app"] = name;
  wish.spec.template_.spec.containers.push_back({.name = "main", .image = image});

  const mz::kubernetes::api<apps_v1::deployment> deployments(k8s);
  const apps_v1::deployment now = co_await deployments.apply(wish);
  // --8<-- [end:apply]
  std::cout << now.metadata.name << " is at generation " << now.metadata.generation << '\n';
}

int main(int argc, char** argv) {
  if (argc < 3) return std::cerr << "apply_deployment <name> <image> [replicas]\n", 2;
  int status = 0;
  asio::io_context loop;
  asio::co_spawn(loop, apply(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 1),
                 [&](const std::exception_ptr& failed) {
                   if (!failed) return;
                   std::cerr << mz::describe(failed) << '\n';  // conflicts name field and owner
                   status = 1;
                 });
  loop.run();
  return status;
}
