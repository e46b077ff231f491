// A server without sockets for tests of informers: it can refuse, cut, forget and go silent.
#pragma once

#include "informer_history.hpp"
#include "kubernetes/watch_source.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/informer.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::kubernetes::detail::simulated {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct thing {
  std::string name, uid, version;
};

inline object_identity identify(const void* object) {
  const thing& it = *static_cast<const thing*>(object);
  return {"n", it.name, it.uid, it.version};
}

inline status_error refusal(int code, std::string reason = {}) {
  api_status status;
  status.code = code;
  status.reason = std::move(reason);
  return status_error("watch", code, status);
}

// A server without sockets: objects, the history of their changes, and the watches on them. All on
// one thread.
struct world {
  struct entry {
    wire_kind kind;
    thing object;
    std::uint64_t version;
  };

  asio::io_context context;
  std::map<std::string, thing> live;
  std::vector<entry> history;
  std::uint64_t version = 10;
  std::uint64_t forgotten = 0;
  std::uint64_t uids = 0;
  // What the next requests answer, before anything else.
  std::deque<std::exception_ptr> refusals;
  std::vector<std::weak_ptr<class world_stream>> streams;
  int lists = 0;
  int watches = 0;
  bool streams_lists = true;
  std::mt19937_64* faults = nullptr;

  bool fault(std::uint64_t of) { return faults && (*faults)() % of == 0; }

  void set(const std::string& name) {
    ++version;
    auto [at, fresh] = live.try_emplace(name);
    if (fresh) at->second = {name, "uid" + std::to_string(++uids), {}};
    at->second.version = std::to_string(version);
    record(fresh ? wire_kind::added : wire_kind::modified, at->second);
  }

  void remove(const std::string& name) {
    const auto found = live.find(name);
    if (found == live.end()) return;
    ++version;
    thing last = found->second;
    live.erase(found);
    last.version = std::to_string(version);
    record(wire_kind::deleted, last);
  }

  void record(wire_kind kind, const thing& object);
  void wake();

  std::map<std::string, std::string> versions() const {
    std::map<std::string, std::string> result;
    for (const auto& [name, object] : live) result[name] = object.version;
    return result;
  }
};

class world_stream final : public event_stream {
 public:
  world_stream(world& of, std::size_t place) : world_(of), place_(place), timer_(of.context) {
    timer_.expires_at(asio::steady_timer::time_point::max());
  }

  asio::awaitable<bool> read() override {
    for (;;) {
      if (closed) throw error(errc::cancelled, "watch", "closed");
      if (cut) throw error(errc::unavailable, "watch", "cut");
      if (!silent && (!first_.empty() || place_ < world_.history.size() || failure || garbage))
        co_return true;
      if (ended) co_return false;
      boost::system::error_code ignored;
      co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
  }

  bool next(wire_event& out) override {
    if (silent) return false;
    if (garbage) throw error(errc::data_loss, "watch event 3", "is no event");
    if (!first_.empty()) {
      out = first_.front();
      first_.pop_front();
      return true;
    }
    if (world_.fault(9)) {
      cut = true;
      return false;
    }
    if (world_.fault(40)) garbage = true;
    if (failure) {
      out = {};
      out.failure = failure;
      return true;
    }
    if (place_ == world_.history.size()) return false;
    const world::entry& entry = world_.history[place_++];
    out = {.kind = entry.kind,
           .object = std::make_shared<thing>(entry.object),
           .resource_version = std::to_string(entry.version)};
    return true;
  }

  bool mid_event() const override { return false; }

  void close() noexcept override {
    closed = true;
    timer_.cancel();
  }

  void wake() { timer_.cancel(); }

  world& world_;
  std::size_t place_;
  std::deque<wire_event> first_;
  asio::steady_timer timer_;
  std::exception_ptr failure;
  bool closed = false, cut = false, ended = false, silent = false, garbage = false;
};

inline void world::record(wire_kind kind, const thing& object) {
  history.push_back({kind, object, version});
  wake();
}

inline void world::wake() {
  for (const auto& each : streams) {
    if (const auto alive = each.lock()) alive->wake();
  }
}

class world_source final : public watch_source {
 public:
  explicit world_source(world& of) : world_(of) {}

