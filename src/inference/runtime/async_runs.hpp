// The threads of a session that carry out its asynchronous runs.
#pragma once

#include <mizzen/core/log.hpp>
#include <mizzen/inference/session.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mizzen::inference::detail {

// Runs are begun in the order in which they were added. Thread safe.
class async_runs {
 public:
  using run_function = std::function<tensor_map(const tensor_map&, const run_options&)>;

  struct task {
    tensor_map inputs;
    run_handler handler;
    run_options options;
  };

  // No thread is started yet. threads ≥ 1; most_waiting: 0 for no bound.
  async_runs(unsigned threads, std::size_t most_waiting, logger log, run_function run)
      : most_threads_(threads),
        most_waiting_(most_waiting),
        log_(std::move(log)),
        run_(std::move(run)) {}
  async_runs(const async_runs&) = delete;
  async_runs& operator=(const async_runs&) = delete;

  // Waits for the runs that have begun; those that have not are given error(cancelled).
  ~async_runs();

  // Throws error(resource_exhausted) where too many wait already, or the system gives no thread.
  void add(task t);

 private:
  void work();
  void finish(task& t, std::exception_ptr failed, tensor_map outputs) const noexcept;
  void start_thread();

  const unsigned most_threads_;
  const std::size_t most_waiting_;
  const logger log_;
  const run_function run_;

  std::mutex mutex_;
  std::condition_variable work_or_end_;
  std::deque<task> waiting_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

}  // namespace mizzen::inference::detail
