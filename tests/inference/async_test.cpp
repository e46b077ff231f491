// Asynchronous runs: futures, handlers, coroutines, and what the end of a session does to them.
#include "caught.hpp"
#include "optimised.hpp"

#include <mizzen/inference/awaitable.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::inference {
namespace {

using test::caught;

// y = x + x; "hold" calls what the test wants, on the way.
session doubling(session_options options = {}, std::function<void()> hold = nullptr) {
  model_builder model;
  model.opset(1, "test").input("x", f32, {"n"});
  if (hold) {
    options.operators.push_back(
        {.domain = "test", .name = "Hold", .compute = [hold](custom_run& run) {
           hold();
           std::ranges::copy(run.input(0).data<float>(), run.output(0).data<float>().begin());
         }});
    model.node("Hold", {"x"}, {"h"}, {}, "", "test").node("Add", {"h", "h"}, {"y"});
  } else {
    model.node("Add", {"x", "x"}, {"y"});
  }
  model.output("y", f32, {"n"});
  return session::load(model.bytes(), options);
}

tensor_map x_of(float v, std::int64_t n = 3) {
  tensor_map map;
  map.emplace("x", tensor::copy(std::vector<float>(static_cast<std::size_t>(n), v), {n}));
  return map;
}

float first(const tensor_map& outputs) { return outputs.at("y").data<float>()[0]; }

// A door that runs wait at, and whose visitors a test can wait for.
class door {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for(int visitors) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= visitors; });
  }
  int visitors() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

TEST(async, futures_give_the_outputs) {
  session s = doubling();
  std::vector<std::future<tensor_map>> futures;
  for (int i = 0; i < 50; ++i) {
    futures.push_back(s.run_async(x_of(static_cast<float>(i), 1 + i % 4)));
  }
  session moved = std::move(s);
  for (int i = 0; i < 50; ++i) {
    const tensor_map out = futures[static_cast<std::size_t>(i)].get();
    EXPECT_EQ(first(out), static_cast<float>(2 * i));
    EXPECT_EQ(out.at("y").shape(), (shape_type{1 + i % 4}));
  }
}

