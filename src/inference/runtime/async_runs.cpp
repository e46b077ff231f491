#include "inference/runtime/async_runs.hpp"

#include <mizzen/core/error.hpp>

#include <exception>
#include <string>
#include <system_error>
#include <utility>

namespace mizzen::inference::detail {

async_runs::~async_runs() {
  std::deque<task> left;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    left.swap(waiting_);
  }
  work_or_end_.notify_all();
  for (task& t : left) {
    finish(t,
           std::make_exception_ptr(
               error(errc::cancelled, "run of the model", "its session ends before it has begun")),
           {});
  }
  for (std::thread& one : threads_) one.join();
}

void async_runs::add(task t) {
  {
    const std::lock_guard lock(mutex_);
    if (most_waiting_ != 0 && waiting_.size() >= most_waiting_) {
      throw error(errc::resource_exhausted, "asynchronous runs",
                  std::to_string(waiting_.size()) +
                      " wait already: wait for some, or raise session_options.queued_runs");
    }
    // One that was told of an earlier run may not have woken yet.
    if (idle_ <= waiting_.size() && threads_.size() < most_threads_) start_thread();
    waiting_.push_back(std::move(t));
  }
  work_or_end_.notify_one();
}

// Under the lock. One thread will do where the system gives no more.
void async_runs::start_thread() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& e) {
    if (!threads_.empty()) return;
    throw error(errc::resource_exhausted, "asynchronous runs",
                std::string("no thread for them: ") + e.what());
  }
}

void async_runs::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_or_end_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    --idle_;
    if (waiting_.empty()) return;
    task t = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    std::exception_ptr failed;
    tensor_map outputs;
    try {
      outputs = run_(t.inputs, t.options);
    } catch (...) {
      failed = std::current_exception();
    }
    // Before the handler: the caller may want the memory for the next run.
    t.inputs.clear();
    finish(t, std::move(failed), std::move(outputs));
    {
      const task gone = std::move(t);
    }
    lock.lock();
  }
}

void async_runs::finish(task& t, std::exception_ptr failed, tensor_map outputs) const noexcept {
  const auto complain = [&](const char* what) {
    log_.log(log_level::error, "inference", "the handler of an asynchronous run has thrown",
             {{"what", what}});
  };
  try {
    t.handler(std::move(failed), std::move(outputs));
  } catch (const std::exception& e) {
    complain(e.what());
  } catch (...) {
    complain("no std::exception");
  }
}

}  // namespace mizzen::inference::detail