  void maybe_refuse() {
    if (!world_.refusals.empty()) {
      const auto why = world_.refusals.front();
      world_.refusals.pop_front();
      std::rethrow_exception(why);
    }
    if (world_.fault(4)) throw error(errc::unavailable, "server", "refused");
    if (world_.fault(9)) throw refusal(503);
  }

  asio::awaitable<wire_page> list(watch_step step, cancellation) override {
    ++world_.lists;
    co_await asio::post(world_.context, asio::use_awaitable);
    maybe_refuse();
    wire_page page;
    page.resource_version = std::to_string(world_.version);
    // The token is the last name; changes between pages are seen, which a real server avoids, but
    // then the version is that of the last page.
    for (const auto& [name, object] : world_.live) {
      if (name <= step.continue_token) continue;
      page.objects.push_back(std::make_shared<thing>(object));
    }
    co_return page;
  }

  asio::awaitable<std::shared_ptr<event_stream>> watch(watch_step step, cancellation) override {
    ++world_.watches;
    co_await asio::post(world_.context, asio::use_awaitable);
    maybe_refuse();
    std::size_t place = world_.history.size();
    auto opened = std::make_shared<world_stream>(world_, place);
    if (step.initial_events) {
      if (!world_.streams_lists) throw refusal(422, "Invalid");
      for (const auto& [name, object] : world_.live) {
        opened->first_.push_back({.kind = wire_kind::added,
                                  .object = std::make_shared<thing>(object),
                                  .resource_version = object.version});
      }
      opened->first_.push_back({.kind = wire_kind::bookmark,
                                .resource_version = std::to_string(world_.version),
                                .initial_events_end = true});
    } else {
      const std::uint64_t from = std::stoull(step.resource_version);
      if (from < world_.forgotten) throw refusal(410, "Expired");
      while (place > 0 && world_.history[place - 1].version > from) --place;
      opened->place_ = place;
    }
    std::erase_if(world_.streams, [](const auto& each) { return each.expired(); });
    world_.streams.push_back(opened);
    co_return opened;
  }

 private:
  world& world_;
};

// An informer of that world. Everything runs on the test's thread.
struct fixture {
  explicit fixture(erased_informer_options options = {}) {
    options.watch.first_backoff = 1ms;
    options.watch.last_backoff = 5ms;
    options.on_error = [this](const std::exception_ptr& e) { errors.push_back(describe(e)); };
    core = std::make_unique<informer_core>(
        earth.context.get_executor(), std::make_unique<world_source>(earth), identify, options);
  }
  ~fixture() {
    core.reset();
    earth.context.restart();
    earth.context.run();
  }

  // Runs until it holds; the test fails after a minute.
  void until(const std::function<bool()>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + 60s;
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up);
      earth.context.restart();
      earth.context.run_one_for(10ms);
    }
  }

  void settle() {
    earth.context.restart();
    while (earth.context.poll() > 0) continue;
  }

  handler_id listen(test::informer_history& to, handler_options with = {}) {
    erased_handler record = [&to](const erased_informer_event& event) {
      const thing* before = static_cast<const thing*>(event.before.get());
      const thing* now = static_cast<const thing*>(event.now.get());
      if (event.resync) return;
      switch (event.type) {
        case informer_event_type::added:
          to.added(now->name, now->version);
          break;
        case informer_event_type::updated:
          to.updated(now->name, before->version, now->version);
          break;
        case informer_event_type::deleted:
          to.deleted(before->name, before->version);
          break;
      }
    };
    return core->add_handler(std::move(record), std::move(with));
  }

  std::shared_ptr<world_stream> stream() const { return earth.streams.back().lock(); }

  bool holds_what_there_is() const {
    std::map<std::string, std::string> copy;
    for (const auto& each : core->objects()->list()) {
      const thing& it = *static_cast<const thing*>(each.get());
      copy[it.name] = it.version;
    }
    return copy == earth.versions();
  }

  world earth;
  std::vector<std::string> errors;
  std::unique_ptr<informer_core> core;
};

}  // namespace mizzen::kubernetes::detail::simulated