TEST(async, futures_throw_what_the_run_throws) {
  const session s = doubling();
  tensor_map wrong;
  wrong.emplace("z", noise({3}));
  std::future<tensor_map> future = s.run_async(std::move(wrong));
  const error e = caught([&] { future.get(); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_EQ(e.subject(), "input 'z'");
}

TEST(async, handlers_may_be_moved_only_and_throw) {
  std::promise<std::string> logged;
  session_options options;
  options.async_runs = 1;
  options.log = logger([&](const log_record& r) {
    if (r.level == log_level::error) logged.set_value(std::string(r.message));
  });
  const session s = doubling(options);
  s.run_async(x_of(1), [own = std::make_unique<int>(7)](std::exception_ptr, tensor_map) {
    throw std::runtime_error("handler " + std::to_string(*own));
  });
  EXPECT_EQ(logged.get_future().get(), "the handler of an asynchronous run has thrown");
  EXPECT_EQ(first(s.run_async(x_of(2)).get()), 4.0F);  // its thread goes on
}

TEST(async, as_many_at_once_as_there_are_threads) {
  door d;
  session_options options;
  options.async_runs = 3;
  const session s = doubling(options, [&] { d.pass(); });
  std::vector<std::future<tensor_map>> futures;
  for (int i = 0; i < 5; ++i) futures.push_back(s.run_async(x_of(1)));
  d.wait_for(3);
  EXPECT_EQ(d.visitors(), 3);
  d.open();
  for (auto& f : futures) EXPECT_EQ(first(f.get()), 2.0F);
}

TEST(async, runs_that_wait_are_bounded_on_demand) {
  door d;
  session_options options;
  options.async_runs = 1;
  options.queued_runs = 2;
  const session s = doubling(options, [&] { d.pass(); });
  auto running = s.run_async(x_of(1));
  d.wait_for(1);
  auto a = s.run_async(x_of(2));
  auto b = s.run_async(x_of(3));
  const error e = caught([&] { s.run_async(x_of(4)); });
  EXPECT_EQ(e.code(), errc::resource_exhausted);
  EXPECT_NE(e.message().find("session_options.queued_runs"), std::string::npos) << e.message();
  d.open();
  EXPECT_EQ(first(running.get()), 2.0F);
  EXPECT_EQ(first(a.get()), 4.0F);
  EXPECT_EQ(first(b.get()), 6.0F);
}

TEST(async, a_run_that_waits_can_be_cancelled) {
  door d;
  session_options options;
  options.async_runs = 1;
  const session s = doubling(options, [&] { d.pass(); });
  auto running = s.run_async(x_of(1));
  d.wait_for(1);
  std::stop_source stop;
  auto waiting = s.run_async(x_of(2), {.cancel = {stop.get_token(), {}}});
  stop.request_stop();
  d.open();
  EXPECT_EQ(first(running.get()), 2.0F);
  EXPECT_EQ(caught([&] { waiting.get(); }).code(), errc::cancelled);
}

TEST(async, the_end_of_a_session_waits_for_what_has_begun) {
  door d;
  session_options options;
  options.async_runs = 1;
  auto s = std::make_unique<session>(doubling(options, [&] { d.pass(); }));
  auto running = s->run_async(x_of(1));
  d.wait_for(1);
  auto waiting = s->run_async(x_of(2));
  std::thread end([&] { s.reset(); });
  EXPECT_EQ(caught([&] { waiting.get(); }).code(), errc::cancelled);
  EXPECT_NE(running.wait_for(std::chrono::milliseconds(20)), std::future_status::ready);
  d.open();
  end.join();
  EXPECT_EQ(first(running.get()), 2.0F);
}

TEST(async, options_are_checked) {
  session_options options;
  options.async_runs = 0;
  const error e = caught([&] { doubling(options); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_EQ(e.subject(), "session_options.async_runs");
}

TEST(async, coroutines_resume_on_their_executor) {
  const session s = doubling();
  boost::asio::io_context context;
  const auto here = std::this_thread::get_id();
  auto sum = [&]() -> boost::asio::awaitable<float> {
    float total = 0;
    for (int i = 1; i <= 10; ++i) {
      tensor_map inputs = x_of(static_cast<float>(i));
      const tensor_map out = co_await async_run(s, std::move(inputs));
      EXPECT_EQ(std::this_thread::get_id(), here);
      total += first(out);
    }
    co_return total;
  };
  auto a = boost::asio::co_spawn(context, sum(), boost::asio::use_future);
  auto b = boost::asio::co_spawn(context, sum(), boost::asio::use_future);
  context.run();
  EXPECT_EQ(a.get(), 110.0F);
  EXPECT_EQ(b.get(), 110.0F);
}

TEST(async, coroutines_on_a_pool_that_ends_with_them) {
  for (int round = 0; round < 20; ++round) {
    const session s = doubling();
    std::atomic<int> done = 0;
    auto some = [&]() -> boost::asio::awaitable<void> {
      for (int i = 0; i < 5; ++i) {
        tensor_map inputs = x_of(1);
        const tensor_map out = co_await async_run(s, std::move(inputs));
        done += static_cast<int>(first(out));
      }
    };
    boost::asio::thread_pool pool(2);
    for (int i = 0; i < 4; ++i) {
      boost::asio::co_spawn(boost::asio::make_strand(pool), some(), boost::asio::detached);
    }
    pool.join();
    EXPECT_EQ(done, 40);
  }
}

TEST(async, coroutines_get_what_the_run_throws) {
  session_options options;
  options.async_runs = 1;
  options.queued_runs = 1;
  door d;
  const session s = doubling(options, [&] { d.pass(); });
  auto running = s.run_async(x_of(1));
  d.wait_for(1);
  auto waiting = s.run_async(x_of(1));
  boost::asio::io_context context;
  std::optional<errc> full;
  auto one = [&]() -> boost::asio::awaitable<void> {
    tensor_map inputs = x_of(1);
    try {
      co_await async_run(s, std::move(inputs));
    } catch (const error& e) {
      full = e.code();
    }
  };
  boost::asio::co_spawn(context, one(), boost::asio::detached);
  context.run();
  EXPECT_EQ(full, errc::resource_exhausted);
  d.open();
  running.get();
  waiting.get();
}

TEST(async, cancelling_a_coroutine_stops_its_run) {
  door d;
  const session s = doubling({}, [&] { d.pass(); });
  boost::asio::io_context context;
  std::optional<errc> ended;
  auto one = [&](run_options options) -> boost::asio::awaitable<void> {
    tensor_map inputs = x_of(1);
    try {
      co_await async_run(s, std::move(inputs), std::move(options));
    } catch (const error& e) {
      ended = e.code();
    }
  };
  boost::asio::cancellation_signal signal;
  auto bound = boost::asio::bind_cancellation_slot(signal.slot(), boost::asio::detached);
  boost::asio::co_spawn(context, one({}), bound);
  boost::asio::post(context, [&] {
    d.wait_for(1);
    signal.emit(boost::asio::cancellation_type::terminal);
    d.open();
  });
  context.run();
  EXPECT_EQ(ended, errc::cancelled);
  // The caller's own token does so too.
  std::stop_source stop;
  stop.request_stop();
  ended.reset();
  context.restart();
  boost::asio::co_spawn(context, one({.cancel = {stop.get_token(), {}}}), boost::asio::detached);
  context.run();
  EXPECT_EQ(ended, errc::cancelled);
}

}  // namespace
}  // namespace mizzen::inference
