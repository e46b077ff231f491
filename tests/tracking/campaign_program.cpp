// The C++ side of rest_campaign.py:
//   campaign_program make FILE             makes a store for the server
//   campaign_program begin URI RUNS        starts so many runs; prints their ids
//   campaign_program log URI LOGS COUNTERS PROCESS RUN
//                                          logs from two threads until it is killed
//   campaign_program drain URI LOGS SECONDS
//                                          drains what is left; prints the writer's status as JSON
// LOGS is the folder of write-ahead logs. COUNTERS is a file of 64-bit numbers, two for each
// process: how many rounds of each thread were acknowledged. A round is a point, each tenth a
// parameter and a tag too.
#include <mizzen/core.hpp>
#include <mizzen/tracking.hpp>

#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <iostream>
#include <string>
#include <thread>
#include <unistd.h>

namespace mz = mizzen;
using namespace mz::tracking;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t most_rounds = 1'000'000;  // of a thread of a process
constexpr int threads = 2;

client open(const std::string& uri, const std::string& logs) {
  // The smallest segments there are, so that they are rotated.
  return client({.uri = uri, .writer = {.directory = logs, .segment_size = 256 << 10}});
}

std::atomic<std::int64_t>* map_counters(const char* path, int process) {
  const std::size_t size = sizeof(std::atomic<std::int64_t>) * threads * (process + 1);
  const int file = ::open(path, O_RDWR | O_CLOEXEC);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file < 0 || memory == MAP_FAILED) throw std::runtime_error("the counters cannot be mapped");
  ::close(file);
  return static_cast<std::atomic<std::int64_t>*>(memory) + process * threads;
}

void log_rounds(run& into, std::atomic<std::int64_t>& acknowledged, int process, int thread) {
  const std::string name = std::to_string(process) + "." + std::to_string(thread);
  // One in sixteen reaches the next segment; no more, as the server is to keep up.
  const std::int64_t burst = process % 16 == 7 ? 4'500 : 100;
  for (std::int64_t i = 0; i < most_rounds; ++i) {
    const std::int64_t step = process * most_rounds + i;
    into.log_metric("t" + std::to_string(thread), static_cast<double>(step), {.step = step});
    if (i % 10 == 0 && i < 1000) {
      into.log_param("p" + name + "." + std::to_string(i), i);
      into.set_tag("tag" + name, std::to_string(i));
    }
    acknowledged.store(i + 1, std::memory_order_release);
    if (i > burst) std::this_thread::sleep_for(2ms);
  }
}

int begin(const std::string& uri, int runs) {
  client c = open(uri, {});
  for (int i = 0; i < runs; ++i) {
    auto made = c.start_run("campaign");
    std::cout << made.id() << '\n';
  }
  return 0;
}

int log(const std::string& uri, const std::string& logs, const char* counters, int process,
        const std::string& run_id) {
  auto* acknowledged = map_counters(counters, process);
  client c = open(uri, logs);
  // The server may be away for longer than a call is repeated, and a gateway may say anything.
  for (;;) {
    try {
      run into = c.resume_run(run_id);
      std::thread other([&] { log_rounds(into, acknowledged[1], process, 1); });
      log_rounds(into, acknowledged[0], process, 0);
      other.join();
      return 1;
    } catch (const mz::error& e) {
      std::cerr << "process " << process << ": " << e.what() << '\n';
    }
  }
}

int drain(const std::string& uri, const std::string& logs, int seconds) {
  client c = open(uri, logs);
  const bool whole = c.flush(mz::deadline::after(std::chrono::seconds(seconds)));
  const writer_status status = c.status();
  std::cout << mz::json{{"whole", whole},
                        {"adopted", status.adopted},
                        {"rejected", status.rejected},
                        {"last_error", status.last_error}}
            << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc >= 3 ? argv[1] : "";
  try {
    if (command == "make" && argc == 3) return client(argv[2]).list_experiments().empty() ? 1 : 0;
    if (command == "begin" && argc == 4) return begin(argv[2], std::atoi(argv[3]));
    if (command == "log" && argc == 7) {
      return log(argv[2], argv[3], argv[4], std::atoi(argv[5]), argv[6]);
    }
    if (command == "drain" && argc == 5) return drain(argv[2], argv[3], std::atoi(argv[4]));
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  std::cerr << "usage: campaign_program make|begin|log|drain …\n";
  return 2;
}
