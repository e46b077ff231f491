// Mizzen's side of kubernetes.compare.py: does what a line of its standard input says and answers
// by a line of JSON, as client-go/main.go and python_peer.py do, which describe the lines.
//   mizzen_kubernetes_peer [--encoding json|protobuf] [--gzip] [--first NS]
#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/informer.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace k8s = mizzen::kubernetes;
namespace core_v1 = mizzen::kubernetes::core_v1;
using clock_type = std::chrono::steady_clock;
using mizzen::json;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void say(const json& answer) { std::cout << answer.dump() << std::endl; }

class peer {
 public:
  explicit peer(k8s::client_options options) : k8s_(std::move(options)) {}

  std::string first(const std::string& ns) {
    const k8s::api<core_v1::pod> pods{k8s_.client(), ns};
    return k8s_.run(pods.list({.limit = 1})).items.at(0).metadata.name;
  }

  json list(const std::string& ns) {
    const k8s::api<core_v1::pod> pods{k8s_.client(), ns};
    const auto start = clock_type::now();
    const double cpu = cpu_seconds();
    const auto all = k8s_.run(pods.list());
    return {{"seconds", seconds_since(start)},
            {"cpu", cpu_seconds() - cpu},
            {"items", all.items.size()}};
  }

  json create(const std::string& ns, const std::string& prefix, int count, int workers) {
    const auto start = clock_type::now();
    const double cpu = cpu_seconds();
    k8s_.run(create_all(k8s_.client(), ns, prefix, count, workers));
    return {{"seconds", seconds_since(start)}, {"cpu", cpu_seconds() - cpu}};
  }

  json informer(const std::string& ns) {
    const auto start = clock_type::now();
    const double cpu = cpu_seconds();
    kept_ =
        std::make_unique<k8s::informer<core_v1::pod>>(k8s::api<core_v1::pod>{k8s_.client(), ns});
    kept_->start();
    k8s_.run(kept_->synced());
    return {{"seconds", seconds_since(start)},
            {"cpu", cpu_seconds() - cpu},
            {"items", kept_->store().size()}};
  }

  json watch(const std::string& ns, int count) {
    std::vector<double> latencies;
    k8s_.run(watch_until(k8s_.client(), ns, static_cast<std::size_t>(count), latencies));
    return {{"latencies", latencies}};
  }

 private:
  static asio::awaitable<void> create_some(k8s::api<core_v1::config_map> maps, std::string prefix,
                                           int count, int& next) {
    while (next < count) {
      core_v1::config_map map;
      map.metadata.name = prefix + "-" + std::to_string(next++);
      map.data.emplace("key", "value");
      co_await maps.create(map);
    }
  }

  static asio::awaitable<void> create_all(k8s::client client, std::string ns, std::string prefix,
                                          int count, int workers) {
    using channel = asio::experimental::channel<void(boost::system::error_code)>;
    const auto executor = co_await asio::this_coro::executor;
    const auto done = std::make_shared<channel>(executor, static_cast<std::size_t>(workers));
    const k8s::api<core_v1::config_map> maps{client, ns};
    int next = 0;
    std::exception_ptr failure;
    for (int i = 0; i < workers; ++i) {
      asio::co_spawn(executor, create_some(maps, prefix, count, next),
                     [done, &failure](const std::exception_ptr& problem) {
                       if (problem) failure = problem;
                       done->try_send(boost::system::error_code());
                     });
    }
    for (int i = 0; i < workers; ++i) co_await done->async_receive(asio::use_awaitable);
    if (failure) std::rethrow_exception(failure);
  }

  static asio::awaitable<void> watch_until(k8s::client client, std::string ns, std::size_t count,
                                           std::vector<double>& latencies) {
    using channel = asio::experimental::channel<void(boost::system::error_code)>;
    const auto done = std::make_shared<channel>(co_await asio::this_coro::executor, 1);
    k8s::informer<core_v1::config_map> maps{k8s::api<core_v1::config_map>{client, ns}};
    k8s::informer_handler<core_v1::config_map> handler;
    handler.added = [&latencies, done,
                     count](const std::shared_ptr<const core_v1::config_map>& now) {
      const std::int64_t received = now_nanoseconds();
      const auto sent = now->data.find("sent");
      if (sent == now->data.end()) return;
      latencies.push_back(static_cast<double>(received - std::stoll(sent->second)) / 1e9);
      if (latencies.size() == count) done->try_send(boost::system::error_code());
    };
    maps.add_handler(std::move(handler));
    maps.start();
    co_await maps.synced();
    say({{"ready", true}});
    co_await done->async_receive(asio::use_awaitable);
    co_await maps.stop();
  }

  k8s::blocking k8s_;
  std::unique_ptr<k8s::informer<core_v1::pod>> kept_;
};

json answer(peer& mine, std::istringstream words) {
  std::string command;
  std::string ns;
  std::string prefix;
  int count = 0;
  int workers = 0;
  words >> command >> ns;
  if (command == "list") return mine.list(ns);
  if (command == "informer") return mine.informer(ns);
  if (command == "create") {
    words >> prefix >> count >> workers;
    return mine.create(ns, prefix, count, workers);
  }
  if (command == "watch") {
    words >> count;
    return mine.watch(ns, count);
  }
  throw std::invalid_argument("no such command: " + command);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    k8s::client_options options{.timeout = std::chrono::minutes(5)};
    std::string first;
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument == "--gzip") {
        options.gzip = true;
      } else if (argument == "--encoding" && i + 1 < argc) {
        options.encoding =
            std::string(argv[++i]) == "json" ? k8s::encoding::json : k8s::encoding::automatic;
      } else if (argument == "--first" && i + 1 < argc) {
        first = argv[++i];
      } else {
        throw std::invalid_argument("unknown argument: " + argument);
      }
    }
    peer mine{std::move(options)};
    if (!first.empty()) {
      std::cout << mine.first(first) << std::endl;
      return 0;
    }
    for (std::string line; std::getline(std::cin, line);) {
      say(answer(mine, std::istringstream(line)));
    }
  } catch (...) {
    std::cerr << "mizzen_kubernetes_peer: " << mizzen::describe(std::current_exception()) << "\n";
    return 1;
  }
}
