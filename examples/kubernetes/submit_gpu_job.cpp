// Submits a GPU job, says why while it is stuck, waits for it, and tells how it ended.
//
//   submit_gpu_job IMAGE [COMMAND...]        the cluster is the one that kubectl uses
//
// Started again after it was killed, it makes no second Job: it goes on waiting for the first one.
#include <mizzen/kubernetes.hpp>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace asio = boost::asio;
namespace mz = mizzen;
using namespace std::chrono_literals;

namespace {

asio::awaitable<int> train(mz::kubernetes::client k8s, std::string image,
                           std::vector<std::string> command) {
  // --8<-- [start:submit]
  auto work = mz::kubernetes::job{"train"}
                  .image(std::move(image))
                  .command(std::move(command))
                  .gpus(1)
                  .memory("8Gi")
                  .shared_memory("2Gi")
                  .tolerate("nvidia.com/gpu")
                  .backoff_limit(2)
                  .ignore_disruptions()
                  .ttl(1h);

  mz::kubernetes::submit_options options;
  options.journal = mz::kubernetes::journal("submissions.journal");
  const auto job = co_await submit(k8s, work, options);
  // --8<-- [end:submit]
  std::cout << (job.created() ? "submitted " : "found ") << job.namespace_() << '/' << job.name()
            << std::endl;

  mz::kubernetes::wait_options waiting;
  waiting.on_change = [](const mz::kubernetes::submission_status& now) {
    std::cout << now.active << " active, " << now.ready << " ready, " << now.failed << " failed"
              << std::endl;
  };
  // --8<-- [start:explain]
  // Half a minute of patience; then it is time to ask why.
  waiting.cancel.deadline = mz::deadline::after(30s);
  bool patient = true;
  try {
    co_await job.wait(waiting);
  } catch (const mz::error& e) {
    if (e.code() != mz::errc::deadline_exceeded) throw;
    patient = false;
  }
  if (!patient) std::cout << to_string(co_await job.explain()) << std::endl;
  // --8<-- [end:explain]

  // --8<-- [start:end]
  const auto end = co_await job.wait();
  std::cout << to_string(end.state) << ' ' << end.reason << std::endl;
  for (const auto& exit : end.exits) {
    std::cout << "  " << exit.pod << " on " << exit.node << ": exit code " << exit.exit_code << ' '
              << exit.reason << std::endl;
  }
  if (end.state == mz::kubernetes::outcome_state::failed) {
    std::cout << to_string(co_await job.explain()) << std::endl;
  }
  // --8<-- [end:end]
  co_return end.succeeded() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: submit_gpu_job IMAGE [COMMAND...]\n";
    return 2;
  }
  try {
    mz::kubernetes::blocking k8s;
    return k8s.run(train(k8s.client(), argv[1], std::vector<std::string>(argv + 2, argv + argc)));
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << '\n';
    return 2;
  }
}
